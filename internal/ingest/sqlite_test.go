package ingest

import (
	"context"
	"sync"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/sqlite"
)

// TestAcknowledgedEventsAreInTheDatabase has many senders at once on the real store: what was answered
// with 200 is there after it was closed and opened again, with its delivery, and repeats are linked.
func TestAcknowledgedEventsAreInTheDatabase(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	db, err := sqlite.Open(ctx, sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	to := core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: "facture"}
	if err := db.Activate(ctx, store.RouteSet{Hash: "set", Node: "n", Destinations: []core.Destination{to}}); err != nil {
		t.Fatal(err)
	}
	h := open(t, func(o *Options) {
		o.Store = db
		o.Match = func(*core.Event) Matched {
			return Matched{RouteSet: "set", Deliveries: []store.NewDelivery{{Destination: to, Priority: core.PriorityNormal}}}
		}
	})
	const senders, each = 8, 25
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range each {
				body := quoteForm(1000*s + i)
				for range 2 {
					if got := h.send("POST", "/in/sellsy", h.signed(form, body), body); got.status != 200 {
						t.Errorf("answered %d %s", got.status, got.body)
					}
				}
			}
		})
	}
	all.Wait()
	h.send("POST", "/in/sellsy", nil, quote(1))
	if got := h.counted.get("events sellsy true"); got != senders*each {
		t.Errorf("%d repeats are counted, want %d", got, senders*each)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := h.send("POST", "/in/sellsy", h.signed(form, quoteForm(1)), quoteForm(1)); got.status != 503 {
		t.Errorf("with the store closed: answered %d", got.status)
	}

	db, err = sqlite.Open(ctx, sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	events, err := db.Events(ctx, store.EventFilter{Repeats: true, Limit: 1000, Body: true})
	if err != nil {
		t.Fatal(err)
	}
	firsts, repeats := 0, 0
	for _, e := range events {
		if e.RepeatOf.IsZero() {
			firsts++
		} else {
			repeats++
		}
		if e.Type != "estimate.accepted" || len(e.Body) == 0 || len(e.Header) == 0 {
			t.Fatalf("stored as %+v", e)
		}
	}
	deliveries, err := db.Deliveries(ctx, store.DeliveryFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if firsts != senders*each || repeats != senders*each || len(deliveries) != senders*each {
		t.Errorf("%d events, %d repeats, %d deliveries are stored, want %d of each", firsts, repeats, len(deliveries), senders*each)
	}
}
