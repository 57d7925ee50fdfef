//go:build unix

package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// days is a database whose clock the test moves, with several nodes on it.
type days struct {
	t   *testing.T
	url string
	now atomic.Int64 // nanoseconds after storetestDay
}

func newDays(t *testing.T) *days { return &days{t: t, url: database(t)} }

func (d *days) clock() time.Time { return storetestDay.Add(time.Duration(d.now.Load())) }

func (d *days) node() *Store {
	d.t.Helper()
	s, err := Open(d.t.Context(), Options{URL: d.url, Now: d.clock, Connections: 4})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (d *days) send(s *Store, n int) []core.EventID {
	d.t.Helper()
	batch := make([]store.Accepted, n)
	ids := make([]core.EventID, n)
	for i := range batch {
		batch[i] = accepted()
		batch[i].Event.ReceivedAt = d.clock()
		ids[i] = batch[i].Event.ID
	}
	if _, err := s.Append(d.t.Context(), batch); err != nil {
		d.t.Fatal(err)
	}
	return ids
}

func retainAll(ctx context.Context, s *Store, p store.RetainParams) (int, error) {
	events := 0
	for {
		r, err := s.Retain(ctx, p)
		if events += r.Events; err != nil || !r.More {
			return events, err
		}
	}
}

func (d *days) tables(pattern string) (names string) {
	d.t.Helper()
	if err := admin(d.t, d.url).QueryRow(d.t.Context(), "SELECT coalesce(string_agg(relname, ' '), '') FROM pg_class WHERE relkind = 'r' AND relname LIKE $1", pattern).Scan(&names); err != nil {
		d.t.Fatal(err)
	}
	return names
}

var tenDays = store.RetainParams{Events: 240 * time.Hour, Dead: 240 * time.Hour, Attempts: 240 * time.Hour}

// A node can die, or lose the database, at any step of dropping a day.
func TestHalfDroppedDayIsFinished(t *testing.T) {
	for name, halve := range map[string]func(t *testing.T, conn *pgx.Conn, part string){
		"detached": func(t *testing.T, conn *pgx.Conn, part string) {
			if _, err := conn.Exec(t.Context(), "ALTER TABLE event DETACH PARTITION "+part); err != nil {
				t.Fatal(err)
			}
		},
		"being detached": func(t *testing.T, conn *pgx.Conn, part string) {
			reader := admin(t, conn.Config().ConnString())
			if _, err := reader.Exec(t.Context(), "BEGIN; SELECT FROM event LIMIT 1", pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			// Cancelled while it waits for the reader: what it began stays.
			if _, err := conn.Exec(t.Context(), "SET statement_timeout = '300ms'"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), "ALTER TABLE event DETACH PARTITION "+part+" CONCURRENTLY"); stateOf(err) != "57014" {
				t.Fatalf("the detachment gave %v", err)
			}
			if _, err := reader.Exec(t.Context(), "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDays(t)
			s := d.node()
			live := d.send(s, 3)
			part := partitionName("event", storetestDay.Unix()/86400)
			d.now.Add(int64(48 * time.Hour))
			halve(t, admin(t, d.url), part)
			if _, err := retainAll(t.Context(), s, tenDays); err != nil {
				t.Fatal(err)
			}
			if left := d.tables(part); left != "" {
				t.Errorf("%s is still there", left)
			}
			for _, id := range live {
				if _, err := s.Event(t.Context(), id); err != nil {
					t.Errorf("the event of a delivery that waits: %v", err)
				}
			}
		})
	}
}

// All nodes retain; a dashboard reads for long; events come in; nothing fails, and nothing that waits is lost.
func TestNodesRetainTogether(t *testing.T) {
	d := newDays(t)
	nodes := []*Store{d.node(), d.node(), d.node()}
	var live []core.EventID
	for range 5 {
		live = append(live, d.send(nodes[0], 40)...)
		d.now.Add(int64(24 * time.Hour))
	}
	d.now.Add(int64(240 * time.Hour))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var busy, retaining sync.WaitGroup
	busy.Go(func() {
		for ctx.Err() == nil {
			_ = nodes[1].read(ctx, func(t *tx) error { return t.exec("SELECT count(*), pg_sleep(0.05) FROM event") })
		}
	})
	busy.Go(func() {
		for ctx.Err() == nil {
			if _, err := nodes[2].Append(t.Context(), []store.Accepted{accepted()}); err != nil {
				t.Errorf("an append beside retention gave %v", err)
				return
			}
		}
	})
	for _, s := range nodes {
		retaining.Go(func() {
			if _, err := retainAll(t.Context(), s, tenDays); err != nil {
				t.Error(err)
			}
		})
	}
	retaining.Wait()
	stop()
	busy.Wait()
	if _, err := retainAll(t.Context(), nodes[0], tenDays); err != nil { // what was left to another
		t.Error(err)
	}
	for i := range 5 {
		day := storetestDay.Unix()/86400 + int64(i)
		if left := d.tables(fmt.Sprintf("%%_d%d", day)); strings.TrimSpace(left) != "" {
			t.Errorf("of day %d are left: %s", i, left)
		}
	}
	for _, id := range live {
		if _, err := nodes[0].Event(t.Context(), id); err != nil {
			t.Errorf("the event of a delivery that waits: %v", err)
		}
	}
}

// A replay of an old event, while its day is dropped, has its event.
func TestReplayOfPastDayKeepsItsEvent(t *testing.T) {
	d := newDays(t)
	s := d.node()
	a := accepted()
	to := a.Deliveries[0].Destination
	a.Deliveries = nil
	if _, err := s.Append(t.Context(), []store.Accepted{a}); err != nil {
		t.Fatal(err)
	}
	d.now.Add(int64(24 * time.Hour))
	if _, err := s.Replay(t.Context(), store.ReplayParams{By: "anne", Deliveries: []store.NewReplay{{Event: a.Event.ID, Destination: to}}}); err != nil {
		t.Fatal(err)
	}
	part := partitionName("event", storetestDay.Unix()/86400)
	if _, err := admin(t, d.url).Exec(t.Context(), "DROP TABLE "+part); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Event(t.Context(), a.Event.ID); err != nil || string(e.Body) != "{}" {
		t.Errorf("the replayed event is %+v, %v", e, err)
	}
}

// Events that are deleted row by row, while people replay them: an event that was replayed stays, and its delivery with
// it; the others go.
func TestShortAgesBesideReplays(t *testing.T) {
	d := newDays(t)
	nodes := []*Store{d.node(), d.node()}
	to := accepted().Deliveries[0].Destination
	const n = 300
	batch := make([]store.Accepted, n)
	for i := range batch {
		batch[i] = accepted()
		batch[i].Deliveries, batch[i].Event.ReceivedAt, batch[i].Event.Source = nil, d.clock(), "short"
	}
	if _, err := nodes[0].Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	d.now.Add(int64(2 * time.Hour))
	keep := tenDays
	keep.Sources = map[string]store.SourceAges{"short": {Events: time.Hour}}
	replayed := make([]bool, n)
	begun := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		for i := range batch {
			if i == n/10 {
				close(begun)
			}
			_, err := nodes[0].Replay(t.Context(), store.ReplayParams{Deliveries: []store.NewReplay{{Event: batch[i].Event.ID, Destination: to}}})
			if replayed[i] = err == nil; err != nil && core.CodeOf(err) != core.CodeNotFound {
				t.Errorf("a replay beside retention gave %v", err)
			}
		}
	})
	<-begun
	for _, s := range nodes {
		working.Go(func() {
			if _, err := retainAll(t.Context(), s, keep); err != nil {
				t.Error(err)
			}
		})
	}
	working.Wait()
	if _, err := retainAll(t.Context(), nodes[0], keep); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for i := range batch {
		_, err := nodes[1].Event(t.Context(), batch[i].Event.ID)
		if replayed[i] != (err == nil) {
			t.Errorf("event %d: replayed %v, found %v", i, replayed[i], err)
		}
		if err == nil {
			kept++
		}
	}
	if kept < n/10 {
		t.Errorf("%d were replayed", kept)
	}
	if left, err := nodes[1].Events(t.Context(), store.EventFilter{Limit: 1000}); err != nil || len(left) != kept {
		t.Errorf("%d are left, %d were replayed: %v", len(left), kept, err)
	}
}

// Keys are gone through page by page, to the last, and again an hour later.
func TestExpiredKeysGo(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	fill := func() {
		t.Helper()
		if _, err := s.pool.Exec(t.Context(), `INSERT INTO dedup (key, event, expires)
			SELECT gen_random_uuid(), gen_random_uuid(), $1::bigint + (i % 2) * 36000000000 FROM generate_series(1, 6000) i`, c.now.Load()); err != nil {
			t.Fatal(err)
		}
	}
	gone := func() (n, slices int) {
		t.Helper()
		for more := true; more; slices++ {
			r, err := s.Retain(t.Context(), store.RetainParams{Events: 720 * time.Hour, Dead: 720 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			n, more = n+r.DedupKeys, r.More
		}
		return n, slices
	}
	fill()
	if n, slices := gone(); n != 3000 || slices < 3 {
		t.Errorf("%d keys went in %d slices, want 3000 in several", n, slices)
	}
	fill()
	if n, _ := gone(); n != 0 {
		t.Errorf("%d went at once, want none within the hour", n)
	}
	c.advance(time.Hour)
	if n, _ := gone(); n != 3000 {
		t.Errorf("%d went an hour later, want 3000", n)
	}
	if n := c.count(s, "dedup"); n != 6000 {
		t.Errorf("%d keys are left, want 6000", n)
	}
}

// Attempts that are kept for a shorter time than their deliveries go by the day: a row that loses its attempt gives no
// disk back.
func TestShortLivedAttemptsStandApart(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	attempts := func(keep store.RetainParams) (apart, within int) {
		t.Helper()
		if _, err := s.Retain(t.Context(), keep); err != nil {
			t.Fatal(err)
		}
		c.append(s, c.event("", "r"))
		got := c.claim(s, "n", store.LaneRoom{Max: 1})[0]
		o := outcomeOf("n", &got.Delivery, store.VerdictSucceeded)
		o.Lane, o.Unordered, o.Attempt.Started = got.Lane, true, c.clock()
		if results, err := s.Finish(t.Context(), []store.Outcome{o}); err != nil || results[0] != nil {
			t.Fatal(results, err)
		}
		if err := s.pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM delivery_done WHERE started IS NOT NULL)").
			Scan(&apart, &within); err != nil {
			t.Fatal(err)
		}
		return apart, within
	}
	if apart, within := attempts(tenDays); apart != 0 || within != 1 {
		t.Errorf("kept as long: %d apart, %d with their deliveries", apart, within)
	}
	shorter := tenDays
	shorter.Attempts = 48 * time.Hour
	if apart, within := attempts(shorter); apart != 1 || within != 1 {
		t.Errorf("kept for a shorter time: %d apart, %d with their deliveries", apart, within)
	}
}
