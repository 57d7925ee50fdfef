//go:build linux

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres"
)

// longAgo is past the age of events (30 days), and not past that of dead deliveries (90 days).
const longAgo = 40 * 24 * time.Hour

// past is a day that is over: its events, and what became of their deliveries.
type past struct {
	c     *cluster
	store *postgres.Store
	day   int64
}

// live plays a past day on the cluster's database: deliveries that succeeded, one that is dead, and some that
// still wait because their route is paused.
func (c *cluster) live() *past {
	c.t.Helper()
	then := time.Now().Add(-longAgo)
	p := &past{c: c, day: then.Unix() / 86400}
	var err error
	p.store, err = postgres.Open(c.t.Context(), postgres.Options{URL: c.url, Now: func() time.Time { return then }})
	p.must(err)
	ctx := c.t.Context()
	p.must(p.store.Beat(ctx, "past", time.Hour))
	p.append(then, "done", 1)
	p.end(store.VerdictSucceeded)
	p.append(then, "dead", 1)
	p.end(store.VerdictDead)
	p.must(p.store.SetPause(ctx, store.Pause{Scope: store.PauseRoute, Name: "late", Reason: "a long one", By: "test"}))
	p.append(then, "late", 3)
	p.must(p.store.Close())
	return p
}

func (p *past) must(err error) {
	p.c.t.Helper()
	if err != nil {
		p.c.t.Fatal(err)
	}
}

func (p *past) append(at time.Time, route string, n int) {
	p.c.t.Helper()
	var batch []store.Accepted
	for i := range n {
		body, err := json.Marshal(message{Type: "stock", Key: route, N: i + 1})
		p.must(err)
		batch = append(batch, store.Accepted{
			Event: core.Event{
				ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "shop", Type: "stock", ReceivedAt: at, Format: core.FormatJSON,
				Header: []byte("Content-Type: application/json\r\n"), Body: body,
			},
			RouteSet: "past",
			Deliveries: []store.NewDelivery{{
				Destination: core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: route}, Priority: core.PriorityNormal,
			}},
		})
	}
	_, err := p.store.Append(p.c.t.Context(), batch)
	p.must(err)
}

// end claims what waits, and ends it.
func (p *past) end(verdict store.Verdict) {
	p.c.t.Helper()
	ctx := p.c.t.Context()
	work, err := p.store.Work(ctx, 0, 10)
	p.must(err)
	for _, lane := range work {
		claimed, err := p.store.Claim(ctx, store.ClaimParams{
			Node: "past", Lease: time.Hour, Max: 10, Lanes: []store.LaneRoom{{Lane: lane.Lane, Max: 10, Window: 10}},
		})
		p.must(err)
		for _, one := range claimed {
			lost, err := p.store.Finish(ctx, []store.Outcome{{
				Holder: store.Holder{Delivery: one.Delivery.ID, Claim: one.Delivery.Claim, Node: "past"}, Verdict: verdict, Reason: core.ReasonStatus,
			}})
			p.must(err)
			p.must(lost[0])
		}
	}
}

// there tells whether the day's events still have their partition.
func (p *past) there() bool {
	return p.c.one("SELECT count(*) FROM pg_class WHERE relname = $1", fmt.Sprintf("event_d%d", p.day)) > 0
}

// TestDayIsDroppedBesideItsDeliveriesAndReaders lets a node's retention drop a day that deliveries wait of, and
// that a long query reads.
func TestDayIsDroppedBesideItsDeliveriesAndReaders(t *testing.T) {
	t.Parallel()
	r := receive(t, nil)
	c := newCluster(t)
	p := c.live()
	reader := c.read()
	routes := "routes:\n" + r.route("late", "shop/never", "") + r.route("dead", "shop/never", "") + r.route("stock", "shop/stock", "")
	n := c.node("node", routes).start()
	slowest := n.acceptUntil(t, "retention failed")
	told := n.logged("retention failed")
	if !strings.Contains(told, "it is tried again") || !strings.Contains(told, "while a transaction that may read it goes on") {
		t.Errorf("the log says %s", told)
	}
	t.Logf("the slowest acknowledgement beside the reader and the drop took %s; the log said %s", slowest, told)
	if slowest > 2*time.Second {
		t.Errorf("an acknowledgement took %s", slowest)
	}
	if !p.there() {
		t.Error("the day was dropped under its reader")
	}
	if count := reader.count(); count != 5 {
		t.Errorf("the reader sees %d events of its day, not 5", count)
	}
	reader.end()
	until(t, "the day was dropped", func() bool { return !p.there() })

	n.cli("resume", "route", "late")
	until(t, "the deliveries of the dropped day ended", func() bool { return len(taken(r.took("late"), "late")) == 3 })
	dead := items[struct{ ID, State string }](n, "deliveries", "list", "--state", "dead")
	if len(dead) != 1 {
		t.Fatalf("the dead delivery of the dropped day is listed as %+v", dead)
	}
	n.cli("replay", dead[0].ID)
	until(t, "the dead delivery was replayed", func() bool { return taken(r.took("dead"), "dead")[1] })
	c.drained()
	if done := c.one("SELECT count(*) FROM delivery_done d JOIN lane l ON l.id = d.lane WHERE l.name IN ('late', 'dead') AND d.state = 2"); done != 4 {
		t.Errorf("%d of 4 deliveries of the dropped day succeeded", done)
	}
	if left := c.one("SELECT count(*) FROM delivery_done d JOIN lane l ON l.id = d.lane WHERE l.name = 'done'"); left != 0 {
		t.Errorf("%d deliveries of the dropped day that nobody needs are left", left)
	}
}

// acceptUntil sends messages until the node has logged the words, and returns how long the slowest
// acknowledgement took.
func (n *node) acceptUntil(t *testing.T, words string) (slowest time.Duration) {
	t.Helper()
	number := 0
	until(t, n.name+" logs "+words, func() bool {
		number++
		began := time.Now()
		if status, _ := n.send(message{Type: "stock", Key: "beside", N: number}); status != http.StatusOK {
			t.Fatalf("beside the drop a message was answered with %d", status)
		}
		slowest = max(slowest, time.Since(began))
		return n.log.has(words)
	})
	return slowest
}

// query is somebody's dashboard: one transaction that reads events for as long as it likes.
type query struct {
	count func() int
	end   func()
}

func (c *cluster) read() *query {
	c.t.Helper()
	ctx := context.WithoutCancel(c.t.Context())
	conn, err := c.db.Acquire(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	exec := func(sql string) {
		if _, err := conn.Exec(ctx, sql); err != nil {
			c.t.Error(err)
		}
	}
	q := &query{}
	q.count = func() (n int) {
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM event").Scan(&n); err != nil {
			c.t.Error(err)
		}
		return n
	}
	ended := false
	q.end = func() {
		if !ended {
			ended = true
			exec("COMMIT")
			conn.Release()
		}
	}
	c.t.Cleanup(q.end)
	exec("BEGIN ISOLATION LEVEL REPEATABLE READ")
	q.count()
	return q
}
