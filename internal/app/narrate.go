package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"relais/internal/core"
	"relais/internal/lane"
	"relais/internal/step"
	"relais/internal/store"
)

// narrator writes one line for each attempt of a delivery: what came, what was made of it (its reference
// and its amount, where a step's result has them), and how it ended. Deliveries that are dead have their
// line from whoever tells of them.
type narrator struct {
	log *slog.Logger
	// made holds what steps of running attempts have made, by delivery.
	made sync.Map
}

// made is what a step's result says that people look for.
type made struct {
	ID       json.Number `json:"id"`
	Number   string      `json:"number"` // a draft has none
	Of       string      `json:"estimate_number"`
	Total    string      `json:"total_incl_tax"`
	Currency string      `json:"currency"`
}

// watch notes the results that steps keep before their delivery ends.
func (n *narrator) watch(s step.Store) step.Store { return watched{s, n} }

type watched struct {
	step.Store
	narrator *narrator
}

func (w watched) SaveStep(ctx context.Context, holder store.Holder, result store.StepResult) error {
	w.narrator.note(holder.Delivery, []store.StepResult{result})
	return w.Store.SaveStep(ctx, holder, result)
}

func (n *narrator) note(id core.DeliveryID, results []store.StepResult) {
	for i := range results {
		if !bytes.Contains(results[i].Result, []byte(`"total_incl_tax"`)) {
			continue
		}
		var m made
		if json.Unmarshal(results[i].Result, &m) == nil && m.ID != "" && m.Total != "" {
			n.made.Store(id, m)
		}
	}
}

// unrouted tells of an event that no route takes: it is kept, and nothing will be done with it.
func (n *narrator) unrouted(event *core.Event) {
	n.log.LogAttrs(context.Background(), slog.LevelInfo, "stored, no route takes it", slog.String("event", event.ID.String()),
		slog.String("type", event.Source+"/"+event.Type), slog.String("outcome", "no route"))
}

// narrated is a runner whose attempts are told.
type narrated struct {
	lane.Runner
	narrator *narrator
	hide     *strings.Replacer
}

func (r narrated) Run(ctx context.Context, claimed *store.Claimed) store.Outcome {
	began := time.Now()
	outcome := r.Runner.Run(ctx, claimed)
	// What another system answered stands in a message, and may repeat what it was sent.
	if outcome.Message != "" {
		outcome.Message = r.hide.Replace(outcome.Message)
	}
	if outcome.Attempt.Message != "" {
		outcome.Attempt.Message = r.hide.Replace(outcome.Attempt.Message)
	}
	if bytes.Contains(outcome.Attempt.Trace, []byte(`"message"`)) { // all else in a trace is of the configuration
		outcome.Attempt.Trace = json.RawMessage(r.hide.Replace(string(outcome.Attempt.Trace)))
	}
	r.narrator.tell(ctx, claimed, &outcome, time.Since(began))
	return outcome
}

// told are the lines of verdicts.
var told = map[store.Verdict]struct {
	level   slog.Level
	message string
}{
	store.VerdictSucceeded: {slog.LevelInfo, "delivered"},
	store.VerdictSkipped:   {slog.LevelInfo, "nothing to do"},
	store.VerdictRetry:     {slog.LevelWarn, "failed, will be tried again"},
	store.VerdictDefer:     {slog.LevelInfo, "not now, comes back"},
	store.VerdictReturn:    {slog.LevelInfo, "interrupted, comes back"},
}

func (n *narrator) tell(ctx context.Context, claimed *store.Claimed, outcome *store.Outcome, took time.Duration) {
	d := &claimed.Delivery
	n.note(d.ID, outcome.Steps)
	last, _ := n.made.LoadAndDelete(d.ID)
	line, ok := told[outcome.Verdict]
	if !ok || !n.log.Enabled(ctx, line.level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs, slog.String("event", d.Event.String()), slog.String("type", claimed.Event.Source+"/"+claimed.Event.Type),
		slog.String("delivery", d.ID.String()), slog.String("destination", d.Destination.String()))
	if m, ok := last.(made); ok {
		attrs = append(attrs, slog.String("reference", cmp.Or(m.Number, m.Of)), slog.String("id", m.ID.String()),
			slog.String("amount", m.Total+" "+m.Currency))
	}
	attrs = append(attrs, slog.String("outcome", string(outcome.Verdict)))
	if outcome.Reason != "" {
		attrs = append(attrs, slog.String("reason", string(outcome.Reason)))
	}
	if outcome.Message != "" {
		attrs = append(attrs, slog.String("message", outcome.Message))
	}
	if outcome.Delay > 0 {
		attrs = append(attrs, slog.Duration("again_in", outcome.Delay))
	}
	// By the handler: a logger looks up who called it, which no line shows.
	record := slog.NewRecord(time.Now(), line.level, line.message, 0)
	record.AddAttrs(append(attrs, slog.Duration("took", took.Round(time.Microsecond*100)))...)
	_ = n.log.Handler().Handle(ctx, record) // a log that can't be written has no other place to say so
}
