package spool

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkSpooled is what an acknowledgement costs while the store is away.
func BenchmarkSpooled(b *testing.B) {
	for _, size := range []int{1, 64, maxBatch} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			remote := &fickle{}
			remote.away()
			s, err := New(Options{Dir: b.TempDir(), Store: remote, Rematch: toRoute, Bound: time.Second, MaxBytes: 1 << 40})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			serial, slowest := 0, time.Duration(0)
			for b.Loop() {
				batch := events(serial, size)
				serial += size
				begun := time.Now()
				if _, err := s.Append(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				slowest = max(slowest, time.Since(begun))
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(serial), "µs/event")
			b.ReportMetric(float64(slowest.Microseconds())/1000, "ms-slowest")
		})
	}
}
