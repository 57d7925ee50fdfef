package lane

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// ended is an attempt that ended and whose outcome isn't stored yet.
type ended struct {
	lane    *lane
	claimed *store.Claimed
	outcome store.Outcome
	ordered bool // others may wait for this one to end
	tries   int  // to store it alone
}

// start begins an attempt of each claimed delivery. The lease is looked at again: a claim that took
// longer than the lease, or came back after a stop, is handed back untried.
func (l *Lanes) start(claimed []store.Claimed, now time.Time) {
	lanes := make([]*lane, len(claimed))
	l.board.mu.Lock()
	for i := range claimed {
		c := &claimed[i]
		lanes[i] = l.board.learn(store.LaneWork{Lane: c.Lane, Destination: c.Delivery.Destination})
		l.board.start(lanes[i], c.Delivery.ID, sizeOf(c), now)
	}
	l.board.mu.Unlock()
	for i := range claimed {
		// A copy: an attempt that takes long must not keep all that were claimed with it in memory.
		c := new(store.Claimed)
		*c = claimed[i]
		settings, runner, ok := l.settings(c.Delivery.Destination)
		if !ok || l.stopped() || !l.lease.holds(now) {
			l.finisher.put(ended{lane: lanes[i], claimed: c, outcome: l.handBack(c, now)})
			continue
		}
		l.metrics.AttemptStarted()
		l.attempts.run(func() { l.attempt(lanes[i], c, settings, runner) })
	}
}

// sizeOf is the memory that a claimed delivery holds, roughly.
func sizeOf(c *store.Claimed) int64 {
	n := len(c.Event.Body) + len(c.Event.Header) + len(c.Event.Query) + 1024
	for _, s := range c.Steps {
		n += len(s.Result)
	}
	return int64(n)
}

// attempt runs one delivery and passes its outcome on.
func (l *Lanes) attempt(lane *lane, c *store.Claimed, settings Settings, runner Runner) {
	started := l.now()
	raw := l.run(c, settings, runner, started)
	now := l.now()
	raw.Holder, raw.Lane, raw.Unordered = l.holder(c), c.Lane, !c.Delivery.Ordered
	e := ending{
		settings: settings, delivery: c.Delivery, now: now, jitter: l.jitter(),
		stopped: l.attemptsCtx.Err() != nil,
	}
	outcome := e.conclude(raw)
	outcome.Attempt = store.Attempt{
		Delivery: c.Delivery.ID, Claim: c.Delivery.Claim, Node: l.node,
		Started: started, Duration: now.Sub(started), Trace: raw.Attempt.Trace,
		Verdict: outcome.Verdict, Reason: attemptReason(raw, outcome), Message: outcome.Message,
	}
	l.metrics.AttemptEnded(c.Delivery.Destination.Kind, outcome.Attempt.Reason, now.Sub(started))
	timedOut := raw.Reason == core.ReasonTimeout || now.Sub(started) >= l.bounds.Timeout
	if raw.Reason != core.ReasonMaxAge { // else nobody was asked
		l.note(lane, evidenceOf(raw, outcome), timedOut, now.Sub(started) >= hangAfter, now)
	}
	l.finisher.put(ended{lane: lane, claimed: c, outcome: outcome, ordered: c.Delivery.Ordered})
}

// run calls the runner within the attempt's time. A delivery that is already too old isn't tried.
func (l *Lanes) run(c *store.Claimed, settings Settings, runner Runner, now time.Time) (o store.Outcome) {
	if tooOld(c.Delivery, now, settings.MaxAge) {
		return store.Outcome{Verdict: store.VerdictDead, Reason: core.ReasonMaxAge, Message: maxAgeMessage(settings.MaxAge)}
	}
	ctx, cancel := context.WithTimeout(l.attemptsCtx, l.bounds.Timeout)
	defer cancel()
	defer func() {
		if cause := recover(); cause != nil {
			l.log.Error("an attempt panicked", "delivery", c.Delivery.ID.String(),
				"destination", c.Delivery.Destination.String(), "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			o = store.Outcome{
				Verdict: store.VerdictRetry, Reason: core.ReasonInternal,
				Message: "relais failed while it ran this attempt; its log says where",
			}
		}
	}()
	o = runner.Run(ctx, c)
	if o.Reason == core.ReasonNone && o.Verdict == store.VerdictRetry && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		o.Reason = core.ReasonTimeout
	}
	return o
}

// handBack is the outcome of a delivery that wasn't tried.
func (l *Lanes) handBack(c *store.Claimed, now time.Time) store.Outcome {
	o := store.Outcome{Holder: l.holder(c), Lane: c.Lane, Unordered: !c.Delivery.Ordered, Verdict: store.VerdictReturn, Reason: core.ReasonInterrupted}
	o.Attempt = store.Attempt{
		Delivery: c.Delivery.ID, Claim: c.Delivery.Claim, Node: l.node, Started: now,
		Verdict: o.Verdict, Reason: o.Reason,
	}
	return o
}

func (l *Lanes) holder(c *store.Claimed) store.Holder {
	return store.Holder{Delivery: c.Delivery.ID, Claim: c.Delivery.Claim, Node: l.node}
}

// note tells the lane how its destination did. It doesn't wait for the outcome to be stored: while the
// store is away, what is known of the destination still counts. One that answers well and very slowly hasn't
// shown that all places may be given to it: thousands like it would have them all.
func (l *Lanes) note(lane *lane, e core.Evidence, timedOut, slow bool, now time.Time) {
	l.board.mu.Lock()
	defer l.board.mu.Unlock()
	lane.timedOut = timedOut
	proven := !timedOut && !slow
	if proven && !lane.proven {
		l.board.lastProof = now
	}
	lane.proven = proven
	lane.lastSign = now
	before := lane.breaker
	lane.breaker = l.bounds.Breaker.Note(before, e, now)
	if !lane.breaker.RestUntil.Equal(before.RestUntil) {
		l.finisher.keepBreaker(lane.id, lane.breaker)
		l.log.Info("a breaker changed", "destination", lane.dest.String(), "phase", lane.breaker.Phase(now),
			"failures", lane.breaker.Failures, "rest_until", lane.breaker.RestUntil)
	}
}
