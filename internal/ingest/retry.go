package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/url"
	"strings"

	"relais/internal/core"
	"relais/internal/source"
	"relais/internal/store"
)

// RetryStore is what verifying a rejection again needs.
type RetryStore interface {
	Append(ctx context.Context, batch []store.Accepted) ([]store.Appended, error)
	MarkRejectionAccepted(ctx context.Context, id int64, event core.EventID) error
}

// RetryParams say with what a rejection is verified again.
type RetryParams struct {
	Source *source.Source // compiled with today's secrets
	Match  func(event *core.Event) Matched
	Wake   func(batch []store.Accepted, results []store.Appended) // may be nil
	// PublicURL is the address that providers call, for presets that sign it.
	PublicURL string
	// Certificates are those that requests name; nil has none.
	Certificates *source.Certificates
}

// RetryRejection verifies a rejection that was kept whole again, as of the time when it came, and appends
// it as if it came now for the first time. It returns the event that it is now; a core.Error whose code
// is CodeConflict says why it is still refused. It can be run again at any time: an event appended right
// before a crash is appended under the same id.
func RetryRejection(ctx context.Context, s RetryStore, p RetryParams, r *store.Rejection) (core.EventID, error) {
	if !r.Complete {
		return core.EventID{}, core.Errorf(core.CodeConflict, "rejection %d was not kept whole: it can't be verified again", r.ID)
	}
	req := &source.Request{Method: r.Method, Query: r.Query, Header: core.DecodeHeader(r.Header), Body: r.Body, Now: r.At, Path: namedParts(p.Source.Path, r.Path)}
	if p.Source.SignsURL() {
		req.URL = strings.TrimSuffix(p.PublicURL, "/") + (&url.URL{Path: r.Path, RawQuery: r.Query}).RequestURI()
	}
	if err := p.Source.Certify(ctx, p.Certificates, req); err != nil {
		return core.EventID{}, core.Errorf(core.CodeConflict, "it can't be verified: %w", err)
	}
	if err := p.Source.Verify(req); err != nil {
		return core.EventID{}, core.Errorf(core.CodeConflict, "it is still refused: %w", err)
	}
	msg, err := p.Source.Read(req)
	if err != nil {
		return core.EventID{}, core.Errorf(core.CodeConflict, "it is still refused: %w", err)
	}
	if msg.Answer != nil {
		return core.EventID{}, core.Errorf(core.CodeConflict, "it carries no message: it asks for an answer that only its sender can use")
	}
	var batch []store.Accepted
	with := carry(p.Source, req, 0)
	for i, part := range msg.Each() {
		batch = append(batch, accept(p.Match, p.Source, &part, retriedID(r, i), with, req.Now))
	}
	appended, err := s.Append(ctx, batch)
	if err != nil {
		return core.EventID{}, err
	}
	if p.Wake != nil {
		p.Wake(batch, appended)
	}
	id := batch[0].Event.ID
	return id, s.MarkRejectionAccepted(ctx, r.ID, id)
}

// namedParts are those of the path that a request came by: the source's own, or /in/NAME, which has none.
func namedParts(path, came string) string {
	own := pattern{segments: strings.Split(path, "/")}
	parts, _ := own.match(came)
	return parts
}

// retriedID is the id of the nth event that a rejection becomes: the same however often it is tried. It is
// a UUIDv7 of the time when the request came.
func retriedID(r *store.Rejection, n int) core.EventID {
	seed := binary.AppendVarint([]byte("relais rejection"), r.ID)
	seed = binary.AppendVarint(seed, r.At.UnixNano())
	if n > 0 {
		seed = binary.AppendVarint(seed, int64(n))
	}
	sum := sha256.Sum256(append(seed, r.Source...))
	var id core.EventID
	copy(id[:], sum[:])
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(r.At.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}
