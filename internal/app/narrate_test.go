package app

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/telemetry"
)

// kept is a store that keeps nothing, and a runner that keeps a step's result before its outcome.
type kept struct {
	store.Store
	save    func(context.Context, store.Holder, store.StepResult) error
	outcome store.Outcome
}

func (kept) SaveStep(context.Context, store.Holder, store.StepResult) error { return nil }

func (k kept) Run(ctx context.Context, c *store.Claimed) store.Outcome {
	result := store.StepResult{Step: "facture", Result: json.RawMessage(`{"id":1027,"number":"","estimate_number":"D-1001","total_incl_tax":"1200.00","currency":"EUR"}`)}
	if err := k.save(ctx, store.Holder{Delivery: c.Delivery.ID}, result); err != nil {
		return store.Outcome{Verdict: store.VerdictDefer}
	}
	return k.outcome
}

func TestEachAttemptHasALineWithReferenceAmountAndOutcome(t *testing.T) {
	var out strings.Builder
	log, err := telemetry.NewLog(telemetry.LogOptions{Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	n := &narrator{log: log.Logger}
	claimed := &store.Claimed{
		Delivery: core.Delivery{ID: 7, Destination: core.Destination{Kind: core.DestinationRoute, Name: "facture"}},
		Event:    core.Event{Source: "sellsy", Type: "estimate.accepted", Body: []byte("a customer's name")},
	}
	for _, outcome := range []store.Outcome{
		{Verdict: store.VerdictSucceeded, Steps: []store.StepResult{{Step: "2", Result: json.RawMessage(`{"status":204}`)}}},
		{Verdict: store.VerdictRetry, Reason: core.ReasonTimeout, Message: "too long"},
		{Verdict: store.VerdictDead, Reason: core.ReasonStatus},
	} {
		r := narrated{kept{save: n.watch(kept{}).SaveStep, outcome: outcome}, n, telemetry.Hiding(nil)}
		r.Run(t.Context(), claimed)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 { // who tells of the dead one writes its line
		t.Fatalf("%d lines:\n%s", len(lines), &out)
	}
	for i, words := range [][]string{
		{" INFO  delivered ", " type=sellsy/estimate.accepted ", " delivery=dlv_7 ", " destination=route:facture ", " reference=D-1001 ", ` amount="1200.00 EUR" `, " outcome=succeeded "},
		{" WARN  failed, will be tried again ", " outcome=retry ", " reason=timeout ", ` message="too long" `},
	} {
		for _, word := range words {
			if !strings.Contains(lines[i], word) {
				t.Errorf("%q is not in %s", word, lines[i])
			}
		}
	}
	n.made.Range(func(key, _ any) bool {
		t.Errorf("%v is still held", key)
		return true
	})
	if strings.Contains(out.String(), "customer") {
		t.Error("a body is in the log")
	}
}

func TestEventThatNoRouteTakesHasALine(t *testing.T) {
	r := start(t, t.TempDir(), "sources:\n  sellsy: {preset: sellsy, secret: \""+signingKey+"\"}\nroutes:\n  other: {on: sellsy/client.created, steps: [{use: http/request, with: {url: \"http://127.0.0.1:1/\"}}]}\n", nil)
	if status, text := r.post(signingKey, estimateStep(7, "1")); status != 200 {
		t.Fatalf("answered %d %s", status, text)
	}
	r.until("the line", func() bool {
		return strings.Contains(r.log.String(), `type=sellsy/estimate.step outcome="no route"`)
	})
}
