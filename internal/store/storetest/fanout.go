package storetest

import (
	"testing"

	"relais/internal/core"
	"relais/internal/store"
)

var fanOutTests = map[string]func(*testing.T, *bench){
	"an order waits, is expanded from its cursor, and ends": fanOutIsExpanded,
	"an expansion that is sent again makes nothing twice":   expansionIsIdempotent,
}

func newDeliveries(to ...core.Destination) []store.NewDelivery {
	var list []store.NewDelivery
	for _, d := range to {
		list = append(list, store.NewDelivery{Destination: d, Priority: core.PriorityNormal})
	}
	return list
}

func fanOutIsExpanded(t *testing.T, b *bench) {
	first, second := b.event(), b.event()
	first.FanOut, second.FanOut = true, true
	b.send(first, second)
	b.must(b.Expand(b.ctx(), store.ExpandParams{Event: first.Event.ID, Deliveries: newDeliveries(endpoint("a"), endpoint("b"))}))
	b.restart()
	orders, err := b.PendingFanOuts(b.ctx(), 10)
	b.must(err)
	if len(orders) != 2 || orders[0].Event.ID != first.Event.ID || orders[0].Cursor != "endpoint:b" || orders[0].RouteSet != "set-1" ||
		string(orders[0].Event.Body) != string(first.Event.Body) || orders[1].Cursor != "" {
		t.Fatalf("orders are %+v", orders)
	}
	third := b.event()
	third.FanOut, third.RouteSet = true, "set-2"
	b.send(third)
	for except, want := range map[string]core.EventID{"set-1": third.Event.ID, "set-2": first.Event.ID} {
		if orders, err = b.PendingFanOuts(b.ctx(), 1, "none", except); err != nil || len(orders) != 1 || orders[0].Event.ID != want {
			t.Errorf("orders but those of %s: %+v, %v", except, orders, err)
		}
	}
	b.must(b.Expand(b.ctx(), store.ExpandParams{Event: third.Event.ID, Done: true}))
	b.must(b.Expand(b.ctx(), store.ExpandParams{Event: first.Event.ID, Deliveries: newDeliveries(endpoint("c")), Done: true}))
	b.must(b.Expand(b.ctx(), store.ExpandParams{Event: second.Event.ID, Done: true}))
	if orders, err = b.PendingFanOuts(b.ctx(), 10); err != nil || len(orders) != 0 {
		t.Fatalf("%d orders are left, %v", len(orders), err)
	}
	if n := len(b.claim(10)); n != 3 {
		t.Errorf("%d deliveries, want 3", n)
	}
	b.wantCode(b.Expand(b.ctx(), store.ExpandParams{Event: core.NewEventID(), Done: true}), core.CodeNotFound)
}

func expansionIsIdempotent(t *testing.T, b *bench) {
	a := b.event()
	a.FanOut = true
	b.send(a)
	p := store.ExpandParams{Event: a.Event.ID, Deliveries: newDeliveries(endpoint("a"), endpoint("b"))}
	b.must(b.Expand(b.ctx(), p))
	b.must(b.Expand(b.ctx(), p))
	p.Done = true
	b.must(b.Expand(b.ctx(), p))
	b.must(b.Expand(b.ctx(), p))
	if n := len(b.claim(10)); n != 2 {
		t.Errorf("%d deliveries, want 2", n)
	}
}
