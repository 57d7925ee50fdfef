//go:build unix

package app

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

// TestReadyTellsThatTheDatabaseIsAway: webhooks go on, and whoever asks is told that nothing else does.
func TestReadyTellsThatTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t)
	r := start(t, t.TempDir(), "store: \""+server.URL("postgres")+"\"\n"+aSource+oneRoute, nil)
	ready := func() string {
		status, text := r.get("http://" + r.at.Admin + "/ready")
		if status != http.StatusOK {
			t.Fatalf("/ready answers %d %s", status, text)
		}
		return text
	}
	if strings.Contains(ready(), "away") {
		t.Fatalf("/ready says %s", ready())
	}
	server.Stop(true)
	for range 3 {
		if status := r.send("other"); status != http.StatusOK {
			t.Fatalf("a webhook was answered with %d", status)
		}
	}
	words := regexp.MustCompile(`PostgreSQL is away since \d\d:\d\d:\d\d \([^)]+\): webhooks go to the spool \(3 wait\), nothing is delivered`)
	r.until("a warning in /ready", func() bool { return words.MatchString(ready()) })

	answer, err := socketClient(r.at.Socket).Get("http://relais/api/v1/deliveries")
	if err != nil {
		t.Fatal(err)
	}
	if text := readAll(t, answer); answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "webhooks are still accepted: 3 wait in this node's spool") {
		t.Errorf("the list is answered with %d %s", answer.StatusCode, text)
	}
	server.Start()
	r.until("/ready without it", func() bool { return !strings.Contains(ready(), "away") })
	log := r.log.String()
	for _, line := range []string{"PostgreSQL is away", "PostgreSQL is back"} {
		if n := strings.Count(log, line); n != 1 {
			t.Errorf("%q stands %d times in the log:\n%s", line, n, log)
		}
	}
}

// TestNotReadyWhereNothingTakesWebhooks: without a spool, a load balancer is told to send them to another node, and that it
// may send them here again.
func TestNotReadyWhereNothingTakesWebhooks(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t)
	r := start(t, t.TempDir(), "ingest: {spool: off}\nstore: \""+server.URL("postgres")+"\"\n"+aSource+oneRoute, nil)
	answers := func(path string, want int, words string) func() bool {
		expected := regexp.MustCompile(words)
		return func() bool {
			status, text := r.get("http://" + r.at.Admin + path)
			return status == want && expected.MatchString(text)
		}
	}
	if !answers("/ready", http.StatusOK, `"reasons":\[\]`)() || !answers("/metrics", http.StatusOK, `(?m)^relais_ready 1$`)() {
		t.Fatal("it isn't ready")
	}
	server.Stop(true)
	r.until("a refused webhook", func() bool { return r.send("other") == http.StatusServiceUnavailable })
	r.until("503 from /ready", answers("/ready", http.StatusServiceUnavailable,
		`"not ready","reasons":\["PostgreSQL is away since \d\d:\d\d:\d\d \([^)]+\): webhooks are answered with 503, nothing is delivered"\]`))
	if !answers("/metrics", http.StatusOK, `(?m)^relais_ready 0$`)() || !answers("/health", http.StatusOK, `"ok"`)() {
		t.Error("the metric says that it is ready, or it isn't healthy: a restart would mend nothing")
	}
	server.Start()
	r.until("200 from /ready", answers("/ready", http.StatusOK, `"reasons":\[\]`))
	r.until("an accepted webhook", func() bool { return r.send("another") == http.StatusOK })
}

// TestOutageIsLoggedOnceAMinute: each part says what it can't do, and none of them all the time.
func TestOutageIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		quiet := newCalm(slog.NewTextHandler(&out, nil))
		log := slog.New(quiet).With("part", "lanes")
		away := fmt.Errorf("scanning: %w", &store.Away{Words: "the database can't be reached", Cause: errors.New("refused")})
		lines := func(words string) int { return strings.Count(out.String(), words) }
		for range 240 { // two minutes
			log.Warn("looking for work failed", "error", away)
			log.Warn("retention failed", "error", errors.New("of its own"))
			time.Sleep(500 * time.Millisecond) //nolint:forbidigo // the bubble's clock
		}
		log.Warn("fanning out failed", "error", away)
		if n := lines("looking for work"); n != 2 {
			t.Errorf("it stands there %d times", n)
		}
		if lines("left_out=119") != 1 {
			t.Errorf("what was left out isn't told:\n%s", out.String())
		}
		if lines("fanning out") != 1 || lines("retention") != 240 {
			t.Errorf("others' lines are lost: %d, %d", lines("fanning out"), lines("retention"))
		}
		quiet.said.over()
		log.Warn("looking for work failed", "error", away)
		if n := lines("looking for work"); n != 3 {
			t.Error("a new outage isn't told")
		}
	})
}

func TestOutageBeginsAndEndsOnce(t *testing.T) {
	var out bytes.Buffer
	ended := 0
	o := &outage{log: slog.New(slog.NewTextHandler(&out, nil)), over: func() { ended++ }}
	began := time.Now()
	away := &store.Away{Words: "the database can't be reached", Cause: errors.New("refused")}
	o.note(t.Context(), began, nil)
	o.note(t.Context(), began, away)
	o.note(t.Context(), began.Add(time.Second), away)
	o.note(t.Context(), began.Add(-time.Second), nil) // it began before, and ends late
	o.note(t.Context(), began.Add(time.Second), errors.New("the event's own fault"))
	if since, why := o.now(); !since.Equal(began) || why != "the database can't be reached" || ended != 0 {
		t.Errorf("away since %s for %q, ended %d times", since, why, ended)
	}
	o.note(t.Context(), began.Add(2*time.Second), nil)
	if since, _ := o.now(); !since.IsZero() || ended != 1 || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("away since %s, ended %d times:\n%s", since, ended, out.String())
	}
}
