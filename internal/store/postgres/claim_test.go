//go:build unix

package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

// A claim that can't read the event of one of its deliveries claims none: what is claimed runs.
func TestClaimThatCannotReadAnEventClaimsNothing(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	for _, to := range []string{"a", "b", "c"} {
		c.append(s, c.event("", to))
	}
	conn := admin(t, c.url)
	if _, err := conn.Exec(t.Context(), `WITH moved AS (DELETE FROM event WHERE seq = (SELECT min(seq) FROM event) RETURNING *)
		INSERT INTO event_kept SELECT * FROM moved`); err != nil {
		t.Fatal(err)
	}
	c.advance(25 * time.Hour)
	if err := s.Beat(t.Context(), "n", time.Hour); err != nil {
		t.Fatal(err)
	}
	work, err := s.Work(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	p := store.ClaimParams{Node: "n", Lease: time.Hour, Max: 10}
	for _, w := range work {
		p.Lanes = append(p.Lanes, store.LaneRoom{Lane: w.Lane, Max: 5, Window: 5})
	}
	blocker, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blocker.Exec(t.Context(), "LOCK TABLE event_kept IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	if claimed, err := s.Claim(t.Context(), p); err == nil {
		t.Fatalf("%d claimed without their events", len(claimed))
	}
	if err := blocker.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := c.count(s, "delivery WHERE state = 0 AND claim = 0"); n != 3 {
		t.Errorf("%d of 3 deliveries still wait for their first claim", n)
	}
	claimed, err := s.Claim(t.Context(), p)
	if err != nil || len(claimed) != 3 {
		t.Fatalf("%d claimed, %v", len(claimed), err)
	}
	for _, d := range claimed {
		if string(d.Event.Body) != "{}" || d.Event.ID != d.Delivery.Event {
			t.Errorf("delivery %s came with event %s and the body %q", d.Delivery.ID, d.Event.ID, d.Event.Body)
		}
	}
}

// PostgreSQL ends a commit's wait for a standby that is away with success when it is told that nobody waits.
func TestCommitThatNoStandbyHasIsNotAcknowledged(t *testing.T) {
	server := pgtest.Server(t)
	at := server.URL("relais")
	s, err := Open(t.Context(), Options{URL: at, Connections: 4, Patience: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	plain, fanned := benchBatch(1, 1), benchBatch(1, 1)
	fanned[0].FanOut = true
	if _, err := s.Append(t.Context(), benchBatch(1, 1)); err != nil {
		t.Fatal(err)
	}
	conn := admin(t, at)
	if _, err := conn.Exec(t.Context(), "SET synchronous_commit = local"); err != nil {
		t.Fatal(err)
	}
	setting(t, conn, "synchronous_standby_names", "nobody")
	for name, batch := range map[string][]store.Accepted{"plain": plain, "fanned out": fanned} {
		for _, try := range []string{"first", "again"} {
			if got, err := s.Append(t.Context(), batch); !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s, %s: %v, %v", name, try, got, err)
			}
		}
	}
	setting(t, conn, "synchronous_standby_names", "")
	for name, batch := range map[string][]store.Accepted{"plain": plain, "fanned out": fanned} {
		if got, err := s.Append(t.Context(), batch); err != nil || got[0].Seq == 0 {
			t.Errorf("%s, when nobody waits for a standby any more: %v, %v", name, got, err)
		}
	}
	if code := core.CodeOf(public(context.DeadlineExceeded)); code != core.CodeUnavailable {
		t.Errorf("what took too long has the code %q", code)
	}
}
