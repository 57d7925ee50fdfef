package sellsy

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/sqlite"
)

// sqliteBook is the real ledger, with real deliveries, each on a lane of its own. A claim that lapsed is
// handed back on its behalf, so that the next one has a newer number.
type sqliteBook struct {
	*sqlite.Store
	mu    sync.Mutex
	lanes map[core.DeliveryID]store.LaneID
	held  map[core.DeliveryID]store.Holder
}

func newSQLiteBook(t *testing.T) *sqliteBook {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Now: time.Now, Sync: sqlite.SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &sqliteBook{Store: db, lanes: map[core.DeliveryID]store.LaneID{}, held: map[core.DeliveryID]store.Holder{}}
}

func (b *sqliteBook) Deliver(t *testing.T) core.DeliveryID {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	ctx := t.Context()
	to := core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: fmt.Sprintf("facture-%d", len(b.lanes))}
	event := core.Event{ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "sellsy", Type: "estimate.step", ReceivedAt: time.Now(), Format: core.FormatNone}
	if _, err := b.Append(ctx, []store.Accepted{{Event: event, Deliveries: []store.NewDelivery{{Destination: to}}}}); err != nil {
		t.Fatal(err)
	}
	list, err := b.Deliveries(ctx, store.DeliveryFilter{Event: event.ID, Limit: 1})
	if err != nil || len(list) != 1 {
		t.Fatalf("deliveries of the event: %v, %v", list, err)
	}
	work, err := b.Work(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range work {
		if w.Destination == to {
			b.lanes[list[0].ID] = w.Lane
			return list[0].ID
		}
	}
	t.Fatalf("no lane for %v in %v", to, work)
	return 0
}

func (b *sqliteBook) Hold(t *testing.T, id core.DeliveryID) store.Holder {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if holder, lapsed := b.held[id]; lapsed {
		b.finish(t, holder, store.VerdictReturn)
	}
	claimed, err := b.Claim(t.Context(), store.ClaimParams{
		Node: "test", Lease: lease, Max: 1, Lanes: []store.LaneRoom{{Lane: b.lanes[id], Max: 1, Window: 16}},
	})
	if err != nil || len(claimed) != 1 || claimed[0].Delivery.ID != id {
		t.Fatalf("claim of %s: %v, %v", id, claimed, err)
	}
	b.held[id] = store.Holder{Delivery: id, Claim: claimed[0].Delivery.Claim, Node: "test"}
	return b.held[id]
}

func (b *sqliteBook) Release(t *testing.T, holder store.Holder) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finish(t, holder, store.VerdictDefer)
}

func (b *sqliteBook) finish(t *testing.T, holder store.Holder, verdict store.Verdict) {
	t.Helper()
	delete(b.held, holder.Delivery)
	errs, err := b.Finish(t.Context(), []store.Outcome{{Holder: holder, Verdict: verdict, Attempt: store.Attempt{Started: time.Now()}}})
	if err != nil || errs[0] != nil {
		t.Fatal(err, errs)
	}
}
