//go:build linux

package cluster

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relais/internal/store/postgres/pgtest"
)

// behind makes a node whose line to the database the test may cut.
func (c *cluster) behind(name, routes, ingest string) (*node, *pgtest.Line) {
	c.t.Helper()
	line := pgtest.Relay(c.t, c.url)
	n := c.node(name, routes)
	n.url, n.ingest = line.URL(c.url), ingest
	n.configure(routes)
	return n, line
}

// TestNodeStartedWithTheDatabaseAwayKeepsAndMoves starts a node that has never met its database.
func TestNodeStartedWithTheDatabaseAwayKeepsAndMoves(t *testing.T) {
	t.Parallel()
	r := receive(t, nil)
	c := newCluster(t)
	n, line := c.behind("early", "routes:\n"+r.route("stock", "shop/stock", ""), "")
	line.Cut()
	began := time.Now()
	n.start()
	const events = 10
	for i := range events {
		n.accept(message{Type: "stock", Key: "a", N: i + 1})
	}
	t.Logf("it had acknowledged %d messages %s after its start", events, time.Since(began).Round(time.Millisecond))
	line.Heal()
	began = time.Now()
	until(t, "the events were moved and delivered", func() bool { return len(taken(r.took("stock"), "a")) == events })
	c.drained()
	t.Logf("they were delivered %s after the database was back", time.Since(began).Round(time.Millisecond))
	if n := c.one("SELECT count(*) FROM event"); n != events {
		t.Errorf("%d events are stored, not %d", n, events)
	}
	until(t, "relais nodes tells of an empty spool", func() bool {
		for _, n := range items[struct {
			State string
			Spool struct {
				State  string
				Events int
			}
		}](n, "nodes") {
			if n.State == "alive" && n.Spool.State == "direct" && n.Spool.Events == 0 {
				return true
			}
		}
		return false
	})
}

// TestWithoutSpoolAStoppedDatabaseIsA503.
func TestWithoutSpoolAStoppedDatabaseIsA503(t *testing.T) {
	t.Parallel()
	r := receive(t, nil)
	c := newCluster(t)
	n, line := c.behind("direct", "routes:\n"+r.route("stock", "shop/stock", ""), ", spool: off")
	n.start()
	n.accept(message{Type: "stock", Key: "a", N: 1})
	line.Cut()
	began := time.Now()
	status, header := n.send(message{Type: "stock", Key: "a", N: 2})
	t.Logf("it was refused after %s", time.Since(began).Round(time.Millisecond))
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("with the database away it answered %d, Retry-After %q", status, header.Get("Retry-After"))
	}
	line.Heal()
	began = time.Now()
	until(t, "it takes messages again", func() bool {
		status, _ := n.send(message{Type: "stock", Key: "a", N: 3})
		return status == http.StatusOK
	})
	t.Logf("it took messages again after %s", time.Since(began).Round(time.Millisecond))
	c.drained()
	if took := taken(r.took("stock"), "a"); !took[1] || !took[3] {
		t.Errorf("acknowledged messages were not delivered: %v", took)
	}
}

// TestDrainRescuesADeadNodesSpool kills a node that has acknowledged into its spool.
func TestDrainRescuesADeadNodesSpool(t *testing.T) {
	t.Parallel()
	r := receive(t, nil)
	c := newCluster(t)
	routes := "routes:\n" + r.route("stock", "shop/stock", "")
	alive := c.node("alive", routes).start()
	dead, line := c.behind("dead", routes, "")
	dead.start()
	until(t, "relais nodes tells of both", func() bool { return strings.Count(alive.cli("nodes"), "alive") == 2 })
	line.Cut()
	const events = 10
	for i := range events {
		dead.accept(message{Type: "stock", Key: "a", N: i + 1})
	}
	dead.kill()
	line.Heal()
	if n := c.one("SELECT count(*) FROM event"); n != 0 {
		t.Fatalf("%d events reached the database through a cut line", n)
	}
	until(t, "relais nodes tells that the node is gone", func() bool {
		return strings.Count(alive.cli("nodes"), "gone") == 1
	})
	out := alive.cli("spool", "drain", filepath.Join(dead.data(), "spool"))
	until(t, "the events were delivered", func() bool { return len(taken(r.took("stock"), "a")) == events })
	c.drained()
	t.Logf("relais spool drain says:\n%s", out)
	if out := alive.cli("spool", "drain", filepath.Join(dead.data(), "spool")); strings.Contains(out, "10") {
		t.Errorf("a second drain says:\n%s", out)
	}
}
