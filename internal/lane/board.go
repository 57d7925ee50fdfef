package lane

import (
	"container/heap"
	"sync"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// lane is what this process knows of one destination's flow. Its fields are the board's, under its lock.
type lane struct {
	id   store.LaneID
	dest core.Destination

	// more says that a claim could find something; queued, that the lane stands in the ring. A lane
	// with more that isn't queued is parked: its window is full, or its breaker rests, and the end of
	// an attempt or of the rest queues it again.
	more, queued bool
	ticket       int  // of its place in a ring; other places are left over
	fresh        bool // that place is among the fresh ones
	early        bool // that place is among those put aside that were woken
	running      int
	// quantum is how many deliveries a claim asks for at most: twice as many after each that got them all. 0 for a
	// lane that no claim has asked yet.
	quantum int
	due     time.Time // when to look next; zero for never
	heapAt  int       // place in the board's heap; -1 when due is zero
	breaker core.BreakerState

	// blocked counts the looks in a row that saw something due that no claim got: the lane is paused,
	// or ordered behind a delivery that waits. Each makes the next look later.
	blocked      int
	blockedUntil time.Time
	// emptied is when a claim took less than it could; zero once it is known when the next is due.
	emptied time.Time

	// Signs of a destination that hangs, read when the node is past half of its bounds.
	timedOut bool      // its last attempt to end timed out
	proven   bool      // an attempt ended otherwise and soon, and since then it never looked like hanging
	lastSign time.Time // the start of the first of what runs, or the last end
}

// hangAfter is how long a lane's attempts may run, none ending, before they count as hanging.
const hangAfter = 10 * time.Second

// hangs tells whether the lane's attempts time out, or look like it.
func (l *lane) hangs(now time.Time) bool {
	return l.timedOut || l.running > 0 && now.Sub(l.lastSign) > hangAfter
}

// board is the lanes known to this process: which of them stand in the ring, to be claimed from in
// turn, and when the others are due.
//
// A lane that was idle and is woken stands in a ring of its own, fresh, which is served beside the other: its
// delivery doesn't wait for a turn of all the lanes with a backlog. Once served it is a lane as all others.
type board struct {
	mu     sync.Mutex
	byID   map[store.LaneID]*lane
	byDest map[core.Destination]*lane
	ring   []place
	fresh  []place
	odd    int // 1 when fresh has the odd place of this claim
	// aside are the lanes whose share of the node is used up: each claim looks at the first of each ring, where it
	// would have to go around thousands. Those that were woken come first, or a new destination would wait until
	// everybody that was there before had its turn; then the others; and those that hang by themselves.
	aside   [3][]place
	dues    dueHeap
	held    map[core.DeliveryID]work // what this process works on
	bytes   int64
	largest int64 // a recent delivery's bytes: what a claim's unknown ones are taken to be
	// unproven is how many of the held are of lanes that hadn't shown that they answer when these began.
	unproven int
	// lastProof is when a lane last showed that it answers that hadn't before.
	lastProof time.Time
	// first is what a lane is asked for that no claim has asked yet: as much as the last such lane gave.
	first int
}

// work is a delivery that this process works on.
type work struct {
	lane     *lane
	bytes    int64
	unproven bool
}

func newBoard() *board {
	return &board{
		byID:   map[store.LaneID]*lane{},
		byDest: map[core.Destination]*lane{},
		held:   map[core.DeliveryID]work{},
		first:  leastQuantum,
	}
}

// learn returns the lane of that work, making it at need.
func (b *board) learn(w store.LaneWork) *lane {
	l := b.byID[w.Lane]
	if l == nil {
		l = &lane{id: w.Lane, dest: w.Destination, heapAt: -1, breaker: w.Breaker}
		b.byID[w.Lane] = l
		b.byDest[w.Destination] = l
	}
	return l
}

// push puts the lane at the end of the ring, unless it stands in one.
func (b *board) push(l *lane) {
	if !l.queued {
		b.queue(l, &b.ring)
		return
	}
	l.more = true
	l.emptied = time.Time{}
}

// place is a lane's in a ring, unless it has taken another since.
type place struct {
	lane   *lane
	ticket int
}

func (b *board) queue(l *lane, ring *[]place) {
	l.more, l.queued = true, true
	l.emptied = time.Time{}
	l.ticket++
	*ring = append(*ring, place{l, l.ticket})
}

// pop takes the lane at the head of the ring, or of the fresh ones where they may have a turn: nil where it
// has left that place. It still has more.
func (b *board) pop(fresh bool) (next *lane, isFresh bool) {
	ring := &b.ring
	if len(b.fresh) > 0 && (fresh || len(b.ring) == 0) {
		ring, isFresh = &b.fresh, true
	}
	head := (*ring)[0]
	dropHead(ring)
	if head.ticket != head.lane.ticket {
		return nil, false
	}
	head.lane.queued, head.lane.fresh = false, false
	return head.lane, isFresh
}

func dropHead(ring *[]place) {
	(*ring)[0] = place{}
	*ring = (*ring)[1:]
}

// putAside keeps a lane with more, and nothing running, out of the ring until its share has room.
func (b *board) putAside(l *lane, hangs, fresh bool) {
	ring := &b.aside[1]
	switch {
	case hangs:
		ring = &b.aside[2]
	case fresh:
		ring = &b.aside[0]
	}
	b.queue(l, ring)
	l.early = fresh && !hangs
}

// takeBack is the first of the lanes put aside that its share has room for again; nil where there is none.
func (b *board) takeBack(s *share, now time.Time) *lane {
	for i := range b.aside {
		ring := &b.aside[i]
		for len(*ring) > 0 && (*ring)[0].ticket != (*ring)[0].lane.ticket {
			dropHead(ring) // it was woken since
		}
		if len(*ring) == 0 || s.places(b, (*ring)[0].lane, 1, now) <= 0 {
			continue
		}
		l := (*ring)[0].lane
		dropHead(ring)
		l.queued, l.early = false, false
		return l
	}
	return nil
}

// queued is how many places the rings have that a claim goes around.
func (b *board) queued() int { return len(b.ring) + len(b.fresh) }

// asides is how many places those put aside have.
func (b *board) asides() int { return len(b.aside[0]) + len(b.aside[1]) + len(b.aside[2]) }

// wake says that something new is due in the lane. One that runs nothing and gave little the last time is taken to
// be idle: what it gave may have been all, and its place in the ring a mistake.
func (b *board) wake(l *lane) {
	if l.running > 0 || l.timedOut || l.quantum > leastQuantum || l.fresh || l.early {
		b.resume(l)
		return
	}
	l.blocked, l.blockedUntil = 0, time.Time{}
	b.queue(l, &b.fresh)
	l.fresh = true
}

// resume says that what kept the lane's deliveries may be over.
func (b *board) resume(l *lane) {
	l.blocked, l.blockedUntil = 0, time.Time{}
	b.push(l)
}

// lookAt makes the lane due at that time, if it isn't due earlier.
func (b *board) lookAt(l *lane, at time.Time) {
	switch {
	case l.heapAt < 0:
		l.due = at
		heap.Push(&b.dues, l)
	case at.Before(l.due):
		l.due = at
		heap.Fix(&b.dues, l.heapAt)
	}
}

// ripen queues the lanes that are due and returns when the next one will be; zero for never.
func (b *board) ripen(now time.Time) time.Time {
	for len(b.dues) > 0 {
		l := b.dues[0]
		if l.due.After(now) {
			return l.due
		}
		heap.Pop(&b.dues)
		l.due = time.Time{}
		b.push(l)
	}
	return time.Time{}
}

// start notes a delivery that this process now works on.
func (b *board) start(l *lane, id core.DeliveryID, size int64, now time.Time) {
	if l.running == 0 {
		l.lastSign = now
	}
	l.running++
	if before, twice := b.held[id]; twice {
		// An attempt that lost its claim still runs, and the delivery came back: what counts is the newer.
		b.forget(before)
	}
	b.held[id] = work{l, size, !l.proven}
	if !l.proven {
		b.unproven++
	}
	b.bytes += size
	b.largest = max(size, b.largest-b.largest/8)
}

// end notes a delivery that this process no longer works on: its outcome is stored.
func (b *board) end(l *lane, id core.DeliveryID) {
	l.running--
	b.forget(b.held[id])
	delete(b.held, id)
}

func (b *board) forget(w work) {
	if w.unproven {
		b.unproven--
	}
	b.bytes -= w.bytes
}

// hanging counts what the lanes that hang have running.
func (b *board) hanging(now time.Time) int {
	n := 0
	for _, w := range b.held {
		if w.lane.hangs(now) {
			n++
		}
	}
	return n
}

// dueHeap is the lanes that are due at some time, the earliest first.
type dueHeap []*lane

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

func (h *dueHeap) Push(x any) {
	l := x.(*lane)
	l.heapAt = len(*h)
	*h = append(*h, l)
}

func (h *dueHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.heapAt = -1
	return l
}
