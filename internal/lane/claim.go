package lane

import (
	"cmp"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Bounds of one claim: large enough that a backlog moves in few transactions, small enough that the
// store's writer is never held for long.
const (
	claimLanes      = 64
	claimDeliveries = 128
	// A lane with a backlog gives up to so many parts of a claim: few lanes with many deliveries each cost less
	// than many with few, and on PostgreSQL the next claim and the outcomes meet other lanes.
	claimParts = 8
	// leastQuantum is what a lane is asked for that may have a single delivery, firstQuantum the most that one is
	// asked for which was never asked.
	leastQuantum = claimDeliveries / claimLanes
	firstQuantum = claimDeliveries / claimParts
	// While lanes show that they answer, one for the first time within proofHolds, and less than this part of the
	// node runs attempts of lanes that haven't, such a lane is given as much as others.
	unprovenPart = 4
	proofHolds   = time.Second
)

// Pauses between looks at a lane that has something due which no claim gets.
const (
	blockedPause    = 100 * time.Millisecond
	blockedPauseMax = 30 * time.Second
)

// claimLoop claims whenever a lane with work has room, until the lanes stop. It alone takes lanes from
// the ring, and it alone takes over, so that no take-over can mistake a claim under way for a lost one.
func (l *Lanes) claimLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !l.stopped() {
		next, again := l.step(l.now())
		if again {
			continue
		}
		wait := time.Hour
		if !next.IsZero() {
			// A store that counts in milliseconds calls a delivery due up to one later.
			wait = max(next.Sub(l.now()), 0) + time.Millisecond
		}
		timer.Reset(wait)
		select {
		case <-l.kicked:
		case <-timer.C:
		case <-l.stopping:
		}
	}
}

// step does what is next: a take-over, or a claim. Where there is nothing to do it returns when there
// may be; zero for when it is kicked.
func (l *Lanes) step(now time.Time) (next time.Time, again bool) {
	if now.Before(l.storeAfter) {
		return l.storeAfter, false
	}
	takeOver := l.lease.takeOverAt(now)
	if !takeOver.IsZero() && !now.Before(takeOver) {
		l.takeOver()
		return time.Time{}, true
	}
	next = earliest(l.wakeUp(now), takeOver)
	if !l.lease.holds(now) || l.finisher.stuck.Load() {
		return next, false
	}
	asked := l.plan(now)
	if len(asked) == 0 {
		return next, false
	}
	l.claim(asked, now)
	return time.Time{}, true
}

// wakeUp moves what was woken and what has become due to the ring, and returns when the next is due.
// A destination that isn't known yet is found by a scan: it was woken after its commit, so a scan that
// starts now sees it.
func (l *Lanes) wakeUp(now time.Time) time.Time {
	woken, all := l.inbox.take()
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	if all {
		for _, known := range l.board.byID {
			known.blocked, known.blockedUntil = 0, time.Time{}
		}
	}
	for dest := range woken {
		if known := l.board.byDest[dest]; known != nil {
			l.board.wake(known)
		} else {
			all = true
		}
	}
	if all {
		l.scanner.askFull()
	}
	return l.board.ripen(now)
}

// ask is a lane with what is asked of it.
type ask struct {
	lane *lane
	room store.LaneRoom
}

// plan takes the next lanes with room from the rings, each with its free window and a fair part of the
// node's. The rings are gone around at most once. The fresh ones have half of the room, and those put aside,
// where their share has room again, every other turn.
func (l *Lanes) plan(now time.Time) []ask {
	b := l.board
	b.mu.Lock()
	defer b.mu.Unlock()
	room := l.freeRoom()
	all := b.queued() + b.asides()
	if room <= 0 || all == 0 {
		return nil
	}
	// Lanes that haven't shown that they answer get the smaller part, unless such lanes do show it and few of
	// their attempts run: those that hang are known the sooner.
	part, least := max(1, room/min(all, claimParts)), max(1, room/min(all, claimLanes))
	b.odd = 1 - b.odd
	fresh := (room + b.odd) / 2
	share, trust := l.newShare(), 0
	if now.Sub(b.lastProof) < proofHolds {
		trust = l.bounds.Running/unprovenPart - b.unproven
	}
	var asked []ask
	visits := b.queued()
	for turn := 0; room > 0 && len(asked) < claimLanes; turn++ {
		var next *lane
		isFresh := false
		if turn%2 == 0 || visits == 0 {
			next = b.takeBack(&share, now)
		}
		if next == nil {
			if visits == 0 {
				break
			}
			visits--
			if next, isFresh = b.pop(fresh > 0); next == nil {
				continue
			}
		}
		settings, _, ok := l.settings(next.dest)
		if !ok {
			next.more = false // until it is configured, and a scan finds it again
			continue
		}
		n := min(l.freeWindow(next, settings, now), cmp.Or(next.quantum, b.first), part, room)
		if !next.proven && trust <= 0 {
			n = min(n, least)
		}
		if n <= 0 {
			continue // parked
		}
		if n = share.allow(b, next, n, now); n <= 0 {
			if next.running == 0 { // else an end of its own queues it
				b.putAside(next, next.hangs(now), isFresh)
			}
			continue
		}
		room -= n
		if !next.proven {
			trust -= n
		}
		if isFresh {
			fresh -= n
		}
		next.more = false // until the claim, or a wake-up meanwhile, says otherwise
		asked = append(asked, ask{next, store.LaneRoom{
			Lane: next.id, Max: n, Window: l.window(settings), Rate: settings.Rate, Burst: settings.Burst,
		}})
	}
	return asked
}

// freeRoom is how many deliveries one claim may bring. How large they are is known only when they are
// there, so each is taken to be as large as the largest of late; with nothing running, one is always
// allowed, or a single large event would wait for ever.
func (l *Lanes) freeRoom() int {
	b := l.board
	room := min(l.bounds.Running-len(b.held), claimDeliveries)
	left := l.bounds.Bytes - b.bytes
	if b.largest > 0 {
		room = int(min(int64(room), max(left, 0)/b.largest))
	}
	if room <= 0 && len(b.held) == 0 {
		return 1
	}
	return room
}

func (l *Lanes) window(s Settings) int {
	if s.Window > 0 {
		return s.Window
	}
	return l.bounds.Window
}

// freeWindow is what the lane may be given by its own window and breaker.
func (l *Lanes) freeWindow(next *lane, s Settings, now time.Time) int {
	switch next.breaker.Phase(now) {
	case core.BreakerResting:
		l.board.lookAt(next, next.breaker.RestUntil)
		return 0
	case core.BreakerProbing:
		return 1 - next.running
	}
	return l.window(s) - next.running
}

// share keeps destinations that hang from filling the node. Past half of its bounds, a lane that hasn't
// shown that it answers runs one attempt at a time; all that hang share a quarter; and the last quarter
// is for those that have shown it, so that even very many that are tried for the first time and hang
// leave room to those that don't.
type share struct {
	running int
	heavy   bool // past half of the bytes
	held    int  // with what this claim asks
	asked   int  // of these, by this claim for lanes that hang
	hanging int  // by lanes that hang, before this claim; -1 until it is needed
}

func (l *Lanes) newShare() share {
	return share{running: l.bounds.Running, heavy: l.board.bytes > l.bounds.Bytes/2, held: len(l.board.held), hanging: -1}
}

// allow is how many of the free places the lane takes.
func (s *share) allow(b *board, l *lane, free int, now time.Time) int {
	n := s.places(b, l, free, now)
	s.held += n
	if l.hangs(now) {
		s.asked += n
	}
	return n
}

// places is how many of the free places the lane may take.
func (s *share) places(b *board, l *lane, free int, now time.Time) int {
	hangs := l.hangs(now)
	if l.proven && !hangs {
		return free
	}
	half := (s.running+1)/2 - s.held
	if half > 0 && !s.heavy {
		return min(free, half)
	}
	if s.hanging < 0 {
		s.hanging = b.hanging(now)
	}
	if l.running > 0 || hangs && s.hanging+s.asked >= (s.running+3)/4 || !hangs && s.held >= (s.running*3+3)/4 {
		return 0
	}
	return 1
}

// claim asks the store and starts what it gives.
func (l *Lanes) claim(asked []ask, began time.Time) {
	p := store.ClaimParams{Node: l.node, Lease: l.bounds.Lease, Lanes: make([]store.LaneRoom, len(asked))}
	for i, a := range asked {
		p.Lanes[i] = a.room
		p.Max += a.room.Max
	}
	claimed, err := l.store.Claim(l.storeCtx, p)
	now := l.now()
	if err != nil {
		l.claimFailed(asked, now, err)
		return
	}
	l.storePause = 0
	l.start(claimed, now)
	got := make(map[store.LaneID]int, len(asked))
	for i := range claimed {
		got[claimed[i].Lane]++
	}
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	for _, a := range asked {
		l.after(a, got[a.room.Lane], began)
	}
}

// after decides when to look at a lane again that gave so many.
func (l *Lanes) after(a ask, got int, began time.Time) {
	if got > 0 {
		a.lane.blocked, a.lane.blockedUntil = 0, time.Time{}
	}
	if a.lane.quantum == 0 {
		a.lane.quantum = l.board.first
		l.board.first = leastQuantum
		if got >= a.room.Max {
			l.board.first = min(2*a.lane.quantum, firstQuantum)
		}
	}
	if got < a.room.Max {
		a.lane.quantum = leastQuantum
	}
	switch {
	case got >= a.room.Max:
		if got >= a.lane.quantum {
			a.lane.quantum = min(2*a.lane.quantum, claimDeliveries)
		}
		l.board.push(a.lane)
	case a.lane.queued: // woken during the claim
	case a.room.Rate > 0 && got > 0:
		l.board.lookAt(a.lane, began.Add(nextToken(a.room.Rate)))
	default:
		a.lane.emptied = began
		l.scanner.askOne(a.lane.id)
	}
}

// nextToken is how long a lane's rate takes for one more delivery.
func nextToken(rate float64) time.Duration {
	return min(max(time.Duration(float64(time.Second)/rate), 5*time.Millisecond), blockedPauseMax)
}

// claimFailed puts the lanes back and waits a while. A claim whose commit got no answer may have
// happened: the next take-over gives back what this process doesn't know of.
func (l *Lanes) claimFailed(asked []ask, now time.Time, err error) {
	if l.stopped() {
		return
	}
	l.log.Warn("claiming deliveries failed", "error", err)
	l.storePause = min(max(2*l.storePause, 100*time.Millisecond), 5*time.Second)
	l.storeAfter = now.Add(l.storePause)
	l.lease.askTakeOver()
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	for _, a := range asked {
		l.board.push(a.lane)
	}
}
