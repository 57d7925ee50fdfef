//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/app"
	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres"
	"relais/internal/store/postgres/pgtest"
	"relais/internal/store/sqlite"
)

const copiedEvents = 60_000

// fillForCopy stores events, each with a delivery and a key, and returns their ids.
func fillForCopy(t *testing.T, dir string) []core.EventID {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Sync: sqlite.SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.Beat(t.Context(), "n", time.Second); err != nil {
		t.Fatal(err)
	}
	to := []store.NewDelivery{{Destination: core.Destination{Kind: core.DestinationRoute, Name: "r"}}}
	var ids []core.EventID
	for len(ids) < copiedEvents {
		batch := make([]store.Accepted, 500)
		for i := range batch {
			id := core.NewEventID()
			batch[i] = store.Accepted{
				Event:    core.Event{ID: id, Source: "s", Type: "t", ReceivedAt: time.Now(), Body: fmt.Appendf(nil, `{"id":%q}`, id)},
				DedupKey: [16]byte(id), DedupWindow: time.Hour, Deliveries: to,
			}
			ids = append(ids, id)
		}
		if _, err := s.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// copied is how many rows the copy has written, -1 where it hasn't begun.
func copied(ctx context.Context, db *pgx.Conn) int64 {
	var rows int64
	if err := db.QueryRow(ctx, "SELECT coalesce(sum(rows), -1)::bigint FROM relais_copy_table").Scan(&rows); err != nil {
		return -1
	}
	return rows
}

// killCopy starts a copy, kills it once it has written some rows more, and tells how many were there then. A
// copy that ended before is one that was too fast.
func killCopy(t *testing.T, db *pgx.Conn, after int64, args ...string) int64 {
	t.Helper()
	cmd := exec.Command("relais", args...)
	cmd.Stderr = os.Stderr
	before := copied(t.Context(), db)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for copied(t.Context(), db) <= before+after {
		select {
		case err := <-ended:
			t.Fatalf("the copy ended before it could be killed: %v", err)
		case <-again.C:
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var killed *exec.ExitError
	if err := <-ended; !errors.As(err, &killed) || killed.Exited() {
		t.Fatalf("the copy wasn't killed: %v", err)
	}
	return copied(t.Context(), db)
}

func TestKilledCopyGoesOnAndHoldsNothingTwice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	ids := fillForCopy(t, dir)
	url := pgtest.URL(t)
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	args := []string{"store", "copy", "--data", dir, "--config", filepath.Join(dir, "none.yaml"), "--to", url, "--json"}
	at := int64(-1)
	for kill := range 4 {
		rows := killCopy(t, db, 9_000, args...)
		if rows <= at {
			t.Fatalf("kill %d: %d rows are left of %d", kill, rows, at)
		}
		at = rows
		t.Logf("kill %d: %d rows", kill, rows)
	}
	last := exec.Command("relais", args...)
	last.Stderr = os.Stderr
	out, err := last.Output()
	if err != nil {
		t.Fatalf("%s %v", out, err)
	}
	var done app.Copied
	if err := json.Unmarshal(out, &done); err != nil {
		t.Fatal(err)
	}
	if want := int64(3*copiedEvents+1) - at; !done.Resumed || done.Rows > want {
		t.Errorf("copied %d rows after the last kill, at most %d were left: %+v", done.Rows, want, done)
	}
	s, err := postgres.Open(t.Context(), postgres.Options{URL: url, Connections: 2, ReaderTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []core.EventID
	for before := int64(0); ; {
		page, err := s.Events(t.Context(), store.EventFilter{Before: before, Limit: 1000, Body: true, Repeats: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if string(e.Body) != fmt.Sprintf(`{"id":%q}`, e.ID) {
				t.Fatalf("%s has the body %s", e.ID, e.Body)
			}
			got = append(got, e.ID)
		}
		if len(page) == 0 {
			break
		}
		before = page[len(page)-1].Seq
	}
	slices.Reverse(got)
	if !slices.Equal(got, ids) {
		t.Errorf("%d events of %d, or in another order", len(got), len(ids))
	}
	var deliveries, distinct int
	if err := db.QueryRow(t.Context(), "SELECT count(*), count(DISTINCT event) FROM delivery").Scan(&deliveries, &distinct); err != nil {
		t.Fatal(err)
	}
	if deliveries != copiedEvents || distinct != copiedEvents {
		t.Errorf("%d deliveries of %d events", deliveries, distinct)
	}
}

// TestCopyThatCannotGoOnIsNotSentOnItsWayAgain: only what passes by itself is tried again.
func TestCopyThatCannotGoOnIsNotSentOnItsWayAgain(t *testing.T) {
	p := &program{}
	for lasting, hint := range map[bool]string{true: "", false: p.lang.say("hint_copy")} {
		away := core.Errorf(core.CodeUnavailable, "the store can't be used: %w", &store.Away{Words: "the database is away", Lasting: lasting})
		var f *failure
		if !errors.As(p.copyFailure(away, &app.Copied{}), &f) || f.hint != hint || f.code != exitAway {
			t.Errorf("lasting %t: %+v", lasting, f)
		}
	}
}
