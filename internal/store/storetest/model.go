package storetest

import (
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relais/internal/core"
	"relais/internal/store"
)

// ModelOptions say what a store is where stores may differ, and bound the test.
type ModelOptions struct {
	// OneProcess says that only one process can have the data open. A take-over then takes from every other
	// node at once, since none can be alive; else it takes from those whose lease has lapsed.
	OneProcess bool
	// Rounds bounds how often one store is driven and drained; 0 is 3.
	Rounds int
	// Checks is how many stores are driven where -rapid.checks says nothing; 0 is rapid's own 100.
	Checks int
}

// Model drives stores through random interleavings of what ingest, several nodes and people do to them,
// crashes and restarts included, and compares each store after every step with a model of a few maps and
// lists that is written from what the interface promises. Each round ends by resuming everything and
// finishing what is claimed until nothing is live: what is stuck is found there, whatever made it so.
//
// The clock is the test's, and a failure is shrunk to the fewest steps that show it. The flags
// -rapid.checks (stores, 100) and -rapid.steps (steps in a round, 30) make it longer.
//
// What a claim chooses among a lane's priorities is drawn by lot, which would make failures come and go. So
// a round asks for none or all where a lot would choose, and only its end, where nothing hangs on the
// choice any more, has windows choose among priorities.
func Model(t *testing.T, open Open, o ModelOptions) {
	if o.Rounds <= 0 {
		o.Rounds = 3
	}
	if f := flag.Lookup("rapid.checks"); o.Checks > 0 && f != nil && f.Value.String() == f.DefValue {
		if err := flag.Set(f.Name, strconv.Itoa(o.Checks)); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt, open, o)
		defer m.end()
		for range rapid.IntRange(1, o.Rounds).Draw(rt, "rounds") {
			rt.Repeat(map[string]func(*rapid.T){"": func(*rapid.T) { m.check() }, "step": m.step})
			m.drain()
		}
	})
}

// model is a store on trial, and what it must be holding.
type model struct {
	store.Store
	t     *rapid.T
	open  func() store.Store
	dir   string
	clock *clock
	alone bool

	serial     uint64 // of events made
	lastSeq    int64
	lastReplay int64
	events     []*modelEvent    // in order of arrival
	deliveries []*modelDelivery // in the order in which they were made
	// outlived are ended deliveries that a store of days still has, while their event went with its own day.
	outlived map[core.DeliveryID]core.State
	places   map[place]*modelDelivery
	chains   map[chain][]*modelDelivery
	lanes    map[core.Destination]*modelLane
	paused   map[pause]bool
	keys     map[string]*modelEvent
	effects  map[string]*store.Effect
	nodes    map[string]*modelNode
	claims   []*modelClaim
}

// place is what no two deliveries have in common.
type place struct {
	event       core.EventID
	destination core.Destination
	replay      int64
}

// chain names the deliveries that run one at a time.
type chain struct {
	lane core.Destination
	key  string
}

type pause struct {
	scope store.PauseScope
	name  string
}

// modelLane is a destination with the limits that its claims ask for.
type modelLane struct {
	id       store.LaneID // 0 until Work has told it
	window   int
	priority core.Priority
	keys     []string // its order keys; nil where nothing is ordered
	stop     bool     // a dead delivery keeps what waits behind it waiting
	rate     float64
	burst    int
	// tokens are what the rate has left at tokensAt.
	tokens   float64
	tokensAt time.Time
}

// modelNode is a node with the bounds of its lease.
type modelNode struct {
	beat    time.Time
	claimed time.Time
}

const modelLease = 10 * time.Second

var (
	plain   = route("plain")
	slow    = endpoint("plain") // an endpoint of the same name is another lane
	stock   = route("stock")
	fifo    = route("fifo")
	limited = endpoint("limited")

	modelDestinations = []core.Destination{fifo, stock, limited, plain, slow}
	modelNodes        = []string{"n1", "n2", "n3"}
	modelSources      = []string{"sellsy", "boutique"}
	modelEffects      = []string{"default/compta/invoice/1", "default/compta/invoice/2"}
	modelKeys         = []string{"short", "long"}
)

func newModel(t *testing.T, rt *rapid.T, open Open, o ModelOptions) *model {
	m := &model{
		t: rt, dir: t.TempDir(), alone: o.OneProcess,
		clock:    &clock{now: time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC)},
		outlived: map[core.DeliveryID]core.State{},
		places:   map[place]*modelDelivery{}, chains: map[chain][]*modelDelivery{},
		lanes: map[core.Destination]*modelLane{
			plain:   {window: 3, priority: core.PriorityNormal},
			stock:   {window: 2, priority: core.PriorityHigh, keys: []string{"sku-1", "sku-2", "sku-3"}},
			fifo:    {window: 5, priority: core.PriorityUrgent, keys: []string{""}, stop: true},
			slow:    {window: 1, priority: core.PriorityLow},
			limited: {window: 5, priority: core.PriorityNormal, rate: 0.01, burst: 2},
		},
		paused: map[pause]bool{}, keys: map[string]*modelEvent{}, effects: map[string]*store.Effect{},
		nodes: map[string]*modelNode{},
	}
	m.open = func() store.Store { return open(t, Options{Now: m.clock.Now, Dir: m.dir}) }
	m.Store = m.open()
	for _, name := range modelNodes {
		m.nodes[name] = &modelNode{}
		m.beat(name)
	}
	return m
}

// end leaves nothing of a store behind: there may be very many of them.
func (m *model) end() {
	_ = m.Close()
	_ = os.RemoveAll(m.dir)
}

// step takes one step: one of those that have something to act on, each as often as its weight says.
func (m *model) step(*rapid.T) {
	claimed, made := len(m.claims) > 0, len(m.deliveries) > 0
	var steps []func()
	var names []string
	for _, a := range []struct {
		name   string
		weight int
		able   bool
		act    func()
	}{
		{"append", 5, true, m.appendSome}, {"claim", 8, made, m.claimSome}, {"finish", 7, claimed, m.finishSome},
		{"clock", 5, true, m.advance}, {"cancel", 2, made, m.cancelSome}, {"replay", 4, made, m.replaySome},
		{"expand", 2, len(m.orders()) > 0, m.expandOne}, {"save step", 2, claimed, m.saveStep},
		{"open effect", 4, claimed, m.openEffect}, {"move effect", 7, claimed, m.moveEffect},
		{"resolve effect", 2, len(m.effects) > 0, m.resolveEffect}, {"pause", 2, true, m.pauseOne}, {"resume", 3, true, m.resumeOne},
		{"take over", 3, true, m.takeOver}, {"beat", 1, true, m.beatOne}, {"crash", 1, claimed, m.crash},
		{"restart", 2, true, m.restart}, {"retain", 2, true, m.retain}, {"purge", 2, len(m.purgeable()) > 0, m.purgeOne},
		{"recount", 1, true, m.recount},
	} {
		for range a.weight {
			if a.able {
				steps, names = append(steps, a.act), append(names, a.name)
			}
		}
	}
	i := evenly(len(steps)).Draw(m.t, "step")
	m.t.Logf("%s:", names[i])
	steps[i]()
}

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// wantCode checks an error of a call that the model expects to be refused, or, with "", not to be.
func (m *model) wantCode(err error, want core.Code) {
	m.t.Helper()
	if core.CodeOf(err) != want || (want == "" && err != nil) {
		m.t.Fatalf("error %v has code %q, want %q", err, core.CodeOf(err), want)
	}
}

// evenly draws an index below n, each as often as the others. rapid's own generators prefer small numbers,
// which is good where the first is the usual, and starves the last of many steps.
func evenly(n int) *rapid.Generator[int] {
	return rapid.Custom(func(t *rapid.T) int {
		const digits = 10
		drawn := 0
		for range digits {
			drawn <<= 1
			if rapid.Bool().Draw(t, "") {
				drawn++
			}
		}
		return drawn * n >> digits
	})
}

// pick draws one of several, the first ones more often.
func pick[T any](m *model, from []T, what string) T {
	m.t.Helper()
	return from[upTo(m, len(from)-1, what)]
}

// upTo draws a number from 0 to most.
func upTo(m *model, most int, what string) int {
	m.t.Helper()
	return rapid.IntRange(0, most).Draw(m.t, what)
}

// once draws true in about one of n cases.
func (m *model) once(n int, what string) bool {
	m.t.Helper()
	return upTo(m, n-1, what) == n-1
}
