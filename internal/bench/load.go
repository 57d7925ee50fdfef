package bench

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// load is requests for one server: so many a second on a schedule, or, when PerSecond is 0, as many as
// its connections can do one after the other.
type load struct {
	address     string
	path        string
	key         string // signs; the wrong one makes bad signatures
	connections int
	perSecond   int
	duration    time.Duration
	from        []netip.Addr // local addresses, in turn over the connections
	ids         *idSpace
	// started is told when the first request is due, the interval, and the first document number,
	// before anything is sent. It may be nil.
	started func(start time.Time, interval time.Duration, first int64)
}

// measured is what a load saw.
type measured struct {
	latency  *hdrhistogram.Histogram // microseconds, of requests that were answered 2xx
	answered map[int]int64           // by status
	failed   int64                   // without an answer
	firstErr error
	elapsed  time.Duration
}

// longest is the longest latency that a histogram tells from a longer one.
const longest = 60 * time.Second

func newMeasured() *measured {
	return &measured{
		latency:  hdrhistogram.New(1, longest.Microseconds(), 3),
		answered: map[int]int64{},
	}
}

func (m *measured) add(other *measured) {
	m.latency.Merge(other.latency)
	for status, n := range other.answered {
		m.answered[status] += n
	}
	m.failed += other.failed
	m.elapsed += other.elapsed
	if m.firstErr == nil {
		m.firstErr = other.firstErr
	}
}

// accepted counts the 2xx.
func (m *measured) accepted() int64 {
	var n int64
	for status, count := range m.answered {
		if status >= 200 && status < 300 {
			n += count
		}
	}
	return n
}

// requests counts all, answered or not.
func (m *measured) requests() int64 {
	n := m.failed
	for _, count := range m.answered {
		n += count
	}
	return n
}

func (m *measured) record(latency time.Duration, status int, err error) {
	if err != nil {
		m.failed++
		if m.firstErr == nil {
			m.firstErr = err
		}
		return
	}
	m.answered[status]++
	if status >= 200 && status < 300 {
		// Only a value past the longest is refused, and it is counted as the longest.
		_ = m.latency.RecordValue(min(latency, longest).Microseconds())
	}
}

// allAccepted is an error unless every request was answered 2xx: a row that was refused or failed in
// part measures something else than it says.
func (m *measured) allAccepted() error {
	if m.accepted() == m.requests() {
		return nil
	}
	return fmt.Errorf("of %d requests only %d were accepted: statuses %v, without an answer %d (first: %w)",
		m.requests(), m.accepted(), m.answered, m.failed, m.firstErr)
}

// worker is one connection with its own request and its own counts.
type worker struct {
	conn    conn
	request *request
	seen    *measured
}

func (l *load) workers(ctx context.Context) ([]*worker, error) {
	workers := make([]*worker, l.connections)
	until := time.Now().Add(l.duration + longest)
	for i := range workers {
		w := &worker{
			conn:    conn{address: l.address, until: until},
			request: newRequest(l.address, l.path, l.key),
			seen:    newMeasured(),
		}
		if len(l.from) > 0 {
			w.conn.from = l.from[i%len(l.from)]
		}
		if err := w.conn.dial(ctx); err != nil {
			return nil, err
		}
		workers[i] = w
	}
	return workers, nil
}

// do runs the load to its end: every request that was due has been answered or has failed.
func (l *load) do(ctx context.Context) (*measured, error) {
	workers, err := l.workers(ctx)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if l.perSecond > 0 {
		err = l.open(ctx, workers)
	} else {
		l.closed(ctx, workers)
	}
	all := newMeasured()
	for _, w := range workers {
		w.conn.close()
		all.add(w.seen)
	}
	all.elapsed = time.Since(begin)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return all, err
}

// open hands each request to a free connection when it is due. The queue between the schedule and the
// connections holds all of them, so that the schedule never waits: a server that stalls finds every
// request that was due in the meantime, and its latency counts from then.
func (l *load) open(ctx context.Context, workers []*worker) error {
	total := int64(l.duration.Seconds() * float64(l.perSecond))
	interval := time.Second / time.Duration(l.perSecond)
	first := l.ids.take(total)
	due := make(chan int64, total)
	start := time.Now().Add(10 * time.Millisecond)
	if l.started != nil {
		l.started(start, interval, first)
	}
	var group sync.WaitGroup
	for _, w := range workers {
		group.Go(func() {
			for i := range due {
				raw := w.request.prepare(first+i, time.Now())
				status, err := w.conn.exchange(ctx, raw)
				w.seen.record(time.Since(start.Add(time.Duration(i)*interval)), status, err)
			}
		})
	}
	err := pace(ctx, start, interval, total, func(i int64) { due <- i })
	close(due)
	group.Wait()
	return err
}

// closed keeps every connection busy until the time is over.
func (l *load) closed(ctx context.Context, workers []*worker) {
	end := time.Now().Add(l.duration)
	var group sync.WaitGroup
	for _, w := range workers {
		group.Go(func() {
			for {
				begin := time.Now()
				if begin.After(end) || ctx.Err() != nil || w.seen.failed > 100 {
					return
				}
				raw := w.request.prepare(l.ids.take(1), begin)
				status, err := w.conn.exchange(ctx, raw)
				w.seen.record(time.Since(begin), status, err)
			}
		})
	}
	group.Wait()
}
