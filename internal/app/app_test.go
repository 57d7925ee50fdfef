package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relais/internal/core"
	"relais/internal/sandbox"
	"relais/internal/store"
)

// invoicing is a configuration that invoices accepted quotes.
func invoicing(sellsy, extra string) string {
	return fmt.Sprintf(`
sources:
  sellsy: {preset: sellsy, secret: "%s"}
connections:
  compta: {kind: sellsy, base_url: "%s/v2", client_id: sandbox-client, client_secret: sandbox-secret}
routes:
  facture:
    on: [sellsy/estimate.accepted, sellsy/estimate.step]
    steps:
      - id: facture
        use: sellsy/create-invoice
        with: {estimate: "${{ event.data.relatedid }}"}
%s`, signingKey, sellsy, extra)
}

func (r *running) deliveries(state core.State) []core.Delivery {
	r.t.Helper()
	list, err := r.store.Deliveries(r.t.Context(), store.DeliveryFilter{State: state, Limit: 100})
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

func TestAcceptedQuoteBecomesOneInvoice(t *testing.T) {
	sellsy := sellsySandbox(t, sandbox.Options{})
	estimate, err := sellsy.AddEstimate(sandbox.Estimate{Rows: sandbox.SampleRows()})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, t.TempDir(), invoicing(sellsy.URL, ""), nil)
	for i := range 5 {
		if status, text := r.post(signingKey, estimateStep(estimate, fmt.Sprint(i))); status != http.StatusOK {
			t.Fatalf("answered %d %s", status, text)
		}
	}
	r.until("five deliveries", func() bool { return len(r.deliveries(core.StateSucceeded)) == 5 })
	if invoices := sellsy.InvoicesOf(estimate); len(invoices) != 1 {
		t.Errorf("%d invoices, want 1", len(invoices))
	}
}

func TestDeadDeliveryTellsSomeone(t *testing.T) {
	sellsy := sellsySandbox(t, sandbox.Options{})
	dir := t.TempDir()
	told := filepath.Join(dir, "told")
	script := filepath.Join(dir, "alarm.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ncat > "+told+".part && mv "+told+".part "+told+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := start(t, dir, fmt.Sprintf("on_dead: [%q]\n", script)+invoicing(sellsy.URL, ""), nil)
	// There is no such estimate: Sellsy says 404, which no retry mends.
	if status, _ := r.post(signingKey, estimateStep(404404, "1")); status != http.StatusOK {
		t.Fatal(status)
	}
	var text []byte
	r.until("the operator's command", func() (ok bool) {
		var err error
		text, err = os.ReadFile(told)
		return err == nil
	})
	dead := r.deliveries(core.StateDead)
	if len(dead) != 1 || !strings.Contains(string(text), dead[0].ID.String()) || !strings.Contains(string(text), `"destination":"route:facture"`) {
		t.Errorf("dead: %+v; told: %s", dead, text)
	}
}

func TestBadFileLeavesTheRunningConfigurationInForce(t *testing.T) {
	sellsy := sellsySandbox(t, sandbox.Options{})
	dir := t.TempDir()
	r := start(t, dir, invoicing(sellsy.URL, ""), nil)
	writeConfig(t, dir, invoicing(sellsy.URL, "    setps: []\n"))
	if err := r.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "setps") {
		t.Errorf("reload of a bad file: %v", err)
	}
	if status, _ := r.post(signingKey, estimateStep(1, "after")); status != http.StatusOK {
		t.Errorf("after a refused reload a webhook was answered %d", status)
	}
	if !strings.Contains(r.log.String(), "stays in force") {
		t.Errorf("the log doesn't say it:\n%s", r.log.String())
	}
	// A new secret comes into force without a restart, and the old one ends.
	writeConfig(t, dir, strings.ReplaceAll(invoicing(sellsy.URL, ""), signingKey, "another-key"))
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _ := r.post("another-key", estimateStep(1, "new key")); status != http.StatusOK {
		t.Errorf("the new key was answered %d", status)
	}
	if status, _ := r.post(signingKey, estimateStep(1, "old key")); status != http.StatusUnauthorized {
		t.Errorf("the old key was answered %d", status)
	}
}

func TestEventsOfAStoppedRelaisWaitForTheNextStart(t *testing.T) {
	sellsy := sellsySandbox(t, sandbox.Options{})
	estimate, err := sellsy.AddEstimate(sandbox.Estimate{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := start(t, dir, invoicing(sellsy.URL, ""), nil)
	if err := r.store.SetPause(t.Context(), store.Pause{Scope: store.PauseAll, Reason: "test", By: "test"}); err != nil {
		t.Fatal(err)
	}
	if status, _ := r.post(signingKey, estimateStep(estimate, "1")); status != http.StatusOK {
		t.Fatal(status)
	}
	r.stop()
	again := start(t, dir, invoicing(sellsy.URL, ""), nil)
	if waiting := again.deliveries(core.StatePending); len(waiting) != 1 {
		t.Fatalf("%d deliveries wait, want 1", len(waiting))
	}
	if err := again.store.Resume(t.Context(), store.PauseAll, "", "test"); err != nil {
		t.Fatal(err)
	}
	again.lanes.Wake()
	again.until("the invoice", func() bool { return len(sellsy.InvoicesOf(estimate)) == 1 })
}

func TestHealthReadyAndMetricsAnswer(t *testing.T) {
	r := start(t, t.TempDir(), invoicing("http://127.0.0.1:1", ""), nil)
	for address, want := range map[string]string{
		"http://" + r.at.Listen + "/health": `"status":"ok"`,
		"http://" + r.at.Admin + "/health":  `"service":"relais"`,
		"http://" + r.at.Admin + "/ready":   `"ready"`,
		"http://" + r.at.Admin + "/metrics": `webhook_requests_total{source="sellsy"} 0`,
	} {
		if status, text := r.get(address); status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s answered %d without %s:\n%s", address, status, want, text)
		}
	}
	if status, _ := r.get("http://" + r.at.Listen + "/metrics"); status != http.StatusNotFound {
		t.Errorf("the public address answered /metrics with %d", status)
	}
	// A path is what it is: nobody is sent elsewhere, and what nothing stands at is counted.
	for _, path := range []string{"//in/sellsy", "/in/../in/sellsy", "//health"} {
		if status, _ := r.get("http://" + r.at.Listen + path); status != http.StatusNotFound {
			t.Errorf("the public address answered %s with %d", path, status)
		}
	}
	if _, text := r.get("http://" + r.at.Admin + "/metrics"); !strings.Contains(text, `webhook_failures_total{reason="source_unknown",source="(unknown)"} 4`) {
		t.Error("requests to nothing are not counted")
	}
}
