package bench

import (
	"context"
	"errors"
	"sync"
	"time"
)

// turn is what one load on one server took.
type turn struct {
	*measured
	processor time.Duration
	resident  int64 // largest seen
}

// perAccept is the server's processor time for one accepted request, in microseconds.
func (t *turn) perAccept() float64 {
	return float64(t.processor.Nanoseconds()) / 1000 / float64(max(t.accepted(), 1))
}

func (t *turn) perSecond() float64 { return float64(t.accepted()) / t.elapsed.Seconds() }

func (t *turn) p99() float64 { return milliseconds(t.latency, 99) }

// turn warms a server up and measures one load. Requests that aren't accepted fail the run.
func (r *run) turn(ctx context.Context, c *child, l load) (*turn, error) {
	return r.turnOver(ctx, []*child{c}, l)
}

// turnOver shares a load's connections among several servers.
func (r *run) turnOver(ctx context.Context, servers []*child, l load) (*turn, error) {
	l.ids = &r.ids
	if l.path == "" {
		l.path, l.key = sourcePath, sourceKey
	}
	if l.duration == 0 {
		l.duration = r.opts.Turn
	}
	warm := l
	warm.duration, warm.started = l.duration/5, nil
	if _, err := warm.doOver(ctx, servers); err != nil {
		return nil, err
	}
	before, err := familiesTime(servers)
	if err != nil {
		return nil, err
	}
	watch := watchMemory(servers)
	seen, err := l.doOver(ctx, servers)
	resident := watch()
	if err != nil {
		return nil, err
	}
	for _, c := range servers {
		if err := c.alive(); err != nil {
			return nil, err
		}
	}
	after, err := familiesTime(servers)
	if err != nil {
		return nil, err
	}
	if err := seen.allAccepted(); err != nil {
		return nil, servers[0].failure(err.Error())
	}
	return &turn{measured: seen, processor: after - before, resident: resident}, nil
}

// doOver runs the load with its connections shared among the servers, all at once.
func (l *load) doOver(ctx context.Context, servers []*child) (*measured, error) {
	seen, failed := make([]*measured, len(servers)), make([]error, len(servers))
	var group sync.WaitGroup
	for i, c := range servers {
		part := *l
		part.address = c.address
		part.connections = (l.connections + i) / len(servers)
		group.Go(func() { seen[i], failed[i] = part.do(ctx) })
	}
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	all, elapsed := newMeasured(), time.Duration(0)
	for _, m := range seen {
		all.add(m)
		elapsed = max(elapsed, m.elapsed)
	}
	all.elapsed = elapsed
	return all, nil
}

// familiesTime is what servers have used of the processors, with the PostgreSQL that they share.
func familiesTime(servers []*child) (time.Duration, error) {
	total, err := servers[0].database.processorTime()
	if err != nil {
		return 0, err
	}
	for _, c := range servers {
		own, err := processorTime(c.pid())
		if err != nil {
			return 0, err
		}
		total += own
	}
	return total, nil
}

// watchMemory looks at the servers' memory ten times a second until the function that it returns is
// called; that one returns the largest that was seen of one.
func watchMemory(servers []*child) func() int64 {
	stop, result := make(chan struct{}), make(chan int64)
	go func() {
		var largest int64
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			for _, c := range servers {
				if bytes, err := residentBytes(c.pid()); err == nil {
					largest = max(largest, bytes)
				}
			}
			select {
			case <-ticker.C:
			case <-stop:
				result <- largest
				return
			}
		}
	}()
	return func() int64 { close(stop); return <-result }
}

// side is one of the two that take turns.
type side func(ctx context.Context) (*turn, error)

// alternate gives each side its turns, one after the other.
func (r *run) alternate(ctx context.Context, one, other side) (ones, others []*turn, err error) {
	return r.alternateFor(ctx, r.opts.Rounds, one, other)
}

func (r *run) alternateFor(ctx context.Context, rounds int, one, other side) (ones, others []*turn, err error) {
	for i := range rounds {
		r.progress("  turn %d of %d", i+1, rounds)
		a, err := one(ctx)
		if err != nil {
			return nil, nil, err
		}
		b, err := other(ctx)
		if err != nil {
			return nil, nil, err
		}
		ones, others = append(ones, a), append(others, b)
	}
	return ones, others, nil
}

// ratios divides what the turns of one side took by what the same turns of the other did.
func ratios(ones, others []*turn, of func(*turn) float64) []float64 {
	values := make([]float64, len(ones))
	for i := range ones {
		values[i] = of(ones[i]) / of(others[i])
	}
	return values
}

func each(turns []*turn, of func(*turn) float64) []float64 {
	values := make([]float64, len(turns))
	for i, t := range turns {
		values[i] = of(t)
	}
	return values
}

const megabyte = 1e6

// add makes a row of the report from all turns of one side.
func (r *Report) add(name, load string, turns []*turn) {
	sum := newMeasured()
	all := &turn{measured: sum}
	for _, t := range turns {
		sum.add(t.measured)
		all.processor += t.processor
		all.resident = max(all.resident, t.resident)
	}
	r.Rows = append(r.Rows, Row{
		Name: name, Load: load, Requests: all.requests(), Accepted: all.accepted(),
		PerSecond: all.perSecond(),
		P50:       milliseconds(all.latency, 50), P99: all.p99(), Max: milliseconds(all.latency, 100),
		Processor: all.perAccept(), Resident: float64(all.resident) / megabyte,
	})
}
