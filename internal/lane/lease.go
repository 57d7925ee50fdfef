package lane

import (
	"context"
	"sync"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// lease is what this node may rely on: that nobody takes over what it runs.
type lease struct {
	length time.Duration
	alone  bool

	mu       sync.Mutex
	beaten   time.Time // when the last beat that held began; zero after one that failed
	since    time.Time // when the first of the row of beats that held began
	takeOver time.Time // the last take-over; zero before the first
	asked    bool      // a take-over is wanted as soon as it may be
}

// holds tells whether attempts may start. On a store that is this process's alone, nothing may be
// claimed before the first take-over either: it gives back all that runs.
func (l *lease) holds(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fresh(now) && (!l.alone || !l.takeOver.IsZero())
}

func (l *lease) fresh(now time.Time) bool {
	return !l.beaten.IsZero() && now.Sub(l.beaten) < l.length
}

// noteBeat notes a beat that began then, and tells whether that changed what holds.
func (l *lease) noteBeat(began time.Time, err error) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	had := l.fresh(began)
	if err != nil {
		l.beaten, l.since = time.Time{}, time.Time{}
		return had
	}
	if !had {
		l.since = began
	}
	l.beaten = began
	return !had
}

func (l *lease) askTakeOver() {
	l.mu.Lock()
	l.asked = true
	l.mu.Unlock()
}

// takeOverAt returns when to take over next; zero for not until a beat holds. With other nodes, only
// after beating for a full lease, because a node that was away itself would else judge the others by a
// clock of which it missed a part; then every ninth of a lease, so that a dead node's deliveries run
// again soon after its lease has lapsed. Alone, at the start, when asked, and now and then to be sure.
func (l *lease) takeOverAt(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.fresh(now):
		return time.Time{}
	case !l.alone:
		return latest(l.since.Add(l.length), l.takeOver.Add(l.length/9))
	case l.takeOver.IsZero():
		return now
	case l.asked:
		return l.takeOver.Add(time.Second)
	default:
		return l.takeOver.Add(10 * l.length)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// earliest returns the earlier of two times of which zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (l *lease) noteTakeOver(now time.Time) {
	l.mu.Lock()
	l.takeOver, l.asked = now, false
	l.mu.Unlock()
}

// beatLoop beats every third of the lease, and three times as often while it fails.
func (l *Lanes) beatLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := l.now()
		err := l.store.Beat(ctx, l.node, l.bounds.Lease)
		if ctx.Err() != nil {
			return
		}
		if l.lease.noteBeat(began, err) {
			if err != nil {
				l.log.Error("this node's beat failed; it starts no attempt", "error", err)
			} else {
				l.log.Info("this node beats", "node", l.node)
			}
		}
		pause := l.bounds.Lease / 3
		if err != nil {
			pause /= 3
		}
		timer.Reset(pause)
		// Not only a change: a take-over may have become due.
		l.kick()
	}
}

// stopsBySettings is Options.Stops of who doesn't say.
func (l *Lanes) stopsBySettings(d core.Destination) (stops, known bool) {
	settings, _, known := l.settings(d)
	return known && settings.FIFOStop, known
}

// takeOver gives back what nobody works on any more.
func (l *Lanes) takeOver() {
	l.board.mu.Lock()
	p := store.TakeOverParams{Node: l.node, MaxInterruptions: l.bounds.Interrupted, FIFOStop: l.stops}
	for id := range l.board.held {
		p.Held = append(p.Held, id)
	}
	l.board.mu.Unlock()
	taken, err := l.store.TakeOver(l.storeCtx, p)
	now := l.now()
	if err != nil {
		if !l.stopped() {
			l.log.Warn("taking over failed", "error", err)
		}
		l.storeAfter = now.Add(time.Second)
		return
	}
	l.lease.noteTakeOver(now)
	if taken.Returned > 0 || len(taken.Dead) > 0 {
		l.log.Info("took over interrupted deliveries", "returned", taken.Returned, "dead", len(taken.Dead))
		l.scanner.askFull()
	}
	for _, d := range taken.Dead {
		c := store.Claimed{Delivery: d}
		c.Event.ID, c.Event.Tenant = d.Event, d.Destination.Tenant
		l.tellDead(c, store.Outcome{
			Holder:  store.Holder{Delivery: d.ID, Claim: d.Claim, Node: l.node},
			Verdict: store.VerdictDead, Reason: d.Reason, Message: d.Message,
		})
	}
}
