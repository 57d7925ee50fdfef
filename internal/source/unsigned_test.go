package source

import (
	"net/http"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

// A buyer sees the signed address that his browser is sent to. Sent as a body, beside a query of his own and
// under any Content-Type, it says what it said before and nothing else.
func TestQueryIsNotReadBesideASignedForm(t *testing.T) {
	src := compile(t, config.Source{Preset: "paybox"})
	for _, kind := range []string{"application/x-www-form-urlencoded", "application/json", "text/plain", "application/vnd.x+json", ""} {
		req := payboxVector(t, "as published, as a form")
		req.Header = http.Header{}
		if kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		req.Query = "Mt=999999&Ref=other&Erreur=00000&Auto=1&S=forged"
		if err := src.Verify(req); err != nil {
			continue
		}
		msg, err := src.Read(req)
		if err != nil {
			continue
		}
		event := &core.Event{Source: "paybox", Type: msg.Type, Format: msg.Format, Body: msg.Body, Query: req.Query, ReceivedAt: time.Now()}
		if got := src.Normalized(event); got["reference"] != "CMD1349338388" || got["amount_cents"] != int64(1000) || got["transaction"] != nil {
			t.Errorf("as %q: %s, %v", kind, msg.Type, got)
		}
		if req.Query != "" {
			t.Errorf("as %q: the query %q is left to be read", kind, req.Query)
		}
	}
}

// Where the parameters of the query are what is signed, there is no body.
func TestBodyBesideASignedQueryIsRefused(t *testing.T) {
	verify := map[string]any{"variant": "hmac", "key": "text", "query": "K"}
	src := compile(t, config.Source{Preset: "paybox", Secrets: secrets("s3cret"), Verify: verify})
	req := &Request{Method: "GET", Header: http.Header{}, Query: "Mt=1&Ref=own", Now: time.Now()}
	if err := src.Sign(req); err != nil {
		t.Fatal(err)
	}
	if err := src.Verify(req); err != nil {
		t.Fatal(err)
	}
	req.Body = []byte("Mt=1&Ref=other")
	if err := src.Verify(req); err == nil {
		t.Error("a body that nobody signed is accepted")
	}
}
