package ingest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"relais/internal/config"
	"relais/internal/core"
)

// TestAsanaGivesItsSecretToWhomItWasAskedFor: the handshake is answered for who knows the source's token, nothing is
// kept of the secret, and what comes before it is in force can be taken afterwards.
func TestAsanaGivesItsSecretToWhomItWasAskedFor(t *testing.T) {
	const secret, setup = "b537207f20cbfa02357cf448134da559", "text-of-the-operator"
	begun := config.Source{Name: "asana", Preset: "asana", NamedSecrets: map[string][]config.Secret{"setup": secretsOf(setup)}}
	h := open(t, nil, begun)
	shake := http.Header{"X-Hook-Secret": {secret}, "Content-Type": {jsonType}}
	for _, body := range []string{"", "{}"} {
		got := h.send("POST", "/in/asana?setup="+setup, shake, []byte(body))
		if got.status != 200 || got.header.Get("X-Hook-Secret") != secret || got.body != "" {
			t.Errorf("the handshake with %q: answered %d %v", body, got.status, got.header)
		}
	}
	for what, c := range map[string]struct {
		path   string
		header http.Header
	}{
		"no token":       {"/in/asana", shake},
		"another token":  {"/in/asana?setup=text-of-somebody", shake},
		"an empty token": {"/in/asana?setup=", shake},
		"two tokens":     {"/in/asana?setup=" + setup + "&setup=" + setup, shake},
		"no secret":      {"/in/asana?setup=" + setup, http.Header{"Content-Type": {jsonType}}},
		"a page":         {"/in/asana?setup=" + setup, http.Header{"X-Hook-Secret": {"<script>"}}},
		"a long one":     {"/in/asana?setup=" + setup, http.Header{"X-Hook-Secret": {strings.Repeat("a", 257)}}},
		"a signature":    {"/in/asana?setup=" + setup, http.Header{"X-Hook-Secret": {secret}, "X-Hook-Signature": {"00"}}},
	} {
		if got := h.send("POST", c.path, c.header, []byte("{}")); got.status != 401 || got.header.Get("X-Hook-Secret") != "" {
			t.Errorf("%s: answered %d %v", what, got.status, got.header)
		}
	}
	// Nobody signs for a source that has no secret, not even with an empty key.
	body := []byte(`{"events":[{"action":"changed","created_at":"2026-01-02T03:04:05.678Z"}]}`)
	signed := func(key string) http.Header {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(body)
		return http.Header{"X-Hook-Signature": {hex.EncodeToString(mac.Sum(nil))}, "Content-Type": {jsonType}}
	}
	for _, key := range []string{"", setup, secret} {
		if got := h.send("POST", "/in/asana?setup="+setup, signed(key), body); got.status != 401 {
			t.Errorf("a message signed with %q, before there is a secret: answered %d", key, got.status)
		}
	}
	if len(h.store.stored()) != 0 {
		t.Error("something is stored")
	}
	kept := h.waitKept(11)
	for _, r := range kept {
		if text := string(r.Header) + r.Query + string(r.Body); strings.Contains(text, secret) || strings.Contains(text, setup) {
			t.Errorf("kept: %q %q", r.Header, r.Query)
		}
	}
	// With the secret in force, messages are taken, those from before too; the token is in none of them.
	begun.Secrets = secretsOf(secret)
	with := compileAll(t, begun)
	if err := h.Replace(Settings{Sources: with}); err != nil {
		t.Fatal(err)
	}
	if got := h.send("POST", "/in/asana?setup="+setup, signed(secret), body); got.status != 200 {
		t.Errorf("a message: answered %d", got.status)
	}
	last := kept[len(kept)-1]
	if _, err := RetryRejection(t.Context(), h.store, RetryParams{Source: with[0], Match: noMatch}, &last); err != nil {
		t.Error(err)
	}
	for _, e := range h.store.stored() {
		if strings.Contains(e.Query, setup) || bytes.Contains(e.Header, []byte(setup)) {
			t.Errorf("stored: %q %q", e.Query, e.Header)
		}
	}
	// Without the token in the configuration nobody is answered any more.
	begun.NamedSecrets = nil
	if err := h.Replace(Settings{Sources: compileAll(t, begun)}); err != nil {
		t.Fatal(err)
	}
	if got := h.send("POST", "/in/asana?setup="+setup, shake, []byte("{}")); got.status != 401 {
		t.Errorf("after the set-up: answered %d", got.status)
	}
}

// TestTestSourceTakesItsKeyFromAnywhere: without it, only this machine may send there.
func TestTestSourceTakesItsKeyFromAnywhere(t *testing.T) {
	const key = "key-of-the-tests-0123"
	testKey := config.NewSecret(key)
	keyed := config.Source{Name: "keyed", Preset: "paybox", Path: "/api/paybox/callback-test", Auth: "none", Test: true,
		TestKey: &testKey}
	unkeyed := config.Source{Name: "unkeyed", Preset: "paybox", Path: "/unkeyed", Auth: "none", Test: true}
	h := open(t, nil, keyed, unkeyed)
	const call = "?Mt=7790&Ref=TEST-001&Auto=123456&Erreur=00000"
	relayed := func(values ...string) http.Header {
		header := http.Header{"X-Forwarded-For": {"203.0.113.7"}}
		if len(values) > 0 {
			header["Authorization"] = values
		}
		return header
	}
	for what, c := range map[string]struct {
		path   string
		header http.Header
		want   int
	}{
		"this machine":       {"/api/paybox/callback-test", http.Header{}, 200},
		"elsewhere":          {"/api/paybox/callback-test", relayed(), 403},
		"with the key":       {"/api/paybox/callback-test", relayed("Bearer " + key), 200},
		"in small letters":   {"/api/paybox/callback-test", relayed("bearer " + key), 200},
		"another key":        {"/api/paybox/callback-test", relayed("Bearer key-of-the-tests-0124"), 403},
		"a part of it":       {"/api/paybox/callback-test", relayed("Bearer key-of-the-tests"), 403},
		"more than it":       {"/api/paybox/callback-test", relayed("Bearer " + key + "0"), 403},
		"none":               {"/api/paybox/callback-test", relayed("Bearer "), 403},
		"without its word":   {"/api/paybox/callback-test", relayed(key), 403},
		"as Basic":           {"/api/paybox/callback-test", relayed("Basic " + key), 403},
		"given twice":        {"/api/paybox/callback-test", relayed("Bearer "+key, "Bearer "+key), 403},
		"a source without":   {"/unkeyed", relayed("Bearer " + key), 403},
		"one with empty key": {"/unkeyed", relayed("Bearer "), 403},
	} {
		if got := h.send("GET", c.path+call, c.header, nil); got.status != c.want {
			t.Errorf("%s: answered %d, want %d", what, got.status, c.want)
		}
	}
	events := h.store.stored()
	for _, e := range events {
		if bytes.Contains(e.Header, []byte(key)) || !e.Test {
			t.Errorf("stored: test %v, %q", e.Test, e.Header)
		}
	}
	if len(events) != 3 {
		t.Errorf("%d events, want 3", len(events))
	}
	for _, r := range h.waitKept(10) {
		if r.Reason != core.RejectAddress || bytes.Contains(r.Header, []byte(key)) {
			t.Errorf("kept: %s %q", r.Reason, r.Header)
		}
	}
}
