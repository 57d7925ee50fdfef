package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

var readTests = map[string]func(*testing.T, *bench){
	"events are listed newest first, by filter, page by page": eventsAreListed,
	"deliveries are listed by filter, page by page":           deliveriesAreListed,
	"figures are true":                     figures,
	"what isn't there is not found":        notFound,
	"a read ends when its caller gives up": readIsCancelled,
	"a closed store says that it is away":  closedStore,
	"bodies are read only when asked for":  bodiesOnDemand,
}

func eventsAreListed(t *testing.T, b *bench) {
	start := b.clock.Now()
	for i := range 30 {
		a := b.event()
		if i%2 == 1 {
			a.Event.Source = "boutique"
		}
		if i%3 == 0 {
			a.Event.Type = "invoice.paid"
		}
		a.Event.ReceivedAt = b.clock.Now()
		b.send(a)
		b.advance(2 * time.Hour)
	}
	pattern, err := core.ParsePattern("invoice.*")
	b.must(err)
	for name, c := range map[string]struct {
		filter store.EventFilter
		want   int
	}{
		"all":           {store.EventFilter{}, 30},
		"source":        {store.EventFilter{Source: "boutique"}, 15},
		"tenant":        {store.EventFilter{Tenant: core.DefaultTenant}, 30},
		"another":       {store.EventFilter{Tenant: "acme"}, 0},
		"unknown":       {store.EventFilter{Source: "nobody"}, 0},
		"type":          {store.EventFilter{Type: pattern}, 10},
		"since":         {store.EventFilter{Since: start.Add(40 * time.Hour)}, 10},
		"until":         {store.EventFilter{Until: start.Add(10 * time.Hour)}, 6},
		"since, until":  {store.EventFilter{Since: start.Add(10 * time.Hour), Until: start.Add(20 * time.Hour)}, 6},
		"source, type":  {store.EventFilter{Source: "sellsy", Type: pattern}, 5},
		"before a time": {store.EventFilter{Until: start.Add(-time.Hour)}, 0},
	} {
		seen, last := 0, int64(1<<60)
		for page := c.filter; ; page.Before = last {
			page.Limit = 4
			events, err := b.Events(b.ctx(), page)
			b.must(err)
			if len(events) > 4 {
				t.Fatalf("%s: a page of %d", name, len(events))
			}
			if len(events) == 0 {
				break
			}
			for _, e := range events {
				if e.Seq >= last {
					t.Errorf("%s: %d after %d", name, e.Seq, last)
				}
				seen, last = seen+1, e.Seq
			}
		}
		if seen != c.want {
			t.Errorf("%s: %d events, want %d", name, seen, c.want)
		}
	}
}

func bodiesOnDemand(t *testing.T, b *bench) {
	a := b.event()
	b.send(a)
	for _, body := range []bool{false, true} {
		events, err := b.Events(b.ctx(), store.EventFilter{Body: body})
		b.must(err)
		if (string(events[0].Body) == string(a.Event.Body)) != body {
			t.Errorf("body %t: %q", body, events[0].Body)
		}
	}
}

func deliveriesAreListed(t *testing.T, b *bench) {
	start := b.clock.Now()
	var one core.EventID
	for i := range 12 {
		a := b.event(route("facture"), endpoint("shop"))
		if i%3 == 0 {
			a.Event.Source = "boutique"
		}
		b.send(a)
		one = a.Event.ID
		b.advance(2 * time.Hour)
	}
	for i, c := range b.claimWith(store.LaneRoom{Max: 4, Window: 4}) {
		v := store.VerdictSucceeded
		if i%2 == 0 {
			v = store.VerdictDead
		}
		b.must(b.finish(b.outcome(c, v)))
	}
	for name, c := range map[string]struct {
		filter store.DeliveryFilter
		want   int
	}{
		"all":         {store.DeliveryFilter{}, 24},
		"event":       {store.DeliveryFilter{Event: one}, 2},
		"destination": {store.DeliveryFilter{Destination: "endpoint:shop"}, 12},
		"nowhere":     {store.DeliveryFilter{Destination: "endpoint:facture"}, 0},
		"dead":        {store.DeliveryFilter{State: core.StateDead}, 4},
		"pending":     {store.DeliveryFilter{State: core.StatePending}, 16},
		"source":      {store.DeliveryFilter{Source: "boutique"}, 8},
		"tenant":      {store.DeliveryFilter{Tenant: core.DefaultTenant, State: core.StateSucceeded}, 4},
		"since":       {store.DeliveryFilter{Since: start.Add(20 * time.Hour)}, 4},
		"until":       {store.DeliveryFilter{Until: start.Add(2 * time.Hour)}, 4},
	} {
		seen, last := 0, int64(1<<60)
		for page := c.filter; ; page.Before = last {
			page.Limit = 5
			list, err := b.Deliveries(b.ctx(), page)
			b.must(err)
			if len(list) == 0 {
				break
			}
			for _, d := range list {
				if int64(d.ID) >= last {
					t.Errorf("%s: %s after %d", name, d.ID, last)
				}
				seen, last = seen+1, int64(d.ID)
			}
		}
		if seen != c.want {
			t.Errorf("%s: %d deliveries, want %d", name, seen, c.want)
		}
	}
	_, err := b.Deliveries(b.ctx(), store.DeliveryFilter{State: "gone"})
	b.wantCode(err, core.CodeInvalid)
}

func figures(t *testing.T, b *bench) {
	start := b.clock.Now()
	late := b.event(route("a"))
	late.Deliveries[0].Delay = time.Hour
	b.send(late, b.event(route("a")), b.event(route("b")))
	b.advance(time.Minute)
	b.send(b.event(route("b")))
	for range 2 {
		stats, err := b.Stats(b.ctx())
		b.must(err)
		if stats.Pending != 4 || stats.Running != 0 || !stats.OldestDue.Equal(start) || !stats.FirstEvent.Equal(start) || stats.UsedBytes <= 0 {
			t.Errorf("figures are %+v", stats)
		}
		b.must(b.Recount(b.ctx()))
		b.restart()
	}
}

func notFound(_ *testing.T, b *bench) {
	_, err := b.Event(b.ctx(), core.NewEventID())
	b.wantCode(err, core.CodeNotFound)
	_, err = b.Delivery(b.ctx(), 7)
	b.wantCode(err, core.CodeNotFound)
	_, err = b.Effect(b.ctx(), "none")
	b.wantCode(err, core.CodeNotFound)
	_, err = b.Rejection(b.ctx(), 7)
	b.wantCode(err, core.CodeNotFound)
}

func readIsCancelled(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(b.ctx())
	cancel()
	if _, err := b.Events(ctx, store.EventFilter{}); err == nil {
		t.Error("a cancelled read succeeded")
	}
	if _, err := b.Append(ctx, []store.Accepted{b.event()}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled append gave %v", err)
	}
	if _, err := b.Events(b.ctx(), store.EventFilter{}); err != nil {
		t.Errorf("the next read gave %v", err)
	}
}

func closedStore(t *testing.T, b *bench) {
	b.must(b.Close())
	if _, err := b.Append(b.ctx(), []store.Accepted{b.event()}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an append gave %v", err)
	}
	if _, err := b.Stats(b.ctx()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a read gave %v", err)
	}
	b.must(b.Close())
}
