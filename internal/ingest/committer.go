package ingest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Bounds of one transaction. Larger ones sync no faster for each event, and make the next batch wait.
const (
	maxBatch      = 512
	maxBatchBytes = 8 << 20
	keptBatch     = 4 * maxBatch // a larger one is not kept for the next transaction
	// maxSplits bounds the transactions that one failing batch may cost: to find one culprit among 512
	// takes 18. Past it the rest is refused, and comes back.
	maxSplits = 64
	// Under load a transaction waits for a tick at most until as many wait for it as the last ones had; after another that it
	// stood beside for more ticks, while more come, up to gatherTime. Each costs a commit and a sync; with some more in
	// each, all cost less. Few never wait.
	gatherTick = 60 * time.Microsecond
	gatherTime = time.Millisecond
	gatherFrom = 8
	// Beside a transaction in flight another one begins with this many, or after this long: the statements of a few
	// cost a database as much as those of many.
	besideFrom = 32
	besideTime = 3 * time.Millisecond
)

var errStopping = errors.New("relais is stopping")

// pending is the accepted events of a request that wait for their commit, which is one for all of them. Its
// owner blocks on done and uses it again.
type pending struct {
	accepted []store.Accepted
	done     chan result // holds one
}

// result is what became of a request's events, in their order.
type result struct {
	appended []store.Appended
	err      error
}

// committer makes one transaction of all that gathered while the last one synced. On a database that has
// several transactions in flight at once it makes the next one beside it, once enough have gathered.
type committer struct {
	store Store
	wake  func([]store.Accepted, []store.Appended)
	log   *slog.Logger

	mu      sync.Mutex
	queue   []*pending
	stopped bool
	flying  int           // transactions under way
	work    chan struct{} // holds one: there is something in the queue
	wanted  int           // the queue's length that ends a wait; 0 while there is none
	enough  chan struct{} // holds one for each worker: the queue has that length
}

// worker has one transaction in flight at a time.
type worker struct {
	*committer
	timer        *time.Timer
	last, before int              // the sizes of its last two batches
	batch        []store.Accepted // used again by each transaction that ends well
}

func newCommitter(s Store, wake func([]store.Accepted, []store.Appended), log *slog.Logger) *committer {
	return &committer{store: s, wake: wake, log: log, work: make(chan struct{}, 1)}
}

// commit returns when the event is stored and synced, or can't be.
func (c *committer) commit(p *pending) result {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return result{err: errStopping}
	}
	c.queue = append(c.queue, p)
	first := len(c.queue) == 1
	if len(c.queue) == c.wanted {
		c.wanted = 0
		c.enough <- struct{}{}
	}
	c.mu.Unlock()
	if first {
		signal(c.work)
	}
	return <-p.done
}

// run commits until ctx ends and the queue is empty, with up to that many transactions in flight.
func (c *committer) run(ctx context.Context, inFlight int) {
	inFlight = max(inFlight, 1)
	c.mu.Lock()
	// Who sends here holds the lock, and must not wait for a worker that has given up and wants the lock itself.
	c.enough = make(chan struct{}, inFlight)
	c.mu.Unlock()
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() { (&worker{committer: c, timer: time.NewTimer(0)}).run(ctx) })
	}
	workers.Wait()
}

func (w *worker) run(ctx context.Context) {
	var batch []*pending
	for {
		select {
		case <-w.work:
		case <-ctx.Done():
			w.mu.Lock()
			w.stopped = true
			w.mu.Unlock()
		}
		for w.gather() {
			batch = w.take(batch[:0])
			w.last, w.before = len(batch), w.last
			if len(batch) == 0 {
				break
			}
			splits := maxSplits
			w.settle(batch, &splits)
			w.land()
		}
		if ctx.Err() != nil {
			w.mu.Lock()
			end := w.stopped && len(w.queue) == 0
			w.mu.Unlock()
			if end {
				return
			}
		}
	}
}

// gather waits until about as many are in the queue as the last transactions had, or not much longer.
// Beside another transaction it waits for longer: that one's end would serve those that are here as well; and when that
// one has ended, while more come: the senders that it answered send again. It returns false when another worker waits
// already, which takes all.
func (w *worker) gather() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for landed := (time.Time{}); ; {
		if w.wanted > 0 {
			return false
		}
		beside := w.flying > 0
		many, most := max(w.last, w.before), gatherTick
		if beside {
			many, most = max(many, besideFrom), besideTime
		}
		n := len(w.queue)
		if many < gatherFrom || n == 0 || n >= many || w.stopped {
			return true
		}
		w.wanted = many
		w.mu.Unlock()
		inTime := w.await(most)
		w.mu.Lock()
		if inTime {
			landed = time.Now() // or there are as many
			continue
		}
		if w.wanted == 0 {
			<-w.enough
		}
		w.wanted = 0
		if beside || len(w.queue) == n || time.Since(landed) >= gatherTime {
			return true
		}
	}
}

// await waits until the queue has what is wanted, or the transaction beside has ended.
func (w *worker) await(most time.Duration) bool {
	w.timer.Reset(most)
	select {
	case <-w.enough:
		return true
	case <-w.timer.C:
		return false
	}
}

// land notes the end of a transaction. Who waits beside it need not any longer.
func (w *worker) land() {
	w.mu.Lock()
	w.flying--
	if w.wanted > 0 && w.flying == 0 {
		w.wanted = 0
		w.enough <- struct{}{}
	}
	w.mu.Unlock()
}

// take moves the oldest of the queue into dst, as many as one transaction may have. A request that holds
// more makes one of its own.
func (c *committer) take(dst []*pending) []*pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	events, bytes := 0, 0
	for _, p := range c.queue {
		events += len(p.accepted)
		for i := range p.accepted {
			bytes += len(p.accepted[i].Event.Body) + len(p.accepted[i].Event.Header)
		}
		if len(dst) > 0 && (events > maxBatch || bytes > maxBatchBytes) {
			break
		}
		dst = append(dst, p)
	}
	rest := copy(c.queue, c.queue[len(dst):])
	clear(c.queue[rest:])
	c.queue = c.queue[:rest]
	if len(dst) > 0 {
		c.flying++
	}
	if rest > 0 {
		signal(c.work) // another worker's, while this one commits
	}
	return dst
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// settle stores a batch, or the parts of it that can be stored. An error that is the store's own refuses
// all at once: nothing in the batch could change it, unless it names the events that others keep back; these are
// refused, and the rest goes on without them. Any other is the fault of an event in it, which is
// found by halves, so that it is refused alone.
func (w *worker) settle(batch []*pending, splits *int) {
	err := w.append(batch)
	var busy *store.BusyError
	switch {
	case err == nil:
		return
	case len(batch) == 1, *splits <= 0:
		w.refuse(batch, err)
		return
	case errors.As(err, &busy):
		held, free := apart(batch, busy.Events)
		w.refuse(held, err)
		if len(held) > 0 && len(free) > 0 {
			*splits--
			w.settle(free, splits)
		} else {
			w.refuse(free, err)
		}
		return
	case unavailable(err):
		w.refuse(batch, err)
		return
	}
	*splits -= 2
	half := len(batch) / 2
	w.settle(batch[:half], splits)
	w.settle(batch[half:], splits)
}

func (w *worker) refuse(batch []*pending, err error) {
	if len(batch) == 0 {
		return
	}
	w.log.Error("events could not be stored; they were answered with 503", "events", len(batch), "error", err)
	for _, p := range batch {
		p.done <- result{err: err}
	}
}

// apart takes the named events out of a batch.
func apart(batch []*pending, names []core.EventID) (named, others []*pending) {
	for _, p := range batch {
		if slices.ContainsFunc(p.accepted, func(a store.Accepted) bool { return slices.Contains(names, a.Event.ID) }) {
			named = append(named, p)
		} else {
			others = append(others, p)
		}
	}
	return named, others
}

func unavailable(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) ||
		core.CodeOf(err) == core.CodeUnavailable || core.CodeOf(err) == core.CodeFull
}

func (w *worker) append(batch []*pending) error {
	accepted := w.batch[:0]
	for _, p := range batch {
		accepted = append(accepted, p.accepted...)
	}
	w.batch = nil
	ctx, cancel := context.WithTimeout(context.Background(), commitBound)
	defer cancel()
	appended, err := w.store.Append(ctx, accepted)
	if err == nil && len(appended) != len(accepted) {
		err = errors.New("the store answered for another number of events")
	}
	if err != nil {
		return err // a store that timed out may hold the slice still
	}
	if w.wake != nil {
		w.wake(accepted, appended)
	}
	at := 0
	for _, p := range batch {
		// The owner uses its events again as soon as it is told.
		n := len(p.accepted)
		p.done <- result{appended: appended[at : at+n : at+n]}
		at += n
	}
	clear(accepted)
	if cap(accepted) > keptBatch {
		accepted = nil
	}
	w.batch = accepted
	return nil
}
