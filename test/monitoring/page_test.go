package monitoring

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relais/internal/app"
)

// TestTheMetricsPageIsAsPrometheusAsks reads the page of a relais that runs and has seen a request.
func TestTheMetricsPageIsAsPrometheusAsks(t *testing.T) {
	at := start(t, "sources: {boutique: {auth: none, silent_after: 1h}}\n")
	if status, text := request(t, http.MethodPost, "http://"+at.Listen+"/in/boutique", `{"type":"a"}`); status/100 != 2 {
		t.Fatalf("%d %s", status, text)
	}
	status, page := request(t, http.MethodGet, "http://"+at.Admin+"/metrics", "")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, page)
	}
	for _, line := range []string{
		`relais_source_silent_after_seconds{source="boutique"} 3600`, `webhook_requests_total{source="boutique"} 1`,
		`relais_nodes{state="alive"} 1`, `relais_orphaned_lanes 0`, `relais_effects_undecided 0`,
		`relais_source_last_event_timestamp_seconds{source="boutique"} `, `relais_data_free_bytes `,
	} {
		if !strings.Contains(page, "\n"+line) {
			t.Errorf("the page lacks %s", line)
		}
	}
	if out, err := promtool(t, page, "check", "metrics"); err != nil || out != "" {
		t.Errorf("%v\n%s", err, out)
	}
}

// start runs relais until the test ends.
func start(t *testing.T, text string) app.Addresses {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "relais.yaml")
	if err := os.WriteFile(path, []byte("listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan app.Addresses, 1), make(chan error, 1)
	var log bytes.Buffer
	a, err := app.New(t.Context(), app.Options{
		Config: path, Data: filepath.Join(dir, "data"), Version: "test", Log: &log,
		Env: func(string) (string, bool) { return "", false }, ReadyDelay: time.Nanosecond,
		Ready: func(where app.Addresses) { ready <- where },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("relais ended with %v\n%s", err, log.String())
		}
	})
	select {
	case at := <-ready:
		return at
	case err := <-ended:
		ended <- err
		t.Fatalf("relais did not start: %v", err)
		return app.Addresses{}
	}
}

func request(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}
