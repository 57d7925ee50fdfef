//go:build linux

package cluster

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// traffic is messages that come in all the time, to the nodes that are in service, in turn.
type traffic struct {
	service sync.RWMutex // held by whoever sends: who is taken out of service answers what it got
	serving []*node

	mu      sync.Mutex
	sent    int
	refused []int

	acked atomic.Int64
	stop  chan struct{}
	done  sync.WaitGroup
}

const (
	senders  = 4
	sendEach = 25 * time.Millisecond // of one sender
)

func begin(nodes ...*node) *traffic {
	f := &traffic{serving: nodes, stop: make(chan struct{})}
	for range senders {
		f.done.Go(f.send)
	}
	return f
}

func (f *traffic) send() {
	for {
		select {
		case <-f.stop:
			return
		case <-time.After(sendEach):
		}
		f.one()
	}
}

func (f *traffic) one() {
	f.mu.Lock()
	f.sent++
	number := f.sent
	f.mu.Unlock()
	f.service.RLock()
	status, _ := f.serving[number%len(f.serving)].send(message{Type: "stock", Key: "mixed", N: number})
	f.service.RUnlock()
	if status == http.StatusOK {
		f.acked.Add(1)
		return
	}
	f.mu.Lock()
	f.refused = append(f.refused, status)
	f.mu.Unlock()
}

// to sets who is in service, as a load balancer does.
func (f *traffic) to(nodes ...*node) {
	f.service.Lock()
	f.serving = nodes
	f.service.Unlock()
}

// more waits until so many further messages were acknowledged.
func (f *traffic) more(t *testing.T, n int64) {
	t.Helper()
	want := f.acked.Load() + n
	until(t, "more messages were acknowledged", func() bool { return f.acked.Load() >= want })
}

// end stops sending, and fails the test for what was refused.
func (f *traffic) end(t *testing.T) {
	t.Helper()
	close(f.stop)
	f.done.Wait()
	if len(f.refused) > 0 {
		t.Errorf("%d of %d messages were not acknowledged: %v", len(f.refused), f.sent, f.refused)
	}
}

// TestVersionsWorkSideBySide takes one database through two upgrades, each with the version before still at
// work: from the previous commit to this one, and from this one to one with another migration.
func TestVersionsWorkSideBySide(t *testing.T) {
	t.Parallel()
	binaries := map[string]string{"previous": previous(t), "current": current(t), "next": next(t)}
	c := newCluster(t)
	r := receive(t, nil)
	routes := "routes:\n" + r.route("stock", "shop/stock", "")
	// A node with a spool listens before the tables are as it needs them: others may hold them for a moment.
	start := func(name string) *node {
		n := c.node(name, routes)
		n.binary = binaries[name]
		n.start()
		until(t, name+" works on the database", func() bool { return c.one("SELECT count(*) FROM node WHERE name LIKE $1", n.like()) > 0 })
		return n
	}
	version := func() int { return c.one("SELECT version FROM relais_schema") }
	// A route that nobody changed is the same one to the next version, whatever that one's routes may say besides.
	worked := func(n *node) {
		t.Helper()
		before := c.one("SELECT count(*) FROM delivery_done WHERE node LIKE $1", n.like())
		until(t, n.name+" delivers", func() bool { return c.one("SELECT count(*) FROM delivery_done WHERE node LIKE $1", n.like()) > before })
		if n.log.has(`"left_to_others":1`) {
			t.Errorf("%s leaves the route to others", n.name)
		}
	}
	// The commit before may have written routes down otherwise: then the newer one delivers alone, and the older
	// one takes in.
	workedOrLeft := func(n *node) {
		t.Helper()
		before := c.one("SELECT count(*) FROM delivery_done WHERE node LIKE $1", n.like())
		until(t, n.name+" delivers", func() bool {
			return n.log.has(`"left_to_others":1`) || c.one("SELECT count(*) FROM delivery_done WHERE node LIKE $1", n.like()) > before
		})
		if n.log.has(`"left_to_others":1`) {
			t.Logf("%s leaves the route to the newer one, which writes it down otherwise", n.name)
		}
	}

	old := start("previous")
	first := version()
	load := begin(old)
	load.more(t, 50)

	now := start("current")
	second := version()
	load.to(old, now)
	load.more(t, 50)
	workedOrLeft(old)
	worked(now)
	load.to(now)
	old.stop()

	coming := start("next")
	if third := version(); second < first || third != second+1 {
		t.Errorf("the tables went from version %d to %d to %d", first, second, third)
	}
	load.to(now, coming)
	load.more(t, 50)
	worked(now)
	worked(coming)
	until(t, "relais nodes tells of both", func() bool {
		states := map[string]bool{}
		for _, n := range items[struct{ Version, State string }](now, "nodes") {
			states[n.Version+" "+n.State] = true
		}
		return states["current alive"] && states["next alive"]
	})
	for _, command := range []string{"events list", "deliveries list", "rejections list", "effects list", "status", "pause route stock", "resume route stock"} {
		now.cli(strings.Fields(command)...)
	}
	load.to(coming)
	now.stop()
	// To wait for the migration's locks is no fault, and is told with a code; a statement that the tables no
	// longer take is told as PostgreSQL tells it.
	if now.log.has("SQLSTATE") {
		t.Errorf("beside newer tables its statements fail:\n%s", now.log.last(1<<20))
	}
	load.more(t, 20)
	load.end(t)
	c.drained()
	c.everyMessageWasDelivered(r, "stock", int(load.acked.Load()))
	t.Logf("%d messages, tables of version %d, %d and %d", load.sent, first, second, version())
	c.refusesNewerTables(c.node("current", routes))
}

// everyMessageWasDelivered compares what was acknowledged with what the receiver took.
func (c *cluster) everyMessageWasDelivered(r *receiver, route string, acked int) {
	c.t.Helper()
	if stored := c.one("SELECT count(*) FROM event WHERE repeat_of IS NULL"); stored < acked {
		c.t.Errorf("%d messages were acknowledged, %d are stored", acked, stored)
	}
	if failed := c.one("SELECT count(*) FROM delivery_done WHERE state <> 2"); failed > 0 {
		c.t.Errorf("%d deliveries did not succeed", failed)
	}
	taken := map[int]bool{}
	for _, call := range r.took(route) {
		taken[call.N] = true
	}
	if len(taken) < acked {
		c.t.Errorf("%d messages were acknowledged, %d were delivered", acked, len(taken))
	}
}

// refusesNewerTables shows what a program says to tables that a later release has contracted.
func (c *cluster) refusesNewerTables(n *node) {
	c.t.Helper()
	c.exec("UPDATE relais_schema SET version = version + 1, min_compatible = version + 1")
	out, code := n.run("serve")
	if code != 5 || !strings.Contains(out, "the database's tables are of a newer relais") {
		c.t.Errorf("on newer tables serve ended with %d and said:\n%s", code, out)
	}
	if strings.Contains(out, "One relais works on a folder at a time") {
		c.t.Errorf("the hint is about something else:\n%s", out)
	}
	c.t.Logf("on newer tables serve says:\n%s", out)
}
