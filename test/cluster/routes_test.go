//go:build linux

package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// routesIn is how long nodes may go on by routes that another one replaced.
const routesIn = 2 * time.Second

// TestActivatedRoutesHoldOnEveryNode reloads one of two nodes with a new route and a changed one, and then
// without one.
func TestActivatedRoutesHoldOnEveryNode(t *testing.T) {
	t.Parallel()
	r := receive(t, nil)
	c := newCluster(t)
	same := r.route("same", "shop/stock", "")
	old := "routes:\n" + same + r.route("changed", "shop/stock", "    when: event.data.n < 0\n")
	a, b := c.node("a", old).start(), c.node("b", old).start()
	a.accept(message{Type: "stock", Key: "old", N: 1})

	added := r.route("added", "shop/stock", "")
	changed := r.route("changed", "shop/stock", "    when: event.data.n > 0\n")
	a.configure("routes:\n" + same + changed + added)
	a.signal(syscall.SIGHUP)
	a.logged("configuration reloaded")
	deadline := time.Now().Add(routesIn)
	n := 0
	for ; time.Now().Before(deadline); n++ { // either set may take these
		b.accept(message{Type: "stock", Key: "between", N: n + 1})
		<-time.After(pollEach)
	}
	const sure = 20
	for i := range sure {
		b.accept(message{Type: "stock", Key: "new", N: i + 1})
	}
	c.drained()
	for _, route := range []string{"same", "changed", "added"} {
		if got := len(taken(r.took(route), "new")); got != sure {
			t.Errorf("%d of %d events that came in at b after %s went to the route %s", got, sure, routesIn, route)
		}
	}
	if elsewhere := c.one(`SELECT count(*) FROM every_attempt a JOIN delivery_done d ON d.id = a.delivery JOIN lane l ON l.id = d.lane
		JOIN event e ON e.id = d.event WHERE convert_from(e.body, 'UTF8') LIKE '%"new"%' AND l.name IN ('changed', 'added') AND a.node NOT LIKE $1`, a.like()); elsewhere > 0 {
		t.Errorf("%d attempts of routes that only a knows ran elsewhere", elsewhere)
	}
	c.tellsOfRoutes(a, b)
	c.removedRouteWaits(a, b, "routes:\n"+same+changed)
}

func taken(calls []call, key string) map[int]bool {
	found := map[int]bool{}
	for _, c := range calls {
		if c.Key == key {
			found[c.N] = true
		}
	}
	return found
}

// tellsOfRoutes checks what relais nodes says of a node that read the routes in force, and of one that didn't.
func (c *cluster) tellsOfRoutes(a, b *node) {
	c.t.Helper()
	until(c.t, "the nodes tell of their routes", func() bool {
		same, other := 0, 0
		for _, n := range items[struct{ State, Routes, Active string }](b, "nodes") {
			switch {
			case n.State != "alive":
			case n.Routes == n.Active:
				same++
			default:
				other++
			}
		}
		return same == 1 && other == 1
	})
	b.logged("another node's routes are in force")
	if out := a.cli("nodes"); strings.Count(out, "alive") != 2 {
		c.t.Errorf("relais nodes says:\n%s", out)
	}
}

// removedRouteWaits removes a route whose deliveries wait.
func (c *cluster) removedRouteWaits(a, b *node, without string) {
	c.t.Helper()
	a.cli("pause", "route", "added")
	const waiting = 3
	for i := range waiting {
		b.accept(message{Type: "stock", Key: "removed", N: i + 1})
	}
	a.configure(without)
	a.cli("reload")
	a.cli("resume", "route", "added")
	// What comes in now doesn't go to it, and what is there isn't run.
	until(c.t, "b matches without the route", func() bool { return c.orphans(b) == waiting })
	b.accept(message{Type: "stock", Key: "after", N: 1})
	until(c.t, "the others ended", func() bool {
		return c.one("SELECT count(*) FROM delivery d JOIN lane l ON l.id = d.lane WHERE d.state < 2 AND l.name <> 'added'") == 0
	})
	if n := c.orphans(a); n != waiting {
		c.t.Errorf("%d deliveries of the removed route wait, not %d:\n%s", n, waiting, a.cli("deliveries", "list"))
	}
	if out := b.cli("deliveries", "list", "--state", "pending"); strings.Count(out, "its route is gone") != waiting {
		c.t.Errorf("b lists:\n%s", out)
	}
	var ids []string
	for _, d := range items[struct{ ID string }](b, "deliveries", "list", "--state", "pending") {
		ids = append(ids, d.ID)
	}
	b.cli(append([]string{"deliveries", "cancel"}, ids...)...)
	if n := c.one("SELECT count(*) FROM delivery WHERE state < 2"); n != 0 {
		c.t.Errorf("%d deliveries still wait after they were cancelled", n)
	}
	if n := c.one("SELECT count(*) FROM delivery_done WHERE state = 4"); n != waiting {
		c.t.Errorf("%d deliveries are cancelled, not %d", n, waiting)
	}
}

// orphans counts what a node lists as waiting for a route that is gone.
func (c *cluster) orphans(n *node) int {
	c.t.Helper()
	count := 0
	for _, d := range items[struct {
		Destination string
		Orphaned    bool
	}](n, "deliveries", "list", "--state", "pending") {
		if d.Orphaned && d.Destination == "route:added" {
			count++
		}
	}
	return count
}

// TestIngestNodeDeliversNothingAndWorkerTakesNothingIn.
func TestIngestNodeDeliversNothingAndWorkerTakesNothingIn(t *testing.T) {
	t.Parallel()
	r := receive(t, nil)
	c := newCluster(t)
	routes := "routes:\n" + r.route("stock", "shop/stock", "")
	ingest := c.node("ingest", routes)
	ingest.args = []string{"--role", "ingest"}
	ingest.start()
	const events = 20
	for i := range events {
		ingest.accept(message{Type: "stock", Key: "a", N: i + 1})
	}
	worker := c.node("worker", routes)
	worker.args = []string{"--role", "worker"}
	worker.start()
	if status, _ := worker.send(message{Type: "stock", Key: "b", N: 1}); status != http.StatusNotFound {
		t.Errorf("a worker answered a webhook with %d", status)
	}
	c.drained()
	if got := len(taken(r.took("stock"), "a")); got != events {
		t.Errorf("%d of %d events were delivered", got, events)
	}
	if n := c.one("SELECT count(*) FROM every_attempt WHERE node NOT LIKE $1", worker.like()); n > 0 {
		t.Errorf("%d attempts ran elsewhere than on the worker", n)
	}
	if n := c.one("SELECT count(*) FROM event"); n != events {
		t.Errorf("%d events are stored, not %d", n, events)
	}
	until(t, "relais nodes tells of both", func() bool {
		roles := map[string]bool{}
		for _, n := range items[struct{ State, Role string }](ingest, "nodes") {
			roles[fmt.Sprint(n.Role, " ", n.State)] = true
		}
		return roles["ingest alive"] && roles["worker alive"]
	})
}
