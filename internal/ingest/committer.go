package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Bounds of one transaction. Larger ones sync no faster for each event, and make the next batch wait.
const (
	maxBatch      = 512
	maxBatchBytes = 8 << 20
	// maxSplits bounds the transactions that one failing batch may cost: to find one culprit among 512
	// takes 18. Past it the rest is refused, and comes back.
	maxSplits = 64
	// Under load a transaction waits this long at most until as many wait for it as the last ones had. Each
	// costs a commit and a sync; with some more in each, all cost less. Few never wait.
	gatherTime = 60 * time.Microsecond
	gatherFrom = 8
)

var errStopping = errors.New("relais is stopping")

// pending is an accepted event that waits for its commit. Its owner blocks on done and uses it again.
type pending struct {
	accepted store.Accepted
	done     chan result // holds one
}

type result struct {
	appended store.Appended
	err      error
}

// committer makes one transaction of all that gathered while the last one synced.
type committer struct {
	store Store
	wake  func([]store.Accepted, []store.Appended)
	log   *slog.Logger

	mu      sync.Mutex
	queue   []*pending
	stopped bool
	work    chan struct{} // holds one: there is something in the queue
	wanted  int           // the queue's length that ends a wait; 0 while there is none
	enough  chan struct{} // holds one: the queue has that length
	timer   *time.Timer   // of gather

	batch []store.Accepted // used again by each transaction that ends well
}

func newCommitter(s Store, wake func([]store.Accepted, []store.Appended), log *slog.Logger) *committer {
	return &committer{store: s, wake: wake, log: log, work: make(chan struct{}, 1), enough: make(chan struct{}, 1),
		timer: time.NewTimer(0)}
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
		select {
		case c.work <- struct{}{}:
		default:
		}
	}
	return <-p.done
}

// run commits until ctx ends and the queue is empty.
func (c *committer) run(ctx context.Context) {
	var batch []*pending
	last, before := 0, 0 // the sizes of the last two batches
	for {
		select {
		case <-c.work:
		case <-ctx.Done():
			c.mu.Lock()
			c.stopped = true
			c.mu.Unlock()
		}
		for {
			c.gather(max(last, before))
			batch = c.take(batch[:0])
			last, before = len(batch), last
			if len(batch) == 0 {
				break
			}
			splits := maxSplits
			c.settle(batch, &splits)
		}
		if ctx.Err() != nil {
			c.mu.Lock()
			end := c.stopped && len(c.queue) == 0
			c.mu.Unlock()
			if end {
				return
			}
		}
	}
}

// gather waits until that many are in the queue, or not much longer.
func (c *committer) gather(many int) {
	c.mu.Lock()
	wait := many >= gatherFrom && len(c.queue) > 0 && len(c.queue) < many && !c.stopped
	if wait {
		c.wanted = many
	}
	c.mu.Unlock()
	if !wait {
		return
	}
	c.timer.Reset(gatherTime)
	select {
	case <-c.enough:
		return
	case <-c.timer.C:
	}
	c.mu.Lock()
	if c.wanted == 0 {
		<-c.enough
	}
	c.wanted = 0
	c.mu.Unlock()
}

// take moves the oldest of the queue into dst, as many as one transaction may have.
func (c *committer) take(dst []*pending) []*pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	bytes := 0
	for _, p := range c.queue {
		bytes += len(p.accepted.Event.Body) + len(p.accepted.Event.Header)
		if len(dst) > 0 && (len(dst) == maxBatch || bytes > maxBatchBytes) {
			break
		}
		dst = append(dst, p)
	}
	rest := copy(c.queue, c.queue[len(dst):])
	clear(c.queue[rest:])
	c.queue = c.queue[:rest]
	return dst
}

// settle stores a batch, or the parts of it that can be stored. An error that is the store's own refuses
// all at once: nothing in the batch could change it. Any other is the fault of an event in it, which is
// found by halves, so that it is refused alone.
func (c *committer) settle(batch []*pending, splits *int) {
	err := c.append(batch)
	switch {
	case err == nil:
		return
	case len(batch) == 1, unavailable(err), *splits <= 0:
		c.log.Error("events could not be stored; they were answered with 503", "events", len(batch), "error", err)
		for _, p := range batch {
			p.done <- result{err: err}
		}
		return
	}
	*splits -= 2
	half := len(batch) / 2
	c.settle(batch[:half], splits)
	c.settle(batch[half:], splits)
}

func unavailable(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) ||
		core.CodeOf(err) == core.CodeUnavailable || core.CodeOf(err) == core.CodeFull
}

func (c *committer) append(batch []*pending) error {
	accepted := c.batch[:0]
	for _, p := range batch {
		accepted = append(accepted, p.accepted)
	}
	c.batch = nil
	ctx, cancel := context.WithTimeout(context.Background(), commitBound)
	defer cancel()
	appended, err := c.store.Append(ctx, accepted)
	if err == nil && len(appended) != len(batch) {
		err = errors.New("the store answered for another number of events")
	}
	if err != nil {
		return err // a store that timed out may hold the slice still
	}
	if c.wake != nil {
		c.wake(accepted, appended)
	}
	for i, p := range batch {
		p.done <- result{appended: appended[i]}
	}
	clear(accepted)
	c.batch = accepted
	return nil
}
