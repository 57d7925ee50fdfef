package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/sqlite"
)

// A condition that few events fulfil is looked for through all of them, and the terminal says how far it is.
func TestEventsWhereTellsHowFarItIs(t *testing.T) {
	const events = 20_500
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.WriteFile(filepath.Join(dir, "relais.yaml"), []byte("sources: {s: {preset: generic, auth: none}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: data, Sync: sqlite.SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < events; n += 500 {
		batch := make([]store.Accepted, 500)
		for i := range batch {
			batch[i].Event = core.Event{
				ID: core.NewEventID(), Source: "s", Type: "t", ReceivedAt: time.Now(), Format: core.FormatJSON, Body: fmt.Appendf(nil, `{"n":%d}`, n+i),
			}
		}
		if _, err := s.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (stdout, stderr string) {
		var out, complaints strings.Builder
		p := &program{
			ctx: t.Context(), args: append(args, "--config", filepath.Join(dir, "relais.yaml"), "--data", data), stdout: &out, stderr: &complaints,
			env: func(string) (string, bool) { return "", false }, now: time.Now,
		}
		if code := p.run(); code != 0 {
			t.Fatalf("%d: %s%s", code, out.String(), complaints.String())
		}
		return out.String(), complaints.String()
	}
	stdout, stderr := run("events", "--where", "event.data.n in [3, 20000]")
	if strings.Count(stdout, "evt_") != 2 || strings.Contains(stdout, "--cursor") || stderr != "10,000 looked at, 1 found; to go on from here: --cursor 10501\n20,000 looked at, 1 found; to go on from here: --cursor 501\n" {
		t.Errorf("%s\n%s", stdout, stderr)
	}
	// It stops where enough was found, and goes on from there.
	stdout, stderr = run("events", "--where", "event.data.n in [3, 20000]", "--limit", "1")
	if strings.Count(stdout, "evt_") != 1 || !strings.Contains(stdout, "--cursor 20001") || stderr != "" {
		t.Errorf("%s\n%s", stdout, stderr)
	}
	stdout, _ = run("events", "--where", "event.data.n in [3, 20000]", "--cursor", "20001", "--json")
	if strings.Count(stdout, "evt_") != 1 || !strings.Contains(stdout, `"read": 20000`) {
		t.Errorf("%s", stdout)
	}
}
