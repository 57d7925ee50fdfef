//go:build unix

package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"relais/internal/core"
	"relais/internal/store"
)

func (c *cluster) event(key string, to ...string) store.Accepted {
	a := store.Accepted{
		Event:    core.Event{ID: core.NewEventID(), Source: "s", Type: "t", ReceivedAt: c.clock(), Format: core.FormatJSON, Body: []byte("{}")},
		RouteSet: "set",
	}
	if key != "" {
		sum := sha256.Sum256([]byte(key))
		a.DedupKey, a.DedupWindow = [16]byte(sum[:16]), time.Hour
	}
	for _, name := range to {
		a.Deliveries = append(a.Deliveries, store.NewDelivery{Destination: routeTo(name), Priority: core.PriorityNormal})
	}
	return a
}

func (c *cluster) append(s *Store, batch ...store.Accepted) []store.Appended {
	c.t.Helper()
	appended, err := s.Append(c.t.Context(), batch)
	if err != nil {
		c.t.Fatal(err)
	}
	return appended
}

// count counts a table's rows.
func (c *cluster) count(s *Store, table string) (n int) {
	c.t.Helper()
	if err := s.pool.QueryRow(c.t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// Each key comes to both nodes, in batches that hold the same keys in other orders.
func TestRepeatsOnTwoNodesHaveOneFirst(t *testing.T) {
	c := newCluster(t)
	nodes := []*Store{c.node(c.url), c.node(c.url)}
	const keys, rounds = 20, 30
	var mu sync.Mutex
	firsts := map[string][]core.EventID{}
	repeats := map[string][]core.EventID{}
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for round := range rounds {
				var batch []store.Accepted
				var names []string
				for k := range keys {
					names = append(names, fmt.Sprintf("%d/%d", round, (k*(2*n+1)+n)%keys))
					batch = append(batch, c.event(names[k], "r"))
				}
				appended, err := nodes[n%2].Append(t.Context(), batch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for i, a := range appended {
					if a.RepeatOf.IsZero() {
						firsts[names[i]] = append(firsts[names[i]], batch[i].Event.ID)
					} else {
						repeats[names[i]] = append(repeats[names[i]], a.RepeatOf)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(firsts) != keys*rounds {
		t.Errorf("%d keys have a first, want %d", len(firsts), keys*rounds)
	}
	for key, first := range firsts {
		if len(first) != 1 || slices.ContainsFunc(repeats[key], func(id core.EventID) bool { return id != first[0] }) {
			t.Errorf("%s: firsts %v, repeats of %v", key, first, repeats[key])
		}
	}
	if n := c.count(nodes[0], "delivery"); n != keys*rounds {
		t.Errorf("%d deliveries for %d keys", n, keys*rounds)
	}
}

// The same events are sent over two nodes at once, as after a commit whose outcome is unknown.
// A batch that counted on new keys is stored once all the same, and so is each after it.
func TestARepeatAmongNewEventsIsFound(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	c.append(s, c.event("held", "a"))
	for round := range carefulFor + 3 {
		again := c.event("held", "a")
		got := c.append(s, c.event(fmt.Sprintf("new %d", round), "a"), again, c.event(fmt.Sprintf("newer %d", round), "a"))
		for i, want := range []bool{false, true, false} {
			if repeat := !got[i].RepeatOf.IsZero(); repeat != want || got[i].Seq == 0 {
				t.Fatalf("round %d: event %d has number %d and repeats %s", round, i, got[i].Seq, got[i].RepeatOf)
			}
		}
	}
	rounds := carefulFor + 3
	if events, deliveries := c.count(s, "event"), c.count(s, "delivery"); events != 1+3*rounds || deliveries != 1+2*rounds {
		t.Errorf("%d events and %d deliveries", events, deliveries)
	}
}

func TestIDsSentTwiceAtOnceAreStoredOnce(t *testing.T) {
	c := newCluster(t)
	nodes := []*Store{c.node(c.url), c.node(c.url)}
	for round := range 20 {
		batch := []store.Accepted{c.event("", "r"), c.event(fmt.Sprint(round), "r"), c.event("", "r")}
		var results [2][]store.Appended
		var wg sync.WaitGroup
		for n, s := range nodes {
			wg.Go(func() {
				var err error
				if results[n], err = s.Append(t.Context(), batch); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if !slices.Equal(results[0], results[1]) || slices.Contains(results[0], store.Appended{}) {
			t.Fatalf("one is told %v, the other %v", results[0], results[1])
		}
	}
	if events, deliveries := c.count(nodes[0], "event"), c.count(nodes[0], "delivery"); events != 60 || deliveries != 60 {
		t.Errorf("%d events and %d deliveries, want 60", events, deliveries)
	}
}

// Under the database's own clock an id is known of its day by the index; of the days before it is looked for.
func TestIDsAreKnownOnLaterDays(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	made := time.Now()
	c.now.Store(made.UnixMicro())
	batch := []store.Accepted{c.event("k", "r"), c.event("k", "r"), c.event("", "r")}
	before := c.append(s, batch...)
	for _, later := range []time.Duration{time.Second, 24 * time.Hour, 48 * time.Hour} {
		c.now.Store(made.Add(later).UnixMicro())
		after := c.append(s, append([]store.Accepted{c.event("", "r")}, batch...)...)
		if !slices.Equal(before, after[1:]) {
			t.Errorf("%s later, %v is reported as %v", later, before, after[1:])
		}
	}
	if n := c.count(s, "event"); n != 6 {
		t.Errorf("%d events, want 6", n)
	}
	if n := c.count(s, "delivery"); n != 5 {
		t.Errorf("%d deliveries, want 5", n)
	}
	// What was sent again long after its window doesn't hold its key again.
	if got := c.append(s, c.event("k", "r"))[0]; !got.RepeatOf.IsZero() {
		t.Errorf("two days later it repeats %s", got.RepeatOf)
	}
}

func TestKeyOfAPurgedEventIsForgotten(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	gone := c.event("k")
	c.append(s, gone)
	if n, err := s.Purge(t.Context(), []core.EventID{gone.Event.ID}, "anna"); n != 1 || err != nil {
		t.Fatalf("purged %d, %v", n, err)
	}
	next, repeat := c.event("k", "r"), c.event("k", "r")
	got := c.append(s, next, repeat)
	if !got[0].RepeatOf.IsZero() || got[1].RepeatOf != next.Event.ID {
		t.Errorf("after it was purged, repeats of %s and %s", got[0].RepeatOf, got[1].RepeatOf)
	}
}

// What is forced in the middle of a batch is a first, and what comes after it repeats it.
func TestForcedTakesItsKey(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	first, forced, repeat, late := c.event("k", "r"), c.event("k", "r"), c.event("k", "r"), c.event("k", "r")
	forced.Force = true
	got := c.append(s, first, forced, repeat)
	if !got[0].RepeatOf.IsZero() || !got[1].RepeatOf.IsZero() || got[2].RepeatOf != forced.Event.ID {
		t.Errorf("repeats of %s, %s, %s", got[0].RepeatOf, got[1].RepeatOf, got[2].RepeatOf)
	}
	if got := c.append(s, late)[0]; got.RepeatOf != forced.Event.ID {
		t.Errorf("the next repeats %s, want the forced %s", got.RepeatOf, forced.Event.ID)
	}
	if n := c.count(s, "delivery"); n != 2 {
		t.Errorf("%d deliveries, want 2", n)
	}
}

// Everything in one batch: chains, orders to fan out, the same destination twice, a repeat.
func TestBatchOfAllKinds(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	var batch []store.Accepted
	for i := range 40 {
		a := c.event(fmt.Sprint("k", i/2*2+i%4/3), "r", "r")
		switch {
		case i%3 == 0:
			a.Deliveries[0].Ordered, a.Deliveries[0].OrderKey = true, fmt.Sprint(i%2)
		case i%7 == 0:
			a.Deliveries, a.FanOut = nil, true
		}
		batch = append(batch, a)
	}
	var wantDeliveries, wantOrders int
	chains := map[string]bool{}
	waiting := 0
	for i, a := range c.append(s, batch...) {
		switch {
		case !a.RepeatOf.IsZero():
		case batch[i].FanOut:
			wantOrders++
		default:
			wantDeliveries++
			if d := batch[i].Deliveries[0]; d.Ordered && chains[d.OrderKey] {
				waiting++
			} else if d.Ordered {
				chains[d.OrderKey] = true
			}
		}
	}
	if n := c.count(s, "delivery"); n != wantDeliveries {
		t.Errorf("%d deliveries, want %d", n, wantDeliveries)
	}
	if n := c.count(s, "fan_out"); n != wantOrders || wantOrders == 0 {
		t.Errorf("%d orders to fan out, want %d", n, wantOrders)
	}
	if n := c.count(s, "delivery WHERE wait = 1"); n != waiting || waiting == 0 {
		t.Errorf("%d wait behind another, want %d", n, waiting)
	}
}

func TestAppendGivesUpWithItsCaller(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	c.append(s, c.event("k", "r"))
	holder, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := holder.Exec(t.Context(), "UPDATE dedup SET expires = expires"); err != nil {
		t.Fatal(err)
	}
	again := c.event("k", "r")
	// Whoever holds the key for longer than a lock is waited for makes the store unavailable, not wrong.
	if _, err := s.Append(t.Context(), []store.Accepted{again}); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("while the key is held: %v", err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.append(s, again)[0]; got.RepeatOf.IsZero() {
		t.Error("once the key is free, it isn't a repeat")
	}
}

func TestTypeExpressionMatchesAsThePattern(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	rapid.Check(t, func(r *rapid.T) {
		pattern, err := core.ParsePattern(strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b-c", "*", "**"}), 1, 5).Draw(r, "pattern"), "."))
		if err != nil {
			r.Fatal(err)
		}
		typ := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b-c", "bxc", "ab"}), 1, 5).Draw(r, "type"), ".")
		expression := typeExpression(pattern)
		var matches bool
		if err := s.pool.QueryRow(t.Context(), "SELECT $1 = '' OR $2 ~ $1", expression, typ).Scan(&matches); err != nil {
			r.Fatal(err)
		}
		if matches != pattern.Match(typ) {
			r.Errorf("%s is %q, which says %t of %s", pattern, expression, matches, typ)
		}
	})
}

// idAt is an id made at that time.
func idAt(t time.Time) core.EventID {
	id := core.NewEventID()
	ms := make([]byte, 8)
	binary.BigEndian.PutUint64(ms, uint64(t.UnixMilli()))
	copy(id[:6], ms[2:])
	return id
}

// Around midnight an event goes to the day of its id: sent again it meets itself there, and nobody looks through all days.
func TestIDsAreKnownAcrossMidnight(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	midnight := storetestDay.Truncate(24 * time.Hour).Add(24 * time.Hour)
	var batch []store.Accepted
	for _, made := range []time.Duration{-time.Second, 0, time.Second} {
		a := c.event("", "r")
		a.Event.ID = idAt(midnight.Add(made))
		batch = append(batch, a)
	}
	c.now.Store(midnight.Add(2 * time.Second).UnixMicro())
	before := c.append(s, batch...)
	rows, err := s.pool.Query(t.Context(), "SELECT day FROM event ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	days, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if today := dayOf(midnight); err != nil || !slices.Equal(days, []int64{today - 1, today, today}) {
		t.Errorf("the events are of %v, %v", days, err)
	}
	for _, later := range []time.Duration{time.Minute, 39 * time.Minute, 41 * time.Minute, 55 * time.Minute, 25 * time.Hour} {
		c.now.Store(midnight.Add(later).UnixMicro())
		for i := range batch {
			if after := c.append(s, batch[i]); after[0] != before[i] {
				t.Errorf("%s later, %v is reported as %v", later, before[i], after[0])
			}
		}
	}
	if n := c.count(s, "event"); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
}

// Minutes after midnight an id of yesterday may be known elsewhere than in the index of its day: a node of the version
// before stored it under today, or a replay moved it aside.
func TestYesterdaysYoungIDsAreLookedFor(t *testing.T) {
	for name, move := range map[string]string{
		"under today": "INSERT INTO event SELECT day + 1, seq, id, tenant, source, type, native, at, format, flags, repeat_of, header, query, path, body FROM gone",
		"aside":       "INSERT INTO event_kept SELECT * FROM gone",
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			s := c.node(c.url)
			midnight := storetestDay.Truncate(24 * time.Hour).Add(24 * time.Hour)
			c.now.Store(midnight.Add(-time.Minute).UnixMicro())
			a := c.event("")
			a.Event.ID = idAt(midnight.Add(-2 * time.Minute))
			before := c.append(s, a)[0]
			if _, err := s.pool.Exec(t.Context(), "WITH gone AS (DELETE FROM event RETURNING *) "+move); err != nil {
				t.Fatal(err)
			}
			c.now.Store(midnight.Add(5 * time.Minute).UnixMicro())
			if after := c.append(s, a)[0]; after != before {
				t.Errorf("it was stored as %v, and is again as %v", before, after)
			}
		})
	}
}

// A node whose clock is far off tells days that the database refuses: its events are stored under the database's.
func TestDaysAreTheDatabases(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	a := c.event("", "r")
	a.Event.ID = idAt(storetestDay.Add(-3 * 24 * time.Hour))
	var stored []store.Appended
	for range 2 {
		at, err := s.appendAt(t.Context(), []store.Accepted{a}, s.given(), madeAt(a.Event.ID))
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, at...)
	}
	var day int64
	if err := s.pool.QueryRow(t.Context(), "SELECT day FROM event").Scan(&day); err != nil || day != dayOf(c.clock()) {
		t.Errorf("it is of day %d, want %d (%v)", day, dayOf(c.clock()), err)
	}
	if stored[0] != stored[1] || stored[0].Seq == 0 {
		t.Errorf("sent again it is %v, and was %v", stored[1], stored[0])
	}
}

// A day's partition can be missing: a node that was never connected to the database before has spooled since yesterday.
func TestIDOfADayThatIsNotThere(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	midnight := storetestDay.Truncate(24 * time.Hour).Add(24 * time.Hour)
	if _, err := s.pool.Exec(t.Context(), "DROP TABLE "+partitionName("event", dayOf(midnight)-1)); err != nil {
		t.Fatal(err)
	}
	c.now.Store(midnight.Add(time.Minute).UnixMicro())
	a := c.event("k", "r")
	a.Event.ID = idAt(midnight.Add(-time.Minute))
	if first, again := c.append(s, a)[0], c.append(s, a)[0]; first.Seq == 0 || again != first {
		t.Errorf("stored as %v, and again as %v", first, again)
	}
}
