//go:build unix

package postgres

import (
	"errors"
	"slices"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
)

// TestABusyChainKeepsBackItsOwnEventsOnly: somebody was stopped with a chain's lock in hand. The events that go to
// it are named, and the others of their batch can be stored.
func TestABusyChainKeepsBackItsOwnEventsOnly(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	s := c.node(c.url)
	to := func(key string) store.Accepted {
		return store.Accepted{
			Event: core.Event{ID: core.NewEventID(), Source: "s", Type: "t", ReceivedAt: c.clock(), Format: core.FormatJSON, Body: []byte("{}")},
			Deliveries: []store.NewDelivery{
				{Destination: routeTo("other")}, {Destination: routeTo("stock"), Ordered: key != "", OrderKey: key},
			},
		}
	}
	lanes, err := s.knowLanes(t.Context(), []core.Destination{routeTo("stock")})
	if err != nil {
		t.Fatal(err)
	}
	stopped, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, names := chainArgs([]chain{{lanes[routeTo("stock")], "busy"}})
	if _, err := stopped.Exec(t.Context(), takeChains, keys, names); err != nil {
		t.Fatal(err)
	}
	batch := []store.Accepted{to("free"), to("busy"), to(""), to("busy"), to("other")}
	_, err = s.Append(t.Context(), batch)
	var busy *store.BusyError
	if !errors.As(err, &busy) || !errors.Is(err, store.ErrUnavailable) || core.CodeOf(err) != core.CodeUnavailable {
		t.Fatalf("the batch was refused with %v", err)
	}
	if want := []core.EventID{batch[1].Event.ID, batch[3].Event.ID}; !slices.Equal(busy.Events, want) {
		t.Errorf("named are %v, want %v", busy.Events, want)
	}
	if stored, err := s.Append(t.Context(), []store.Accepted{batch[0], batch[2], batch[4]}); err != nil || stored[0].Seq == 0 {
		t.Errorf("the others: %v, %v", stored, err)
	}
	if err := stopped.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if stored, err := s.Append(t.Context(), batch); err != nil || slices.ContainsFunc(stored, func(a store.Appended) bool { return a.Seq == 0 }) {
		t.Errorf("all, when the chain is free: %v, %v", stored, err)
	}
	if n := len(c.claim(s, "node", store.LaneRoom{Max: 10, Window: 10})); n != 9 {
		t.Errorf("%d deliveries can be claimed, want five of the one route, and four of the other, in which one waits behind another", n)
	}
}
