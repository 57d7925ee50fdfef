//go:build unix

package postgres

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// backlog makes a store in which deliveries wait, spread evenly over lanes.
func backlog(b *testing.B, lanes, deliveries int) *Store {
	b.Helper()
	s, err := Open(b.Context(), Options{URL: database(b)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	for _, sql := range []string{
		fmt.Sprintf("INSERT INTO lane (tenant, kind, name) SELECT 'default', 'route', 'r' || i FROM generate_series(1, %d) i", lanes),
		fmt.Sprintf(`INSERT INTO event (day, seq, id, tenant, source, type, at, format, flags, body)
			SELECT relais_now(NULL) / 86400000000, i, lpad(to_hex(i), 32, '0')::uuid, 'default', 's', 't', 0, 'json', 0, '{"id":52437688}'
			FROM generate_series(1, %d) i`, deliveries),
		fmt.Sprintf(`INSERT INTO delivery (event, event_day, event_seq, lane, source, class, due, route_set, created)
			SELECT lpad(to_hex(i), 32, '0')::uuid, relais_now(NULL) / 86400000000, i, 1 + i %% %d, 's', 4, i, 'set', i
			FROM generate_series(1, %d) i`, lanes, deliveries),
	} {
		if _, err := s.pool.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkClaim claims 500 of 1,000,000 that wait in 10,000 lanes: from 500 lanes one each, or from 63
// eight each, the next lanes each time.
func BenchmarkClaim(b *testing.B) {
	const lanes = 10_000
	s := backlog(b, lanes, 1_000_000)
	for _, each := range []int{1, 8} {
		b.Run(fmt.Sprintf("each=%d", each), func(b *testing.B) {
			next := 0
			for b.Loop() {
				p := store.ClaimParams{Node: "n", Max: 500}
				for range (500 + each - 1) / each {
					next++
					p.Lanes = append(p.Lanes, store.LaneRoom{Lane: store.LaneID(1 + next%lanes), Max: each, Window: 1000})
				}
				claimed, err := s.Claim(b.Context(), p)
				if err != nil || len(claimed) != 500 {
					b.Fatalf("%d claimed, %v", len(claimed), err)
				}
			}
		})
	}
	b.Run("work=1000", func(b *testing.B) {
		for b.Loop() {
			if work, err := s.Work(b.Context(), 0, 1000); err != nil || len(work) != 1000 {
				b.Fatalf("%d lanes, %v", len(work), err)
			}
		}
	})
}

// BenchmarkFinish claims and finishes, in batches, by several callers at once.
func BenchmarkFinish(b *testing.B) {
	const lanes, batch = 1000, 64
	s := backlog(b, lanes, 300_000)
	var claims []store.ClaimParams
	for from := range lanes / batch {
		p := store.ClaimParams{Node: "n", Max: batch}
		for i := range batch {
			p.Lanes = append(p.Lanes, store.LaneRoom{Lane: store.LaneID(1 + from*batch + i), Max: 1, Window: 1000})
		}
		claims = append(claims, p)
	}
	for _, callers := range []int{1, 4} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			turns := make(chan int)
			done := make(chan time.Duration)
			for range callers {
				go func() {
					var finishing time.Duration
					for turn := range turns {
						claimed, err := s.Claim(b.Context(), claims[turn%len(claims)])
						if err != nil || len(claimed) != batch {
							b.Errorf("%d claimed, %v", len(claimed), err)
						}
						outcomes := make([]store.Outcome, len(claimed))
						for i := range claimed {
							outcomes[i] = outcomeOf("n", &claimed[i].Delivery, store.VerdictSucceeded)
							outcomes[i].Attempt = store.Attempt{Started: time.Now(), Duration: time.Millisecond, Reason: core.ReasonNone, Trace: []byte(`{"status":200}`)}
						}
						began := time.Now()
						results, err := s.Finish(b.Context(), outcomes)
						finishing += time.Since(began)
						if err := errors.Join(append(results, err)...); err != nil {
							b.Error(err)
						}
					}
					done <- finishing
				}()
			}
			turn := 0
			for b.Loop() {
				turns <- turn
				turn++
			}
			close(turns)
			var finishing time.Duration
			for range callers {
				finishing += <-done
			}
			b.ReportMetric(float64(turn*batch)/b.Elapsed().Seconds(), "deliveries/s")
			b.ReportMetric(float64(finishing.Milliseconds())/float64(turn), "ms/finish")
		})
	}
}
