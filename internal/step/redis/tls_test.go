//go:build unix

package redis

import (
	"net"
	"strings"
	"testing"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress/certtest"
	"relais/internal/step/redis/redistest"
	"relais/internal/store"
)

// secured starts a server that also speaks TLS, and returns its address there and its authority's file.
func secured(t *testing.T, name string) (address, authority string) {
	t.Helper()
	chain, err := certtest.Make(name)
	if err != nil {
		t.Fatal(err)
	}
	files, err := chain.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := redistest.Start(t, "--tls-cert-file", files.Certificate, "--tls-key-file", files.Key, "--tls-ca-cert-file", files.Authority, "--tls-auth-clients", "no")
	return s.TLS(), files.Authority
}

func TestTLS(t *testing.T) {
	address, authority := secured(t, "127.0.0.1")
	_, port, _ := net.SplitHostPort(address)
	with := map[string]any{"command": []any{"SET", "stock", "${{ event.data.n }}"}}
	data := map[string]any{"n": 7}

	if got := reply(t, attempt(t, "rediss://"+address+"?ca="+authority, with, data)); got != `"OK"` {
		t.Errorf("by the authority that the file names: %s", got)
	}
	with["command"] = []any{"INCR", "stock"}
	if got := reply(t, attempt(t, "rediss://"+address+"/0?ca="+authority, with, data)); got != "8" {
		t.Errorf("%s", got)
	}
	for _, c := range []struct{ name, url, says string }{
		{"no authority that the system knows", "rediss://" + address, "unknown authority"},
		{"another authority", "rediss://" + address + "?ca=" + certtest.Stranger(t), "unknown authority"},
		{"another name", "rediss://localhost:" + port + "?ca=" + authority, "match localhost"},
	} {
		// Even INCR is tried again: it was never sent.
		out := attempt(t, c.url, with, data)
		if out.Verdict != store.VerdictRetry || out.Reason != core.ReasonTLS || !strings.Contains(out.Message, c.says) {
			t.Errorf("%s: %+v", c.name, out)
		}
	}
	with["command"] = []any{"GET", "stock"}
	if got := reply(t, attempt(t, "rediss://"+address+"?ca="+authority, with, data)); got != `"8"` {
		t.Errorf("a refused server was sent to: %s", got)
	}
	// In clear to the port that wants TLS.
	if out := attempt(t, "redis://"+address, with, data); out.Verdict != store.VerdictRetry {
		t.Errorf("%+v", out)
	}
}

func TestParametersOfTheAddress(t *testing.T) {
	for url, says := range map[string]string{
		"rediss://h?ca=/none":             "must be a file of certificates",
		"rediss://h?ca=":                  "allowed: ca",
		"rediss://h?cacert=/a":            "allowed: ca",
		"redis://h?ca=/a":                 "ca is for rediss://",
		"rediss://u:hidden@h?ca=/a&ca=/b": "allowed: ca",
	} {
		_, _, err := compile(url, config.Step{With: map[string]any{"command": []any{"PING"}}})
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
