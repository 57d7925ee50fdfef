package app

import (
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// TestOrdersToFanOutDoNotQueue: a burst of events with very many destinations is expanded as fast as the
// store takes it, and not one page of orders a second.
func TestOrdersToFanOutDoNotQueue(t *testing.T) {
	r := start(t, t.TempDir(), `
sources:
  sellsy: {preset: sellsy, secret: "`+signingKey+`"}
routes:
  nothing:
    on: sellsy/estimate.step
    when: "false"
    steps: [{use: http/request, with: {url: "http://127.0.0.1:1/"}}]
`, nil)
	const n = 20 * fanOutOrders
	batch := make([]store.Accepted, n)
	for i := range batch {
		batch[i] = store.Accepted{FanOut: true, Event: core.Event{
			ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "sellsy", Type: "estimate.step",
			ReceivedAt: time.Now(), Format: core.FormatJSON, Body: []byte("{}"),
		}}
	}
	began := time.Now()
	if _, err := r.store.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	r.until("the expansion of all orders", func() bool {
		orders, err := r.store.PendingFanOuts(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return len(orders) == 0
	})
	if took := time.Since(began); took > n/fanOutOrders*fanOutEvery/2 {
		t.Errorf("%d orders took %v", n, took)
	}
	r.until("the end of every delivery", func() bool {
		stats, err := r.store.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stats.Pending+stats.Running == 0 && len(r.deliveries(core.StateSucceeded)) == 100
	})
}
