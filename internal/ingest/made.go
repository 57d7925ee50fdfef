package ingest

import (
	"crypto/sha256"
	"time"

	"relais/internal/core"
	"relais/internal/source"
	"relais/internal/store"
)

// ReconciledHeader marks an event that no request brought.
const ReconciledHeader = "Relais-Reconciled"

// reconciledWindow is how long it is remembered that an event was made.
const reconciledWindow = 90 * 24 * time.Hour

// Made makes the event of a message that its provider should have sent and didn't, as if it came now, with
// its destinations. Two that are made of the same key are one.
func Made(p RetryParams, req *source.Request, key string) (store.Accepted, error) {
	req.Header.Set(ReconciledHeader, "true")
	msg, err := p.Source.Read(req)
	if err != nil {
		return store.Accepted{}, err
	}
	parts := msg.Each()
	if len(parts) != 1 {
		return store.Accepted{}, core.Errorf(core.CodeInvalid, "source %s splits its messages: what it lost can't be made up for", p.Source.Name)
	}
	out := accept(p.Match, p.Source, &parts[0], core.NewEventID(), carry(p.Source, req, 0), req.Now)
	sum := sha256.Sum256([]byte("relais reconcile\x00" + p.Source.Name + "\x00" + key))
	copy(out.DedupKey[:], sum[:])
	out.DedupWindow = reconciledWindow
	return out, nil
}
