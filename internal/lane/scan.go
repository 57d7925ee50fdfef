package lane

import (
	"context"
	"sync"
	"time"

	"relais/internal/store"
)

const (
	// scanPage bounds one look into the index of pending deliveries.
	scanPage = 256
	// lookDelay gathers lanes that a claim emptied, so that a busy lane isn't looked at after each
	// claim, and bounds how late a delayed delivery's time is learned.
	lookDelay = 200 * time.Millisecond
	// lookLanes is how many lanes are worth looking at one by one; with more, the next scan is nearer.
	lookLanes = 64
	// scanGap keeps wake-ups of lanes that the index doesn't show (their deliveries were cancelled) from
	// making one scan after another.
	scanGap = 20 * time.Millisecond
)

// scanner finds work that this process wasn't told of: what was stored in an earlier life, what other
// nodes stored, what is due later.
type scanner struct {
	mu    sync.Mutex
	lanes map[store.LaneID]struct{}
	full  chan struct{} // a scan is wanted now
	some  chan struct{} // lanes holds something
}

func newScanner() *scanner {
	return &scanner{
		lanes: map[store.LaneID]struct{}{},
		full:  make(chan struct{}, 1),
		some:  make(chan struct{}, 1),
	}
}

func (s *scanner) askFull() { signal(s.full) }

// askOne asks for when the lane's next delivery is due.
func (s *scanner) askOne(id store.LaneID) {
	s.mu.Lock()
	s.lanes[id] = struct{}{}
	s.mu.Unlock()
	signal(s.some)
}

func (s *scanner) take() map[store.LaneID]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	lanes := s.lanes
	s.lanes = map[store.LaneID]struct{}{}
	return lanes
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// scanLoop scans at the start, every few seconds and when asked, and in between looks at the lanes that
// a claim emptied.
func (l *Lanes) scanLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	looking := time.NewTimer(time.Hour)
	defer looking.Stop()
	full, some := l.scanner.full, l.scanner.some
	for {
		select {
		case <-ctx.Done():
			return
		case <-some:
			some = nil
			looking.Reset(lookDelay)
		case <-looking.C:
			some = l.scanner.some
			l.lookAtSome(ctx)
		case <-full:
			full = nil // until the gap after this scan is over
			timer.Reset(max(scanGap, 4*l.scan(ctx)))
		case <-timer.C:
			if full == nil {
				full = l.scanner.full
				timer.Reset(l.bounds.Scan)
				continue
			}
			// A scan over very many lanes takes its time; it may take a part of this goroutine's, not all.
			timer.Reset(max(l.bounds.Scan, 20*l.scan(ctx)))
		}
	}
}

// scan hops over all lanes with pending deliveries, a page at a time, and returns how long it took: nothing
// where it failed, since how long a store was waited for in vain doesn't tell how much it has to look through.
func (l *Lanes) scan(ctx context.Context) time.Duration {
	began := l.now()
	after := store.LaneID(0)
	for {
		page, err := l.store.Work(ctx, after, scanPage)
		if err != nil {
			l.scanFailed(ctx, err)
			return 0
		}
		l.found(page)
		if len(page) < scanPage {
			break
		}
		after = page[len(page)-1].Lane
	}
	return l.now().Sub(began)
}

// lookAtSome learns when the next delivery of the lanes that were asked for is due.
func (l *Lanes) lookAtSome(ctx context.Context) {
	lanes := l.scanner.take()
	l.board.mu.Lock()
	for id := range lanes {
		if known := l.board.byID[id]; known == nil || known.emptied.IsZero() {
			delete(lanes, id) // it was queued since
		}
	}
	l.board.mu.Unlock()
	if len(lanes) > lookLanes {
		l.scanner.askFull()
		return
	}
	for id := range lanes {
		page, err := l.store.Work(ctx, id-1, 1)
		if err != nil {
			l.scanFailed(ctx, err)
			return
		}
		if len(page) > 0 && page[0].Lane == id {
			l.found(page)
		}
	}
}

func (l *Lanes) scanFailed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		l.log.Warn("looking for work failed", "error", err)
	}
}

// found queues the lanes that have something due, and notes when the others will. A lane that has
// something which was due when a claim left it empty is blocked by what only the store sees (a pause,
// its rate, its order), and is tried again later and later.
func (l *Lanes) found(page []store.LaneWork) {
	now := l.now()
	l.board.mu.Lock()
	for _, work := range page {
		// A rest kept under a clock that was set back since would last for long.
		if limit := now.Add(l.bounds.Breaker.MaxRest); work.Breaker.RestUntil.After(limit) {
			work.Breaker.RestUntil = limit
		}
		lane := l.board.learn(work)
		switch {
		case lane.more:
		case work.NextDue.After(now):
			l.board.lookAt(lane, work.NextDue)
		case work.NextDue.Before(lane.emptied):
			l.block(lane, now)
		case !now.Before(lane.blockedUntil):
			l.board.push(lane)
		}
		lane.emptied = time.Time{}
	}
	l.board.mu.Unlock()
	l.kick()
}

func (l *Lanes) block(lane *lane, now time.Time) {
	pause := min(blockedPause<<min(lane.blocked, 16), blockedPauseMax)
	if settings, _, ok := l.settings(lane.dest); ok && settings.Rate > 0 {
		pause = min(pause, nextToken(settings.Rate))
	}
	lane.blocked++
	lane.blockedUntil = now.Add(pause)
	l.board.lookAt(lane, lane.blockedUntil)
}
