package bench

import (
	"context"
	"errors"
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
// comes to it alone. The servers of both run all the time, and take turns: what else this machine does changes from one
// ten seconds to the next by more than the two differ. The turns go on for longer than a hang takes: the first attempts,
// their end and the next are in them.
func (r *run) fair(ctx context.Context) error {
	for _, store := range []string{onSQLite, onPostgres} {
		for _, n := range fairHanging {
			calm, beside, err := r.fairTurns(ctx, store, n)
			if err != nil {
				return fmt.Errorf("%s with %d that hang: %w", store, n, err)
			}
			r.report.add("end to end, "+store+", nothing hangs", "200/s", calm)
			r.report.add(fmt.Sprintf("end to end, %s, %d hang", store, n), "200/s", beside)
			r.report.judge(Target{
				Name: fmt.Sprintf("end to end p99, %s, %d destinations hang : none", store, n), Unit: "×", Limit: 2,
				Turns: starved(beside, ratios(beside, calm, (*turn).p99)),
				Note: fmt.Sprintf("%d deliveries wait for destinations that take %s to answer; the turns go on for longer than that; each server has delivered to the healthy one once before",
					r.fairWaiting(), hangs),
			})
		}
	}
	return nil
}

// fairTurns are the turns of a server where nothing hangs, and of one where so many destinations do. They end with one
// that some deliveries were too late for.
func (r *run) fairTurns(ctx context.Context, store string, hanging int) (calm, beside []*turn, err error) {
	alone, err := r.healthy(ctx, store, 0)
	if err != nil {
		return nil, nil, err
	}
	defer alone.close()
	other, err := r.healthy(ctx, store, hanging)
	if err != nil {
		return nil, nil, err
	}
	defer other.close()
	for i := range r.opts.Rounds {
		r.progress("  turn %d of %d", i+1, r.opts.Rounds)
		a, lateAlone, err := alone.turn(ctx)
		if err != nil {
			return nil, nil, err
		}
		b, late, err := other.turn(ctx)
		if err != nil {
			return nil, nil, err
		}
		calm, beside = append(calm, a), append(beside, b)
		if late += lateAlone; late > 0 {
			r.progress("  %d deliveries to the healthy destination came later than %s: no more turns", late, longest)
			break
		}
	}
	if other.slow.hanging.Load() == 0 {
		return nil, nil, fmt.Errorf("nothing hangs: the row would not measure what it says")
	}
	return calm, beside, errors.Join(alone.server.stop(), other.server.stop())
}

func (r *run) fairWaiting() int { return min(fairWaiting, r.opts.Events) }

// healthy is a server with a destination that answers, and perhaps others that hang.
type healthy struct {
	r           *run
	at          place
	server      *child
	other, slow *receiver
	load        load
}

func (r *run) healthy(ctx context.Context, store string, hanging int) (h *healthy, err error) {
	h = &healthy{r: r}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.at, err = r.place(ctx, store, fmt.Sprintf("fair-%d", hanging)); err != nil {
		return nil, err
	}
	if h.other, err = newReceiver(ctx); err != nil {
		return nil, err
	}
	s := settings{deliver: h.other.url("/arrived")}
	// A client is patient with a host, not with a destination: each that hangs has a host to itself, or all
	// have one that the healthy doesn't share.
	var hosts []string
	for i := range max(1, hanging) {
		if hosts = append(hosts, fmt.Sprintf("127.0.2.%d:0", i+1)); hanging > fairRoutes {
			break
		}
	}
	if h.slow, err = newReceiverOn(ctx, hosts...); err != nil {
		return nil, err
	}
	if hanging > fairRoutes {
		s.hang = h.slow.url("/hang")
	} else {
		s.lanes, s.laneURL = hanging, func(i int) string { return h.slow.urlOf(i, "/hang") }
	}
	if hanging > 0 {
		r.progress("  storing %d deliveries for %d destinations that hang, %s", r.fairWaiting(), hanging, store)
		if err = r.fillPlace(ctx, h.at, PrefillParams{First: 1, Waiting: r.fairWaiting(), Lanes: hanging}); err != nil {
			return nil, err
		}
	}
	if h.server, err = r.serveOn(ctx, h.at, s); err != nil {
		return nil, err
	}
	// Of 200 a second, a short turn's p99 would be two of them.
	h.load = load{connections: connections, perSecond: fairPerSecond, duration: 3 * r.opts.Turn / 2}
	h.load.started = h.other.expecting(h.load)
	return h, nil
}

// turn sends for a while, and returns how it came to the healthy destination, and how much of it came too late.
func (h *healthy) turn(ctx context.Context) (*turn, int64, error) {
	sent, err := h.r.turn(ctx, h.server, h.load)
	if err != nil {
		return nil, 0, err
	}
	return h.other.turn(ctx, sent)
}

func (h *healthy) close() {
	if h.server != nil {
		h.server.kill()
	}
	for _, r := range []*receiver{h.slow, h.other} {
		if r != nil {
			r.close()
		}
	}
	if h.at.dir != "" {
		h.r.remove(h.at)
	}
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
