package ingest

import (
	"net/http"
	"strings"
	"testing"

	"relais/internal/config"
	"relais/internal/source"
)

// TestBuyersOwnNotificationIsNoOther: the signed address that a buyer's browser is sent to, sent again as a body
// with another order in the address, is stored as what was signed and nothing else.
func TestBuyersOwnNotificationIsNoOther(t *testing.T) {
	h := open(t, nil, config.Source{Name: "paybox", Preset: "paybox", Path: "/api/paybox/callback"})
	preset, err := source.Embedded().Load("paybox")
	if err != nil {
		t.Fatal(err)
	}
	signed := ""
	for _, v := range preset.Tests {
		if v.Name == "as published, as a form" {
			signed = v.Body
		}
	}
	for _, kind := range []string{form, jsonType, "text/plain"} {
		got := h.send("POST", "/api/paybox/callback?Mt=999999&Ref=other&Erreur=00000&S=7", http.Header{"Content-Type": {kind}}, []byte(signed))
		if got.status != 200 {
			t.Errorf("as %s: answered %d %s", kind, got.status, got.body)
		}
	}
	events := h.store.stored()
	for i, e := range events {
		if e.Query != "" || !strings.Contains(string(e.Body), "Ref=CMD1349338388") || e.Format != "form" || i > 0 && e.RepeatOf != events[0].ID {
			t.Errorf("stored: %s %s, query %q, a repeat of %v", e.Type, e.Body, e.Query, e.RepeatOf)
		}
	}
	if len(events) != 3 {
		t.Errorf("%d events are stored, want 3", len(events))
	}
}
