//go:build unix

package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
		if _, err := s.Append(b.Context(), benchBatch(min(500, stored-n), 10_000)); err != nil {
			b.Fatal(err)
		}
		n += 500
	}
	s.writer.turn.Lock()
	defer s.writer.turn.Unlock()
	if err := s.writer.conn.exec("PRAGMA synchronous = FULL"); err != nil {
		b.Fatal(err)
	}
	return s
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
		b.Run(fmt.Sprintf("stored=%d", stored), func(b *testing.B) {
			s := benchStore(b, stored)
			for _, size := range []int{1, 16, 32, 64} {
				b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
					reportCPU(b, b.N*size, func() {
						for range b.N {
							if _, err := s.Append(b.Context(), benchBatch(size, 1)); err != nil {
								b.Fatal(err)
							}
						}
					})
				})
			}
			// 64 callers with one event each, which is how ingest calls.
			b.Run("together", func(b *testing.B) { appendTogether(b, s) })
		})
	}
}

func appendTogether(b *testing.B, s *Store) {
	var left atomic.Int64
	left.Store(int64(b.N))
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
}

// BenchmarkOpen tells how long it is from start to ready with a million events stored, the WAL full.
func BenchmarkOpen(b *testing.B) {
	s := benchStore(b, 1_000_000)
	dir := b.TempDir()
	copyFolder(b, filepath.Dir(s.path), dir)
	b.ResetTimer()
	for range b.N {
		opened, err := Open(b.Context(), Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := opened.Close(); err != nil {
			b.Fatal(err)
		}
		copyFolder(b, filepath.Dir(s.path), dir)
		b.StartTimer()
	}
}

// copyFolder copies the folder as a kill would leave it.
func copyFolder(b *testing.B, from, to string) {
	b.Helper()
	for _, name := range []string{databaseName, databaseName + "-wal"} {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("%s: %d MiB", name, len(content)>>20)
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClaimFinish(b *testing.B) {
	for _, waiting := range []int{20_000, 1_000_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			s := benchStore(b, waiting)
			after := store.LaneID(0)
			b.Run("each=32", func(b *testing.B) {
				claimed := 0
				reportCPU(b, b.N*32, func() {
					for range b.N {
						var got int
						got, after = claimAndFinish(b, s, after)
						claimed += got
					}
				})
				b.ReportMetric(float64(claimed)/float64(b.N), "claimed/op")
			})
		})
	}
}

// claimAndFinish takes one delivery of each of the next 32 lanes to its end.
func claimAndFinish(b *testing.B, s *Store, after store.LaneID) (int, store.LaneID) {
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
	return len(got), after
}
