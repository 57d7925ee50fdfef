package lane

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	// finishBatch bounds one write of outcomes.
	finishBatch = 256
	// Pauses between tries to write outcomes while the store is away.
	finishPause    = 50 * time.Millisecond
	finishPauseMax = 5 * time.Second
	// Pauses between tries of an outcome that the store refuses for itself.
	asidePause    = time.Second
	asidePauseMax = time.Minute
	// deadAtOnce bounds how many callers of OnDead run at once.
	deadAtOnce = 16
)

// finisher gathers outcomes while a write is under way; the next write takes them all. A lone outcome
// waits for nothing.
type finisher struct {
	mu       sync.Mutex
	waiting  []ended
	last     int // how many the last write took: about as many will gather during the next
	breakers map[store.LaneID]core.BreakerState
	some     chan struct{}
	// stuck says that outcomes wait for a store that refuses them: nothing new is claimed meanwhile,
	// or memory would fill with what can't be written.
	stuck atomic.Bool
}

func newFinisher() *finisher {
	return &finisher{breakers: map[store.LaneID]core.BreakerState{}, some: make(chan struct{}, 1)}
}

func (f *finisher) put(e ended) {
	f.mu.Lock()
	if f.waiting == nil {
		f.waiting = make([]ended, 0, f.last+1)
	}
	f.waiting = append(f.waiting, e)
	f.mu.Unlock()
	signal(f.some)
}

func (f *finisher) keepBreaker(id store.LaneID, b core.BreakerState) {
	f.mu.Lock()
	f.breakers[id] = b
	f.mu.Unlock()
	signal(f.some)
}

func (f *finisher) take() ([]ended, map[store.LaneID]core.BreakerState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(f.waiting), finishBatch)
	batch := f.waiting[:n:n]
	f.last = n
	if f.waiting = f.waiting[n:]; len(f.waiting) == 0 {
		f.waiting = nil
	} else {
		signal(f.some)
	}
	if len(f.breakers) == 0 {
		return batch, nil
	}
	breakers := f.breakers
	f.breakers = map[store.LaneID]core.BreakerState{}
	return batch, breakers
}

// finishLoop writes outcomes until the attempts have ended and nothing waits, or the store's context is
// ended by a stop whose time is up.
func (l *Lanes) finishLoop() {
	for {
		batch, breakers := l.finisher.take()
		if len(batch) > 0 {
			l.finish(batch)
		}
		for id, b := range breakers {
			if err := l.store.SetBreaker(l.storeCtx, id, b); err != nil && l.storeCtx.Err() == nil {
				// The breaker holds in this process; a restart would begin with it closed.
				l.log.Warn("keeping a breaker failed", "lane", int64(id), "error", err)
			}
		}
		if len(batch) > 0 || len(breakers) > 0 {
			continue
		}
		select {
		case <-l.finisher.some:
		case <-l.attemptsEnded:
			if len(l.finisher.some) == 0 {
				return
			}
		}
	}
}

// finish writes the outcomes, again and again while the store is away. When a batch is refused for
// another reason each is written alone, and what is refused alone is set aside, so that one bad outcome
// holds no other.
func (l *Lanes) finish(batch []ended) {
	pause := finishPause
	for {
		err := l.writeBatch(batch)
		if err == nil {
			break
		}
		if l.storeCtx.Err() != nil {
			l.log.Error("outcomes could not be stored before the stop: their deliveries will run again",
				"count", len(batch), "error", err)
			break
		}
		if !errors.Is(err, store.ErrUnavailable) {
			l.finishApart(batch, err)
			break
		}
		if !l.finisher.stuck.Swap(true) {
			l.log.Error("the store takes no outcomes; nothing is claimed until it does", "waiting", len(batch), "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-l.storeCtx.Done():
			timer.Stop()
		}
		pause = min(2*pause, finishPauseMax)
	}
	if l.finisher.stuck.Swap(false) {
		l.kick()
	}
}

func (l *Lanes) finishApart(batch []ended, err error) {
	if len(batch) == 1 {
		l.setAside(batch[0], err)
		return
	}
	for i := range batch {
		l.finish(batch[i : i+1])
	}
}

// setAside tries an outcome again later. It keeps its place in the bounds, so that a store that refuses
// all of them ends up with nothing claimed.
func (l *Lanes) setAside(e ended, err error) {
	l.log.Error("an outcome can't be stored; it is tried again", "delivery", e.claimed.Delivery.ID.String(),
		"verdict", string(e.outcome.Verdict), "error", err)
	pause := min(asidePause<<min(e.tries, 16), asidePauseMax)
	e.tries++
	time.AfterFunc(pause, func() { l.finisher.put(e) })
}

func (l *Lanes) writeBatch(batch []ended) error {
	outcomes := make([]store.Outcome, len(batch))
	for i := range batch {
		outcomes[i] = batch[i].outcome
	}
	results, err := l.store.Finish(l.storeCtx, outcomes)
	if err != nil {
		return err
	}
	done := make([]ended, 0, len(batch))
	for i, e := range batch {
		switch {
		case results[i] == nil:
		case errors.Is(results[i], store.ErrLostClaim):
			l.log.Warn("an outcome came too late: the delivery is another claim's",
				"delivery", e.claimed.Delivery.ID.String(), "claim", e.claimed.Delivery.Claim, "verdict", string(e.outcome.Verdict))
			e.outcome = store.Outcome{} // of nobody's concern any more
		default:
			l.setAside(e, results[i])
			continue
		}
		done = append(done, e)
	}
	l.stored(done)
	return nil
}

// stored frees what the stored outcomes held, and looks at their lanes again.
func (l *Lanes) stored(done []ended) {
	now := l.now()
	b := l.board
	b.mu.Lock()
	for _, e := range done {
		b.end(e.lane, e.claimed.Delivery.ID)
		switch e.outcome.Verdict {
		case store.VerdictRetry, store.VerdictDefer:
			b.lookAt(e.lane, now.Add(e.outcome.Delay))
		case store.VerdictReturn:
			e.lane.more = true
		}
		// What waited for this one's place in an order is free now.
		if e.lane.more || e.ordered || e.lane.blocked > 0 {
			b.resume(e.lane)
		}
	}
	b.mu.Unlock()
	l.kick()
	for _, e := range done {
		if e.outcome.Verdict == store.VerdictDead {
			l.tellDead(*e.claimed, e.outcome)
		}
	}
}

// tellDead tells the operator's side of a dead delivery, apart from the writing of outcomes: whoever is
// told may be slow.
func (l *Lanes) tellDead(c store.Claimed, o store.Outcome) {
	l.metrics.Dead(c.Delivery.Destination.Kind)
	if l.onDead == nil {
		return
	}
	l.tellings.Go(func() {
		l.tellingAtOnce <- struct{}{}
		defer func() { <-l.tellingAtOnce }()
		defer func() {
			if cause := recover(); cause != nil {
				l.log.Error("telling of a dead delivery panicked", "delivery", c.Delivery.ID.String(), "panic", cause)
			}
		}()
		l.onDead(l.tellCtx, c, o)
	})
}
