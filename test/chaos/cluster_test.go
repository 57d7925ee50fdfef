//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"relais/internal/store/postgres/pgtest"
)

var (
	clusterRounds  = flag.Int("cluster-rounds", 0, "how often each fault strikes; 0 is the short form of make test")
	clusterResults = flag.String("cluster-results", "", "folder for the report; empty for none")
)

const (
	clusterNodes = 3
	clusterRate  = 120
	clusterYAML  = `
store: %s
`
)

// cluster is several nodes on one database, each behind a line of its own that can be cut.
type cluster struct {
	*world
	t     *testing.T
	pg    *pgtest.Instance
	db    *pgxpool.Pool // past the lines
	nodes []*node
	found *clusterReport

	mu     sync.Mutex
	next   int
	window *answers // of the database's long stop
}

// node is one relais and its line to the database.
type node struct {
	number  int
	dir     string
	listen  string
	line    *pgtest.Line
	relais  *exec.Cmd
	serving bool // as a load balancer sees it; guarded by cluster.mu
}

// answers are what requests met.
type answers struct {
	took    []time.Duration
	refused int
}

// TestNothingIsLostWhenANodeANetworkOrTheDatabaseGoesAway is make chaos-cluster, and its short form.
func TestNothingIsLostWhenANodeANetworkOrTheDatabaseGoesAway(t *testing.T) {
	t.Parallel() // with the short form of make chaos: both mostly wait
	c := newCluster(t)
	load := newLoad(c.world)
	load.target = c.target
	sending, stopSending := context.WithCancel(t.Context())
	defer stopSending()
	var senders sync.WaitGroup
	senders.Go(func() { load.run(sending) })
	began := time.Now()
	c.strike()
	c.found.Seconds = time.Since(began).Seconds()
	stopSending()
	senders.Wait()
	if load.failure != nil {
		t.Fatal(load.failure)
	}
	c.found.Sent, c.found.Acked = load.sent, len(load.acked)
	c.drainAll()
	c.must(c.count(load))
	c.found.print(t.Output())
	if *clusterResults != "" {
		c.must(writeJSON(*clusterResults, "chaos-cluster.json", c.found))
	}
	c.must(c.found.verdict())
}

func newCluster(t *testing.T) *cluster {
	seed := uint64(time.Now().UnixNano())
	o := options{Rate: clusterRate, Seed: seed, Log: t.Output()}
	c := &cluster{
		t:     t,
		world: &world{options: o, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 1)), report: newReport(o)},
		pg:    pgtest.Server(t), found: &clusterReport{outcome: newOutcome(seed)},
	}
	ctx := t.Context()
	c.must(c.build(ctx))
	var err error
	c.sandbox, err = startSandbox(ctx, c.dir)
	c.must(err)
	t.Cleanup(c.sandbox.Stop)
	url := c.pg.URL("relais")
	c.db, err = pgxpool.New(context.WithoutCancel(ctx), url)
	c.must(err)
	t.Cleanup(c.db.Close)
	for i := range clusterNodes {
		n := &node{number: i + 1, dir: filepath.Join(c.dir, fmt.Sprintf("node-%d", i+1)), line: pgtest.Relay(t, url)}
		c.must(os.Mkdir(n.dir, 0o700))
		c.configureNode(n, n.line.URL(url))
		c.nodes = append(c.nodes, n)
		c.startNode(n)
		t.Cleanup(func() { n.kill() })
	}
	return c
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) configureNode(n *node, url string) {
	c.t.Helper()
	w := *c.world
	w.dir = n.dir
	c.must(w.configure(c.t.Context()))
	n.listen = w.listen
	path := filepath.Join(n.dir, "relais.yaml")
	text, err := os.ReadFile(path)
	c.must(err)
	c.must(os.WriteFile(path, append(fmt.Appendf(nil, clusterYAML, url), text...), 0o600))
}

func (c *cluster) startNode(n *node) {
	c.t.Helper()
	w := *c.world
	w.dir, w.listen = n.dir, n.listen
	w.report = newReport(c.options)
	c.must(w.start(c.t.Context()))
	n.relais = w.relais
	c.serve(n, true)
}

func (c *cluster) serve(n *node, serving bool) {
	c.mu.Lock()
	n.serving = serving
	c.mu.Unlock()
}

func (n *node) kill() {
	if n.relais != nil {
		_ = n.relais.Process.Kill()
		_ = n.relais.Wait()
		n.relais = nil
	}
}

func (n *node) signal(s syscall.Signal) { _ = n.relais.Process.Signal(s) }

// target takes the nodes in turn that a load balancer would take, and notes what requests met while the
// database was stopped for long.
func (c *cluster) target() (string, func(int, time.Duration)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range clusterNodes {
		c.next++
		n := c.nodes[c.next%clusterNodes]
		if !n.serving {
			continue
		}
		window := c.window
		return n.listen, func(status int, took time.Duration) {
			if window == nil {
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			window.took = append(window.took, took)
			if status != 200 {
				window.refused++
			}
		}
	}
	return c.nodes[0].listen, func(int, time.Duration) {}
}

func (c *cluster) rest(d time.Duration) {
	select {
	case <-c.t.Context().Done():
	case <-time.After(d):
	}
}

// strike does to the cluster what is done to clusters, in a random order.
func (c *cluster) strike() {
	rounds, stop, long := max(*clusterRounds, 1), 20*time.Second, 60*time.Second
	faults := []func(){
		c.killOne,
		func() { c.stallOne(stop, false) },
		func() { c.stallOne(stop, true) },
		func() { c.found.Restarts++; c.pg.Restart(); c.rest(3 * time.Second) },
		func() { c.stopDatabase(long) },
		func() { c.cutOne(stop) },
		c.rollAll,
	}
	if *clusterRounds == 0 {
		// The short form: each fault that is quick, once, and the database away for some seconds.
		faults = []func(){c.killOne, func() { c.stallOne(12*time.Second, true) }, func() { c.stopDatabase(5 * time.Second) }, c.rollAll}
	}
	c.rest(3 * time.Second)
	for round := range rounds {
		c.random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		for i, fault := range faults {
			c.logf("round %d of %d, fault %d of %d\n", round+1, rounds, i+1, len(faults))
			fault()
			c.rest(2 * time.Second)
		}
	}
}

func (c *cluster) pick() *node { return c.nodes[c.random.IntN(len(c.nodes))] }

// killOne kills a node, waits until others have what it ran, and starts it again.
func (c *cluster) killOne() {
	n := c.pick()
	name := c.nameOf(n)
	n.kill()
	c.serve(n, false)
	c.found.Kills++
	c.taken(name, time.Now())
	c.startNode(n)
}

// stallOne stops a node's process for longer than its lease, inside an open effect where asked.
func (c *cluster) stallOne(d time.Duration, inside bool) {
	n := c.pick()
	name := c.nameOf(n)
	n.signal(syscall.SIGSTOP)
	if inside {
		// Stopped first, and looked at then: an effect is open for some milliseconds.
		for deadline := time.Now().Add(time.Minute); !c.insideEffect(name) && time.Now().Before(deadline); {
			n.signal(syscall.SIGCONT)
			c.rest(time.Duration(5+c.random.IntN(20)) * time.Millisecond)
			n.signal(syscall.SIGSTOP)
		}
	}
	began := time.Now()
	c.serve(n, false)
	c.found.Stalls++
	if c.insideEffect(name) {
		c.found.StallsInside++
	}
	c.taken(name, began)
	c.rest(time.Until(began.Add(d)))
	n.signal(syscall.SIGCONT)
	c.rest(time.Second)
	c.serve(n, true)
}

// cutOne takes a node's database away and leaves it its clients.
func (c *cluster) cutOne(d time.Duration) {
	n := c.pick()
	name := c.nameOf(n)
	n.line.Cut()
	began := time.Now()
	c.found.Cuts++
	c.taken(name, began)
	c.rest(time.Until(began.Add(d)))
	n.line.Heal()
}

func (c *cluster) stopDatabase(d time.Duration) {
	c.mu.Lock()
	window := &answers{}
	c.window = window
	c.mu.Unlock()
	c.pg.Stop(false)
	c.rest(d)
	c.pg.Start()
	c.rest(2 * time.Second)
	c.mu.Lock()
	c.window = nil
	c.found.noteStop(window)
	c.mu.Unlock()
}

// rollAll restarts each node as an upgrade does.
func (c *cluster) rollAll() {
	for _, n := range c.nodes {
		c.serve(n, false)
		n.signal(syscall.SIGTERM)
		if err := n.relais.Wait(); err != nil {
			c.t.Fatalf("node %d did not stop well: %v\n%s", n.number, err, c.logOf(n))
		}
		n.relais = nil
		c.startNode(n)
	}
	c.found.Rolls++
}

func (c *cluster) logOf(n *node) string {
	w := *c.world
	w.dir = n.dir
	return w.lastLog()
}

// nameOf is the part of a node's name that tells its process from others.
func (c *cluster) nameOf(n *node) string { return fmt.Sprintf("%%-%d-%%", n.relais.Process.Pid) }

func (c *cluster) one(sql string, args ...any) int {
	c.t.Helper()
	var count int
	for {
		err := c.db.QueryRow(c.t.Context(), sql, args...).Scan(&count)
		if err == nil {
			return count
		}
		if c.t.Context().Err() != nil {
			c.t.Fatal(err)
		}
		c.rest(20 * time.Millisecond) // a connection of before a restart
	}
}

func (c *cluster) openEffectsOf(name string) int {
	return c.one(`SELECT count(*) FROM effect e JOIN delivery d ON d.id = e.delivery AND d.claim = e.claim
		WHERE e.state IN ('open', 'sent') AND d.state = 1 AND d.node LIKE $1`, name)
}

// insideEffect tells whether a stopped node stands inside an open effect. What it had sent when it was
// stopped may be the effect's end: the database gets the time to do it.
func (c *cluster) insideEffect(name string) bool {
	if c.openEffectsOf(name) == 0 {
		return false
	}
	c.rest(100 * time.Millisecond)
	return c.openEffectsOf(name) > 0
}

// taken notes how long it took until nothing stood as running under a dead node's name.
func (c *cluster) taken(name string, since time.Time) {
	for c.one("SELECT count(*) FROM delivery WHERE state = 1 AND node LIKE $1", name) > 0 {
		if time.Since(since) > 30*time.Second {
			break
		}
		c.rest(20 * time.Millisecond)
	}
	c.found.noteTakeOver(time.Since(since))
}

// drainAll waits until every event is in the database and every delivery has ended.
func (c *cluster) drainAll() {
	began := time.Now()
	for {
		left := c.one("SELECT count(*) FROM delivery WHERE state < 2")
		spooled := 0
		for _, n := range c.nodes {
			spooled += c.spooled(n)
		}
		if left == 0 && spooled == 0 {
			c.found.DrainSeconds = time.Since(began).Seconds()
			return
		}
		if time.Since(began) > drainIn {
			c.t.Errorf("%d deliveries and %d spooled events are left after %s", left, spooled, drainIn)
			return
		}
		c.logf("%d deliveries and %d spooled events to go\n", left, spooled)
		c.rest(time.Second)
	}
}

// spooled asks a node what waits in its spool.
func (c *cluster) spooled(n *node) int {
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, c.binary, "nodes", "--json", "--config", filepath.Join(n.dir, "relais.yaml"), "--data", filepath.Join(n.dir, "data")).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			c.logf("relais nodes: %s\n", strings.TrimSpace(string(exit.Stderr)))
		}
		return 1
	}
	return spooledIn(out)
}
