package sqlite

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// benchStore opens a store that holds that many events, each with a finished delivery and a dedup key.
func benchStore(b *testing.B, stored int) *Store {
	s, err := Open(b.Context(), Options{Dir: b.TempDir(), Sync: SyncOff})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	n := 0
	for n < stored {
		if _, err := s.Append(b.Context(), benchBatch(min(500, stored-n), 1)); err != nil {
			b.Fatal(err)
		}
		n += 500
	}
	return s
}

var (
	benchBody   = make([]byte, 600)
	benchHeader = make([]byte, 250)
	benchSerial atomic.Uint64
)

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

// reportCPU tells the process's processor time for one event, the checkpoints included.
func reportCPU(b *testing.B, events int, run func()) {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	run()
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(spent)/float64(events)/1e3, "cpu-µs/event")
}

func BenchmarkAppend(b *testing.B) {
	for _, stored := range []int{0, 1_000_000} {
		var s *Store
		for _, size := range []int{1, 16, 32, 64} {
			b.Run(fmt.Sprintf("stored=%d/batch=%d", stored, size), func(b *testing.B) {
				if s == nil || stored == 0 {
					s = benchStore(b, stored)
				}
				s.writer.turn.Lock()
				if err := s.writer.conn.exec("PRAGMA synchronous = FULL"); err != nil {
					b.Fatal(err)
				}
				s.writer.turn.Unlock()
				b.ResetTimer()
				reportCPU(b, b.N*size, func() {
					for range b.N {
						if _, err := s.Append(b.Context(), benchBatch(size, 1)); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}

// BenchmarkAppendTogether has 64 callers with one event each, which is how ingest calls.
func BenchmarkAppendTogether(b *testing.B) {
	for _, stored := range []int{0, 1_000_000} {
		b.Run(fmt.Sprintf("stored=%d", stored), func(b *testing.B) {
			s := benchStore(b, stored)
			if err := s.writer.conn.exec("PRAGMA synchronous = FULL"); err != nil {
				b.Fatal(err)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			reportCPU(b, b.N, func() {
				var wg sync.WaitGroup
				for range 64 {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if _, err := s.Append(b.Context(), benchBatch(1, 1)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		})
	}
}

func BenchmarkClaimFinish(b *testing.B) {
	for _, waiting := range []int{0, 1_000_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			s, err := Open(b.Context(), Options{Dir: b.TempDir(), Sync: SyncOff})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			for n := 0; n < waiting+b.N*32; n += 500 {
				if _, err := s.Append(b.Context(), benchBatch(500, 10_000)); err != nil {
					b.Fatal(err)
				}
			}
			after := store.LaneID(0)
			b.ResetTimer()
			claimed := 0
			reportCPU(b, b.N*32, func() {
				for range b.N {
					work, err := s.Work(b.Context(), after, 32)
					if err != nil {
						b.Fatal(err)
					}
					p := store.ClaimParams{Node: "n", Max: 32}
					for _, w := range work {
						p.Lanes = append(p.Lanes, store.LaneRoom{Lane: w.Lane, Max: 1, Window: 16})
						after = w.Lane
					}
					if len(work) < 32 {
						after = 0
					}
					got, err := s.Claim(b.Context(), p)
					if err != nil {
						b.Fatal(err)
					}
					claimed += len(got)
					var outcomes []store.Outcome
					for _, c := range got {
						outcomes = append(outcomes, store.Outcome{
							Holder:  store.Holder{Delivery: c.Delivery.ID, Claim: c.Delivery.Claim, Node: "n"},
							Verdict: store.VerdictSucceeded, Attempt: store.Attempt{Started: time.Now(), Trace: benchHeader},
						})
					}
					if _, err := s.Finish(b.Context(), outcomes); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.ReportMetric(float64(claimed)/float64(b.N), "claimed/op")
		})
	}
}
