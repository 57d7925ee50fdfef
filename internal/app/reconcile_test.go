package app

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"relais/internal/api"
	"relais/internal/ingest"
	"relais/internal/sandbox"
	"relais/internal/sandbox/doli"
	"relais/internal/step"
)

// What Dolibarr doesn't tell the time of is neither told twice nor left out.
func TestReconciliationOfWhatHasNoTime(t *testing.T) {
	t.Parallel()
	evening := time.Date(2026, 3, 10, 20, 0, 0, 0, time.UTC)
	midnight, morning := evening.Truncate(24*time.Hour), evening.Add(10*time.Hour)
	for _, c := range []struct {
		name            string
		created, change time.Time
		status          int
		validated       time.Time
		told            map[string]time.Time // when its webhooks came
		now             time.Time
		since           time.Duration
		made            string
	}{
		{"validated in the evening, looked for in the morning", evening, evening, 1, midnight, map[string]time.Time{"BILL_CREATE": evening}, morning, 24 * time.Hour, "BILL_VALIDATE"},
		{"validated the day before the last 24 hours", evening.AddDate(0, 0, -1), evening.AddDate(0, 0, -1), 1, midnight.AddDate(0, 0, -1), nil, morning.Add(14 * time.Hour), 24 * time.Hour, ""},
		{"its webhook is on its way", evening, evening, 1, midnight, nil, evening.Add(time.Minute), 24 * time.Hour, ""},
		{"its webhook didn't come", evening, evening, 1, midnight, nil, evening.Add(3 * time.Minute), 24 * time.Hour, "BILL_CREATE BILL_VALIDATE"},
		{"paid and told weeks ago, noted on today", evening.AddDate(0, 0, -30), evening, 2, midnight.AddDate(0, 0, -30), map[string]time.Time{"BILL_PAYED": evening.AddDate(0, 0, -20)}, evening.Add(time.Hour), 24 * time.Hour, ""},
		{"another was told of", evening.AddDate(0, 0, -30), evening, 2, midnight.AddDate(0, 0, -30), map[string]time.Time{"BILL_VALIDATE": evening.AddDate(0, 0, -30)}, evening.Add(time.Hour), 24 * time.Hour, "BILL_PAYED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			erp := doli.New(doli.Options{Now: func() time.Time { return c.change }})
			server := erp.Serve()
			defer server.Close()
			r := start(t, t.TempDir(), `
sources: {erp: {preset: dolibarr, secret: wh-secret}}
connections: {books: {kind: dolibarr, url: "`+server.URL+`", api_key: doli-key}}
routes: {all: {on: erp/**, steps: [{use: alert, with: {message: m}}]}}
`, nil)
			id := erp.Add("invoices", doli.Object{"ref": "FA1", "status": c.status, "type": 0, "date_creation": c.created.Unix(), "date_validation": c.validated.Unix(), "lines": []any{}})
			re := r.reconciler()
			p, err := pick(re.inForce(), "dolibarr", "", "")
			if err != nil {
				t.Fatal(err)
			}
			for code, at := range c.told {
				body, _ := json.Marshal(map[string]any{"triggercode": code, "object": map[string]any{"id": strconv.FormatInt(id, 10)}})
				told, err := ingest.Made(ingest.RetryParams{Source: p.source, Match: re.match}, request(step.Change{Type: code, Body: body}, at), "the webhook "+code)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.emit(t.Context(), told); err != nil {
					t.Fatal(err)
				}
			}
			re.now = func() time.Time { return c.now }
			for _, want := range []string{c.made, ""} { // the second time there is nothing any more
				out, err := re.reconcile(t.Context(), api.Reconcile{Kind: "dolibarr", Since: c.now.Add(-c.since)})
				if err != nil {
					t.Fatal(err)
				}
				var made []string
				for _, m := range out.Missing {
					made = append(made, m.Type)
				}
				if got := strings.Join(made, " "); got != want {
					t.Errorf("%q was made, want %q", got, want)
				}
			}
		})
	}
}

// Sellsy says when a quote was made, and not when it was accepted: that is days or weeks later.
func TestAQuoteAcceptedLateIsFoundByItself(t *testing.T) {
	sellsy := sellsySandbox(t, sandbox.Options{})
	now := time.Now()
	if _, err := sellsy.AddEstimate(sandbox.Estimate{Date: now.AddDate(0, 0, -12).Format(time.DateOnly), Rows: sandbox.SampleRows()}); err != nil {
		t.Fatal(err)
	}
	r := start(t, t.TempDir(), invoicing(sellsy.URL, ""), nil)
	for _, c := range []struct {
		after         time.Duration
		made, waiting int
	}{{0, 0, 1}, {onTheWay - time.Second, 0, 1}, {onTheWay, 1, 0}, {time.Hour, 0, 0}} {
		re := r.reconciler()
		re.now = func() time.Time { return now.Add(c.after) }
		dry, err := re.reconcile(t.Context(), api.Reconcile{Kind: "sellsy", DryRun: true})
		if err != nil || dry.Made != c.made+c.waiting || dry.Waiting != 0 {
			t.Errorf("after %s: dry %+v: %v", c.after, dry, err)
		}
		out, err := re.reconcile(t.Context(), api.Reconcile{Kind: "sellsy"})
		if err != nil || out.Made != c.made || out.Waiting != c.waiting || (out.Wait > 0) != (c.waiting > 0) {
			t.Errorf("after %s: %+v: %v", c.after, out, err)
		}
	}
}

// A quote that was accepted a moment ago has no event yet, and its webhook may be on its way.
func TestAWebhookThatComesWhileAQuoteIsLookedAtIsTheOnlyEvent(t *testing.T) {
	sellsy := sellsySandbox(t, sandbox.Options{})
	id, err := sellsy.AddEstimate(sandbox.Estimate{})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, t.TempDir(), invoicing(sellsy.URL, ""), nil)
	now := time.Now()
	re := r.reconciler()
	re.now = func() time.Time { return now }
	if out, err := re.reconcile(t.Context(), api.Reconcile{Kind: "sellsy"}); err != nil || out.Made != 0 || out.Waiting != 1 {
		t.Fatalf("%+v: %v", out, err)
	}
	p, err := pick(re.inForce(), "sellsy", "", "")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(map[string]any{"event": "step", "relatedtype": "estimate", "relatedid": id, "relatedobject": map[string]any{"id": id, "status": "accepted"}})
	told, err := ingest.Made(ingest.RetryParams{Source: p.source, Match: re.match}, request(step.Change{Type: "estimate.accepted", Body: body}, now), "the webhook")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.emit(t.Context(), told); err != nil {
		t.Fatal(err)
	}
	re.now = func() time.Time { return now.Add(time.Hour) }
	if out, err := re.reconcile(t.Context(), api.Reconcile{Kind: "sellsy"}); err != nil || out.Made != 0 || out.Waiting != 0 {
		t.Errorf("%+v: %v", out, err)
	}
}
