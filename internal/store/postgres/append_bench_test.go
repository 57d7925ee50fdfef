//go:build unix

package postgres

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

var (
	benchBody   = make([]byte, 500)
	benchHeader = make([]byte, 250)
	benchSerial atomic.Uint64
)

// benchBatch makes events with a dedup key and one delivery.
func benchBatch(n, lanes int) []store.Accepted {
	batch := make([]store.Accepted, n)
	now := time.Now()
	for i := range batch {
		serial := benchSerial.Add(1)
		key := sha256.Sum256(binary.BigEndian.AppendUint64(nil, serial))
		batch[i] = store.Accepted{
			Event: core.Event{
				ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "sellsy", Type: "estimate.accepted",
				ReceivedAt: now, Format: core.FormatJSON, Header: benchHeader, Body: benchBody,
			},
			DedupKey: [16]byte(key[:16]), DedupWindow: 72 * time.Hour, RouteSet: "set",
			Deliveries: []store.NewDelivery{{
				Destination: core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: fmt.Sprint("route-", serial%uint64(lanes))},
				Priority:    core.PriorityNormal,
			}},
		}
	}
	return batch
}

// BenchmarkAppend sends batches of 60 events, as many at once as a node under load has in flight. An
// operation is a batch.
func BenchmarkAppend(b *testing.B) {
	for _, inFlight := range []int{1, 4} {
		b.Run(fmt.Sprintf("in_flight=%d", inFlight), func(b *testing.B) {
			s, err := Open(b.Context(), Options{URL: pgtest.URL(b)})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			const size = 60
			appendAtOnce(b, s, inFlight, 50*inFlight, size) // connections, prepared statements, lanes
			b.ResetTimer()
			appendAtOnce(b, s, inFlight, b.N, size)
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func appendAtOnce(b *testing.B, s *Store, inFlight, batches, size int) {
	var left atomic.Int64
	left.Store(int64(batches))
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := s.Append(b.Context(), benchBatch(size, 64)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
