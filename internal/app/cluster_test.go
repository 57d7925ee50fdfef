package app

import (
	"context"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres"
	"relais/internal/store/postgres/pgtest"
)

// peer is another node of a store, as far as a test plays it.
type peer struct {
	*postgres.Store
	t *testing.T
}

// node starts relais on a PostgreSQL with these routes, and returns it with a peer.
func node(t *testing.T, text string) (*running, peer) {
	t.Helper()
	url := pgtest.URL(t)
	r := start(t, t.TempDir(), "store: \""+url+"\"\n"+text, nil)
	s, err := postgres.Open(t.Context(), postgres.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return r, peer{s, t}
}

// activate puts the routes of a configuration in force, or what change makes of them.
func (p peer) activate(text string, change func(*store.RouteSet)) store.RouteSet {
	p.t.Helper()
	cfg, err := load(Options{Config: writeConfig(p.t, p.t.TempDir(), text), Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		p.t.Fatal(err)
	}
	g, err := build(cfg, quietSteps(), time.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	set := store.RouteSet{Hash: cfg.Hash, Node: "peer", Destinations: g.routes.Destinations(), Text: cfg.Redacted, Routes: g.shared}
	if change != nil {
		change(&set)
	}
	if err := p.Activate(p.t.Context(), set); err != nil {
		p.t.Fatal(err)
	}
	return set
}

// claim takes what can be claimed, as a node that has never beaten: it counts as gone.
func (p peer) claim() []store.Claimed {
	p.t.Helper()
	work, err := p.Work(p.t.Context(), 0, 10)
	if err != nil {
		p.t.Fatal(err)
	}
	params := store.ClaimParams{Node: "gone", Max: 10}
	for _, w := range work {
		params.Lanes = append(params.Lanes, store.LaneRoom{Lane: w.Lane, Max: 10, Window: 10})
	}
	claimed, err := p.Claim(p.t.Context(), params)
	if err != nil {
		p.t.Fatal(err)
	}
	return claimed
}

// accepted is an event that somebody sent.
func accepted(deliveries ...store.NewDelivery) store.Accepted {
	return store.Accepted{Deliveries: deliveries, Event: core.Event{
		ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "app", Type: "stock", ReceivedAt: time.Now(), Format: core.FormatJSON, Body: []byte("{}"),
	}}
}

const (
	aSource  = "sources: {app: {auth: none}}\n"
	oneRoute = "routes: {own: {on: app/other, steps: [{use: http/request, with: {url: \"http://127.0.0.1:1/\"}}]}}\n"
	fifo     = `routes:
  fifo: {on: app/stock, fifo: true, steps: [{use: http/request, with: {url: "http://127.0.0.1:1/"}}]}
`
)

// TestAChainStopsAlsoWhereItsRouteIsUnknown: a delivery is interrupted too often on a node that is gone then, and a
// node without its route takes it over. What waits behind it must wait for a person, as the route says.
func TestAChainStopsAlsoWhereItsRouteIsUnknown(t *testing.T) {
	t.Parallel()
	r, p := node(t, "lanes: {interrupted: 1}\n"+aSource+oneRoute)
	set := p.activate(aSource+fifo, nil)
	ordered := store.NewDelivery{Destination: set.Destinations[0], Ordered: true}
	if _, err := p.Append(t.Context(), []store.Accepted{accepted(ordered), accepted(ordered)}); err != nil {
		t.Fatal(err)
	}
	r.until("the routes of the other node", func() bool { return r.routes().Hash() == set.Hash })
	claimed := p.claim()
	if len(claimed) != 1 {
		t.Fatalf("claimed %d of a chain", len(claimed))
	}
	head := claimed[0].Delivery.ID
	r.until("the take-over", func() bool {
		d, err := p.Delivery(context.WithoutCancel(t.Context()), head)
		if err != nil {
			t.Fatal(err)
		}
		return d.State == core.StateDead
	})
	if overtaking := p.claim(); len(overtaking) > 0 {
		t.Errorf("%s overtook the dead delivery %s", overtaking[0].Delivery.ID, head)
	}
	if n, err := p.Cancel(t.Context(), []core.DeliveryID{head}, "anne"); err != nil || n != 1 {
		t.Fatalf("%d cancelled: %v", n, err)
	}
	if next := p.claim(); len(next) != 1 {
		t.Errorf("%d go on after the dead delivery was cancelled", len(next))
	}
}

// TestAnOrderToFanOutIsWorkedOffWithItsOwnRoutes: routes are replaced while an event that came in under the ones
// before is still to be fanned out.
func TestAnOrderToFanOutIsWorkedOffWithItsOwnRoutes(t *testing.T) {
	t.Parallel()
	r, p := node(t, aSource+oneRoute)
	routes := func(names ...string) string {
		text := aSource + "routes:\n"
		for _, name := range names {
			text += "  " + name + ": {on: app/stock, steps: [{use: http/request, with: {url: \"http://127.0.0.1:1/\"}}]}\n"
		}
		return text
	}
	before := p.activate(routes("both", "gone"), nil)
	after := p.activate(routes("added", "both"), nil)
	r.until("the routes of the other node", func() bool { return r.routes().Hash() == after.Hash })
	event := accepted()
	event.FanOut, event.RouteSet = true, before.Hash
	unknown := accepted()
	unknown.FanOut, unknown.RouteSet = true, "of a version that wrote none down"
	if _, err := p.Append(t.Context(), []store.Accepted{event, unknown}); err != nil {
		t.Fatal(err)
	}
	r.until("the expansion", func() bool {
		orders, err := p.PendingFanOuts(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return len(orders) == 0
	})
	for id, want := range map[core.EventID][]core.Destination{event.Event.ID: before.Destinations, unknown.Event.ID: after.Destinations} {
		list, err := p.Deliveries(t.Context(), store.DeliveryFilter{Event: id, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		got := map[core.Destination]bool{}
		for _, d := range list {
			got[d.Destination] = true
		}
		if len(got) != len(want) || !got[want[0]] || !got[want[1]] {
			t.Errorf("the event went to %v, its routes were %v", got, want)
		}
	}
}
