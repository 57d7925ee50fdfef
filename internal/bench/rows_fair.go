package bench

import (
	"context"
	"fmt"
	"time"
)

// fairWaiting is how many deliveries wait for destinations that hang, fairPerSecond how many a second a
// healthy one is sent meanwhile.
const (
	fairWaiting   = 100_000
	fairPerSecond = 200
	// fairRoutes is how many of the destinations that hang can be routes of a configuration.
	fairRoutes = 250
)

// fairHanging are the numbers of destinations that hang.
var fairHanging = []int{50, 5000}

// fair compares what comes to a healthy destination while very much waits for others that hang with what
// comes to it alone. Each server runs by itself, for longer than a hang takes: the first attempts, their
// end and the next are in its turns.
func (r *run) fair(ctx context.Context) error {
	for _, store := range []string{onSQLite, onPostgres} {
		calm, err := r.healthy(ctx, store, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
		r.report.add("end to end, "+store+", nothing hangs", "200/s", calm)
		for _, n := range fairHanging {
			beside, err := r.healthy(ctx, store, n)
			if err != nil {
				return fmt.Errorf("%s with %d that hang: %w", store, n, err)
			}
			r.report.add(fmt.Sprintf("end to end, %s, %d hang", store, n), "200/s", beside)
			r.report.judge(Target{
				Name: fmt.Sprintf("end to end p99, %s, %d destinations hang : none", store, n), Unit: "×", Limit: 2,
				Turns: starved(beside, ratios(beside, calm, (*turn).p99)),
				Note: fmt.Sprintf("%d deliveries wait for destinations that take %s to answer; the turns follow each other from the start of the server on; it has delivered to the healthy one once before they begin",
					r.fairWaiting(), hangs),
			})
		}
	}
	return nil
}

func (r *run) fairWaiting() int { return min(fairWaiting, r.opts.Events) }

// healthy measures a destination's deliveries, with so many others that hang.
func (r *run) healthy(ctx context.Context, store string, hanging int) ([]*turn, error) {
	p, err := r.place(ctx, store, fmt.Sprintf("fair-%d", hanging))
	if err != nil {
		return nil, err
	}
	defer r.remove(p)
	other, err := newReceiver(ctx)
	if err != nil {
		return nil, err
	}
	defer other.close()
	s := settings{deliver: other.url("/arrived")}
	// A client is patient with a host, not with a destination: each that hangs has a host to itself, or all
	// have one that the healthy doesn't share.
	var hosts []string
	for i := range max(1, hanging) {
		if hosts = append(hosts, fmt.Sprintf("127.0.2.%d:0", i+1)); hanging > fairRoutes {
			break
		}
	}
	slow, err := newReceiverOn(ctx, hosts...)
	if err != nil {
		return nil, err
	}
	defer slow.close()
	if hanging > fairRoutes {
		s.hang = slow.url("/hang")
	} else {
		s.lanes, s.laneURL = hanging, func(i int) string { return slow.urlOf(i, "/hang") }
	}
	if hanging > 0 {
		r.progress("  storing %d deliveries for %d destinations that hang, %s", r.fairWaiting(), hanging, store)
		if err := r.fillPlace(ctx, p, PrefillParams{First: 1, Waiting: r.fairWaiting(), Lanes: hanging}); err != nil {
			return nil, err
		}
	}
	c, err := r.serveOn(ctx, p, s)
	if err != nil {
		return nil, err
	}
	defer c.kill()
	// Of 200 a second, a short turn's p99 would be two of them.
	l := load{connections: connections, perSecond: fairPerSecond, duration: 3 * r.opts.Turn / 2}
	l.started = other.expecting(l)
	var turns []*turn
	for i := range r.opts.Rounds {
		r.progress("  turn %d of %d", i+1, r.opts.Rounds)
		t, err := r.turn(ctx, c, l)
		if err != nil {
			return nil, err
		}
		end, late, err := other.turn(ctx, t)
		if err != nil {
			return nil, err
		}
		turns = append(turns, end)
		if late > 0 {
			r.progress("  %d deliveries to the healthy destination came later than %s: no more turns", late, longest)
			break
		}
	}
	if hanging > 0 && slow.hanging.Load() == 0 {
		return nil, fmt.Errorf("nothing hangs: the row would not measure what it says")
	}
	return turns, c.stop()
}

// expecting makes a load's start that of a count of its documents.
func (r *receiver) expecting(l load) func(time.Time, time.Duration, int64) {
	return func(start time.Time, interval time.Duration, first int64) {
		r.expect(start, interval, first, int64(l.duration.Seconds()*float64(l.perSecond)))
	}
}

// turn waits for a load's documents and returns their way to here as a turn, with what the server took.
// Those that don't come are charged as the longest there is, and told: that they starve is what is measured.
func (r *receiver) turn(ctx context.Context, sent *turn) (*turn, int64, error) {
	seen, late, err := r.arrivals(ctx, longest)
	if err != nil {
		return nil, 0, err
	}
	if late > 0 {
		err = seen.RecordValues(longest.Microseconds(), late)
	}
	end := newMeasured()
	end.latency, end.elapsed = seen, sent.elapsed
	end.answered[200] = seen.TotalCount() - late
	end.failed = late
	return &turn{measured: end, processor: sent.processor, resident: sent.resident}, late, err
}

// starved is the worst alone where a turn's documents didn't come: no median makes up for it.
func starved(turns []*turn, values []float64) []float64 {
	if last := turns[len(turns)-1]; last.failed > 0 {
		return values[len(values)-1:]
	}
	return values
}
