package telemetry

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"relais/internal/core"
)

// scrape returns what Prometheus would read.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func mustHave(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("missing %q", line)
		}
	}
}

func TestSourcesAreCounted(t *testing.T) {
	m := NewMetrics("1.2.3")
	m.SetSources([]string{"sellsy", "boutique"})
	s := m.Source("sellsy")
	s.Request()
	s.Request()
	s.Failure(core.RejectBadSignature)
	s.Event(false)
	s.Event(true)
	s.Answered(3 * time.Millisecond)
	mustHave(t, scrape(t, m),
		`webhook_requests_total{source="sellsy"} 2`,
		`webhook_requests_total{source="boutique"} 0`,
		`webhook_failures_total{reason="signature_invalid",source="sellsy"} 1`,
		`webhook_failures_total{reason="signature_missing",source="sellsy"} 0`,
		`webhook_processing_duration_seconds_bucket{source="sellsy",le="0.005"} 1`,
		`webhook_processing_duration_seconds_bucket{source="sellsy",le="0.0025"} 0`,
		`relais_events_total{kind="first",source="sellsy"} 1`,
		`relais_events_total{kind="repeat",source="sellsy"} 1`)
	if !strings.Contains(scrape(t, m), `version="1.2.3"`) {
		t.Error("no build info")
	}
}

func TestRequestsMakeNoLabels(t *testing.T) {
	m := NewMetrics("test")
	m.SetSources([]string{"sellsy"})
	before := strings.Count(scrape(t, m), "\nwebhook_")
	m.Source("no-such-source").Request()
	m.Source("another").Failure("a reason from nowhere")
	m.Source("sellsy").Failure("another from nowhere")
	text := scrape(t, m)
	if after := strings.Count(text, "\nwebhook_"); after != before {
		t.Errorf("series went from %d to %d", before, after)
	}
	mustHave(t, text, `webhook_requests_total{source="(unknown)"} 1`,
		`webhook_failures_total{reason="other",source="sellsy"} 1`)
}

func TestReloadKeepsCountersAndDropsRemovedSources(t *testing.T) {
	m := NewMetrics("test")
	m.SetSources([]string{"sellsy", "old"})
	held := m.Source("old")
	m.Source("sellsy").Request()
	m.SetSources([]string{"sellsy", "new"})
	held.Request() // a request that was on its way
	text := scrape(t, m)
	mustHave(t, text, `webhook_requests_total{source="sellsy"} 1`, `webhook_requests_total{source="new"} 0`)
	if strings.Contains(text, `source="old"`) {
		t.Error("the removed source is still told")
	}
}

func TestAttempts(t *testing.T) {
	m := NewMetrics("test")
	m.AttemptStarted()
	m.AttemptStarted()
	m.AttemptEnded(core.DestinationRoute, core.ReasonNone, 20*time.Millisecond)
	mustHave(t, scrape(t, m), `relais_running_attempts 1`,
		`relais_attempts_total{kind="route",reason="succeeded"} 1`,
		`relais_attempts_total{kind="route",reason="timeout"} 0`,
		`relais_attempt_duration_seconds_count{kind="route"} 1`)
	m.AttemptEnded(core.DestinationRoute, core.Reason("status 404 of https://…"), time.Second)
	m.Dead(core.DestinationRoute)
	mustHave(t, scrape(t, m), `relais_running_attempts 0`, `relais_attempts_total{kind="route",reason="other"} 1`, `relais_dead_total{kind="route"} 1`)
}

func TestStoreFigures(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	m := NewMetrics("test")
	var failure error
	m.WatchStore(func(context.Context) (Figures, error) {
		return Figures{Pending: 7, Dead: 2, OldestDue: now.Add(-90 * time.Second), WALBytes: 4096, UsedBytes: 1 << 20}, failure
	}, func() time.Time { return now })
	m.Wrote(WorkAppend, 4*time.Millisecond, nil)
	m.Appended(12)
	m.Wrote(WorkAppend, 4*time.Millisecond, errors.New("disk full"))
	mustHave(t, scrape(t, m), `relais_store_up 1`, `relais_deliveries{state="pending"} 7`, `relais_deliveries{state="dead"} 2`,
		`relais_oldest_due_seconds 90`, `relais_store_wal_bytes 4096`,
		`relais_store_writes_total{result="ok",work="append"} 1`, `relais_store_writes_total{result="failed",work="append"} 1`,
		`relais_store_write_duration_seconds_count{work="append"} 2`, `relais_append_batch_size_sum 12`)
	failure = errors.New("away")
	text := scrape(t, m)
	mustHave(t, text, `relais_store_up 0`)
	if strings.Contains(text, "relais_deliveries{") {
		t.Error("figures of a store that is away")
	}
}

func TestSilenceIsTold(t *testing.T) {
	m := NewMetrics("test")
	m.SetSources([]string{"sellsy", "boutique"})
	m.SetSilentAfter(map[string]time.Duration{"sellsy": 90 * time.Minute})
	before := time.Now()
	m.Source("sellsy").Event(true)
	m.Source("no-such-source").Event(false)
	text := scrape(t, m)
	mustHave(t, text, `relais_source_silent_after_seconds{source="sellsy"} 5400`)
	last := regexp.MustCompile(`(?m)^relais_source_last_event_timestamp_seconds{source="(.*)"} (.*)$`).FindAllStringSubmatch(text, -1)
	if len(last) != 1 || last[0][1] != "sellsy" {
		t.Fatalf("last events %q", last)
	}
	at, err := strconv.ParseFloat(last[0][2], 64)
	if err != nil || at < float64(before.Unix()) || at > float64(time.Now().Unix()+1) {
		t.Errorf("the last event is of %v, %v", at, err)
	}
	m.SetSources([]string{"boutique"})
	m.SetSilentAfter(nil)
	if text := scrape(t, m); strings.Contains(text, "relais_source_") {
		t.Error("the removed source is still told")
	}
}

func TestStanding(t *testing.T) {
	m := NewMetrics("test")
	var failure error
	m.WatchStanding(func(context.Context) (Standing, error) {
		return Standing{OrphanedLanes: 1, Undecided: 2, Alive: 3, Gone: 4, Stranded: 5}, failure
	}, func() (Disk, error) { return Disk{Free: 6, Size: 7}, failure })
	mustHave(t, scrape(t, m), `relais_orphaned_lanes 1`, `relais_effects_undecided 2`, `relais_nodes{state="alive"} 3`,
		`relais_nodes{state="gone"} 4`, `relais_spool_stranded_events 5`, `relais_data_free_bytes 6`, `relais_data_size_bytes 7`)
	failure = errors.New("away")
	text := scrape(t, m)
	for _, gone := range []string{"relais_nodes", "relais_data_"} {
		if strings.Contains(text, gone) {
			t.Errorf("%s of what can't be read", gone)
		}
	}
}

func TestEveryMetricIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	m := NewMetrics("test")
	m.SetSources([]string{"sellsy"})
	m.WatchStore(func(context.Context) (Figures, error) { return Figures{FirstEvent: time.Unix(1, 0)}, nil }, time.Now)
	m.WatchSpool(func() SpoolFigures { return SpoolFigures{State: "direct"} }, time.Now)
	m.WatchReady(func() bool { return true })
	m.WatchStanding(func(context.Context) (Standing, error) { return Standing{}, nil }, func() (Disk, error) { return Disk{}, nil })
	m.SetSilentAfter(map[string]time.Duration{"sellsy": time.Hour})
	m.Source("sellsy").Event(false)
	m.Retained(1, 0, 0, 0)
	m.Loaded(time.Unix(1, 0))
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range families {
		name := f.GetName()
		known[name] = true
		own := strings.HasPrefix(name, "relais_") || strings.HasPrefix(name, "webhook_")
		if own && !strings.Contains(string(page), "| `"+name) {
			t.Errorf("docs/metrics.md doesn't explain %s", name)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `((?:relais|webhook)_[a-z_]+)").FindAllStringSubmatch(string(page), -1) {
		if !known[row[1]] {
			t.Errorf("docs/metrics.md explains %s, which there isn't", row[1])
		}
	}
	_, refusals, _ := strings.Cut(string(page), "Reasons of `webhook_failures_total`")
	refusals, attempts, _ := strings.Cut(refusals, "Reasons of `relais_attempts_total`")
	for _, reason := range rejectReasons {
		if !strings.Contains(refusals, "`"+string(reason)+"`") {
			t.Errorf("docs/metrics.md doesn't say what to do about %s", reason)
		}
	}
	for _, reason := range attemptReasons[2:] { // the first two are success
		if !strings.Contains(attempts, "`"+string(reason)+"`") {
			t.Errorf("docs/metrics.md doesn't say what to do about an attempt that ended with %s", reason)
		}
	}
}
