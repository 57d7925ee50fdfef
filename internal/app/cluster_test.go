//go:build unix

package app

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

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
	g, err := build(cfg, quietSteps(""), time.Now())
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
		ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "shop", Type: "stock", ReceivedAt: time.Now(), Format: core.FormatJSON, Body: []byte("{}"),
	}}
}

const (
	aSource  = "sources: {shop: {auth: none}}\n"
	oneRoute = "routes: {own: {on: shop/other, steps: [{use: http/request, with: {url: \"http://127.0.0.1:1/\"}}]}}\n"
	fifo     = `routes:
  fifo: {on: shop/stock, fifo: true, steps: [{use: http/request, with: {url: "http://127.0.0.1:1/"}}]}
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
			text += "  " + name + ": {on: shop/stock, steps: [{use: http/request, with: {url: \"http://127.0.0.1:1/\"}}]}\n"
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

// TestRoutesOfANewerVersionAreLeftToItsNodes: a newer relais puts routes in force that say more than this one knows.
func TestRoutesOfANewerVersionAreLeftToItsNodes(t *testing.T) {
	t.Parallel()
	r, p := node(t, aSource+oneRoute)
	const newer = "of-a-newer-version"
	p.activate(aSource+oneRoute, func(set *store.RouteSet) {
		set.Hash = newer
		set.Routes = bytes.Replace(set.Routes, []byte(`"on":`), []byte(`"unless":"night","on":`), 1)
	})
	warned := func() bool {
		_, ready := r.get("http://" + r.at.Admin + "/ready")
		return strings.Contains(ready, `"status":"ready"`) && strings.Contains(ready, "can't be read by this one")
	}
	r.until("a warning in /ready", warned)
	own := store.NewDelivery{Destination: routeTo("own")}
	waits := accepted(own)
	if _, err := p.Append(t.Context(), []store.Accepted{waits}); err != nil {
		t.Fatal(err)
	}
	r.lanes.Wake(own.Destination)
	if status := r.send("other"); status != http.StatusOK {
		t.Fatalf("a webhook was answered with %d", status)
	}
	r.until("word in the list of nodes", func() bool {
		nodes, err := p.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(nodes) == 1 && bytes.Contains(nodes[0].Told, []byte(`"unread"`)) && bytes.Contains(nodes[0].Told, []byte(newer))
	})
	response, err := socketClient(r.at.Socket).Post("http://relais/api/v1/replay", "application/json", strings.NewReader(`{"source":"shop"}`))
	if err != nil {
		t.Fatal(err)
	}
	if text := readAll(t, response); response.StatusCode != http.StatusConflict || !strings.Contains(text, "can't be read") {
		t.Errorf("a replay was answered with %d %s", response.StatusCode, text)
	}
	r.until("that the order is left", func() bool { return strings.Contains(r.log.String(), "left to others to fan out") })
	for range 3 {
		if err := r.followOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if orders := p.orders(); len(orders) != 1 || orders[0].RouteSet != newer || orders[0].Cursor != "" {
		t.Errorf("the event is to be fanned out as %+v", orders)
	}
	if n := p.attempted(); n != 0 {
		t.Errorf("%d deliveries were attempted by routes that can't be read", n)
	}
	if n := strings.Count(r.log.String(), "can't be read here: events are taken in"); n != 1 {
		t.Errorf("the log says so %d times", n)
	}

	p.activate(aSource+oneRoute, nil)
	r.until("its own work again", func() bool { return p.attempted() == 1 })
	if warned() {
		t.Error("/ready warns on")
	}
	if orders := p.orders(); len(orders) != 1 {
		t.Errorf("%d orders of routes that it can't read are left", len(orders))
	}
	p.activate(aSource+oneRoute, func(set *store.RouteSet) { set.Hash = newer })
	r.until("the order's own deliveries", func() bool { return len(p.orders()) == 0 && p.attempted() == 2 })
}

// send posts an event to the source app.
func (r *running) send(typ string) int {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.at.Listen+"/in/shop", strings.NewReader(`{"type":"`+typ+`"}`))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	status, _ := r.do(request)
	return status
}

// orders are those that wait to be fanned out.
func (p peer) orders() []store.FanOut {
	p.t.Helper()
	orders, err := p.PendingFanOuts(p.t.Context(), 10)
	if err != nil {
		p.t.Fatal(err)
	}
	return orders
}

// attempted counts the deliveries that were tried.
func (p peer) attempted() int {
	p.t.Helper()
	list, err := p.Deliveries(p.t.Context(), store.DeliveryFilter{Limit: 100})
	if err != nil {
		p.t.Fatal(err)
	}
	n := 0
	for _, d := range list {
		if d.Attempts > 0 {
			n++
		}
	}
	return n
}

// TestNodesThatAreLongGoneAreForgotten: but not what waits on the disk of one.
func TestNodesThatAreLongGoneAreForgotten(t *testing.T) {
	t.Parallel()
	r, p := node(t, aSource+oneRoute)
	long := time.Now().Add(-forgetAfter - time.Hour)
	was := func(name, told string, at time.Time) {
		t.Helper()
		if err := p.Beat(t.Context(), name, beatLease); err != nil {
			t.Fatal(err)
		}
		if err := p.Tell(t.Context(), name, []byte(told)); err != nil {
			t.Fatal(err)
		}
		r.exec("UPDATE node SET beat = $2 WHERE name = $1", name, at.UnixMicro())
	}
	was("empty", `{"spool":{"events":0}}`, long)
	was("no-spool", `{"version":"1"}`, long)
	was("spooled", `{"spool":{"id":"a","events":3}}`, long)
	was("aside", `{"spool":{"aside":1}}`, long)
	was("recent", `{}`, time.Now().Add(-forgetAfter+time.Hour))
	was("life-1", `{"spool":{"id":"b","events":7}}`, long)
	was("life-2", `{"spool":{"id":"b","events":0}}`, time.Now().Add(-time.Hour))
	kept := func() map[string]bool {
		t.Helper()
		if err := r.forgetOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		nodes, err := p.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, n := range nodes {
			names[n.Name] = true
		}
		return names
	}
	want := map[string]bool{r.node: true, "spooled": true, "aside": true, "recent": true, "life-2": true}
	if diff := cmp.Diff(want, kept()); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if err := emptied(t.Context(), p, "a"); err != nil {
		t.Fatal(err)
	}
	delete(want, "spooled")
	if diff := cmp.Diff(want, kept()); diff != "" {
		t.Errorf("kept after its spool was drained (-want +got):\n%s", diff)
	}
}

func routeTo(name string) core.Destination {
	return core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: name}
}

// exec changes the database.
func (r *running) exec(sql string, args ...any) {
	r.t.Helper()
	db, err := pgx.Connect(r.t.Context(), r.begun.Store.Reveal())
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := db.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatal(err)
	}
	if err := db.Close(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// A reload that the database keeps from being done blames the database, not the file.
func TestReloadWithoutItsDatabaseSaysSo(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), "store: \"postgres://relais:wrong@127.0.0.1:1/relais\"\n"+aSource+oneRoute, nil)
	err := r.Reload(t.Context())
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "the database can't be reached at 127.0.0.1:1") {
		t.Errorf("the reload says %v", err)
	}
	log := r.log.String()
	if !strings.Contains(log, "the configuration was not loaded") || strings.Contains(log, "has problems") {
		t.Errorf("the log says:\n%s", log)
	}
}
