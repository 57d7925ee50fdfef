package app

import (
	"context"
	"time"

	"relais/internal/route"
	"relais/internal/store"
)

const (
	fanOutEvery  = time.Second
	fanOutOrders = 16
)

// fanOut makes the deliveries of events that match too many destinations for one commit. The order is
// in the database with a cursor: a process that dies here goes on where it was, and so does any other node.
func (a *App) fanOut(ctx context.Context) {
	f := fanner{App: a}
	for more := false; ; {
		if !more {
			select {
			case <-ctx.Done():
				return
			case <-a.fanOutWake:
			case <-time.After(fanOutEvery):
			}
		}
		var err error
		if more, err = f.round(ctx); err != nil {
			a.complain(ctx, "fanning out", err)
		}
		more = more && ctx.Err() == nil
	}
}

// fanner works orders to fan out off, each by the set of routes that it was made for. By another one it would
// miss destinations, and end where its own list ends.
type fanner struct {
	*App
	since *inForce // what was in force when the following was learned
	// sets are those that are not in force any more, others are of orders that this node leaves to others.
	sets   map[string]*route.Set
	others []string
}

// keepSets is how many sets that are not in force any more are worth remembering.
const keepSets = 8

func (f *fanner) round(ctx context.Context) (more bool, err error) {
	if now := f.inForce.Load(); f.sets == nil || now != f.since || len(f.sets) > keepSets {
		f.since, f.sets, f.others = now, map[string]*route.Set{}, nil
	}
	orders, err := f.store.PendingFanOuts(ctx, fanOutOrders, f.others...)
	for i := range orders {
		routes, err := f.setOf(ctx, orders[i].RouteSet)
		if err != nil {
			return false, err
		}
		if routes == nil {
			continue
		}
		if err := f.expand(ctx, &orders[i], routes); err != nil {
			return false, err
		}
	}
	return len(orders) == fanOutOrders, err
}

// setOf returns the set of routes that an order was made for, or nil where this node must leave it to others: it
// was put in force by a version of relais whose routes this one can't read. A set that was never written down is
// one of an earlier version of relais: the one in force stands for it.
func (f *fanner) setOf(ctx context.Context, hash string) (*route.Set, error) {
	inForce, read := f.routes(), f.unread() == nil
	if inForce.Hash() == hash {
		return inForce, nil
	}
	if set := f.sets[hash]; set != nil {
		return set, nil
	}
	written, err := f.store.RouteSet(ctx, hash)
	if err != nil {
		return nil, err
	}
	set := inForce
	if written.Hash != "" || !read {
		if set, _, err = route.Decode(written.Routes, hash); err != nil {
			f.log.WarnContext(ctx, "events are left to others to fan out: the routes that they came in under can't be read here", "hash", hash, "error", err)
			f.others = append(f.others, hash)
			return nil, nil
		}
	}
	set = set.WithMeaning(meaning{f.App})
	f.sets[hash] = set
	return set, nil
}

func (f *fanner) expand(ctx context.Context, order *store.FanOut, routes *route.Set) error {
	for cursor, done := order.Cursor, false; !done; {
		var page []store.NewDelivery
		page, done = routes.MatchAfter(&order.Event, cursor, route.FanOutAbove)
		err := f.store.Expand(ctx, store.ExpandParams{Event: order.Event.ID, Deliveries: page, Done: done})
		if err != nil {
			return err
		}
		f.wake(page)
		if len(page) > 0 {
			cursor = page[len(page)-1].Destination.String()
		}
	}
	return nil
}
