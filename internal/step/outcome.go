package step

import (
	"context"
	"errors"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	// storeAway is how long a delivery waits when the store, and not its destination, was in the way.
	storeAway  = 5 * time.Second
	maxMessage = 1 << 10
)

// end turns a failed step into what it means for the delivery.
func (r *run) end(ctx context.Context, s *compiled, effects *heldEffects, err error) store.Outcome {
	switch {
	case errors.Is(err, store.ErrLostClaim):
		return lost()
	case errors.Is(err, store.ErrUnavailable):
		out := store.Outcome{Verdict: store.VerdictDefer, Delay: storeAway, Reason: core.ReasonInternal, Message: "the store is away"}
		if effects != nil && effects.inFlight() {
			out.Reason = core.ReasonSettling // which no age ends
		}
		return out
	}
	failure := r.asFailure(s, err)
	if stopped(ctx) && failure.Disposition != Final && failure.Disposition != Wait {
		return stoppedOutcome(ctx, s, effects, failure)
	}
	out := store.Outcome{Delay: failure.After, Reason: failure.Reason, Message: failure.Message}
	switch failure.Disposition {
	case Final:
		out.Verdict, out.Delay = store.VerdictDead, 0
	case Wait:
		out.Verdict = store.VerdictDefer
	case Unknown:
		return unknownOutcome(s, failure)
	default:
		out.Verdict = store.VerdictRetry
	}
	if out.Verdict != store.VerdictDead && out.Reason != core.ReasonSettling && effects != nil && effects.inFlight() {
		out.Reason = core.ReasonUnknown // whatever was in the way: no age ends it before that is looked up
	}
	return out
}

// stoppedOutcome ends an attempt that a stop cut short. Handing back says that nothing happened, so it is
// for what wasn't sent; what may have been sent runs again at once, and the ledger, the receiver or
// on_unknown decides.
func stoppedOutcome(ctx context.Context, s *compiled, effects *heldEffects, failure *Failure) store.Outcome {
	reason := core.ReasonInterrupted
	switch {
	case effects != nil && effects.inFlight():
		reason = core.ReasonSettling // which no age ends
	case failure.Disposition != Unknown:
		return interrupted(ctx, "interrupted by a stop")
	case s.stopsOnUnknown():
		return unknownOutcome(s, failure)
	}
	return store.Outcome{Verdict: store.VerdictDefer, Delay: failure.After, Reason: reason,
		Message: "interrupted by a stop after the request was sent; the next attempt finds out what became of it"}
}

func unknownOutcome(s *compiled, failure *Failure) store.Outcome {
	out := store.Outcome{Verdict: store.VerdictRetry, Delay: failure.After, Reason: core.ReasonUnknown, Message: failure.Message}
	if s.class != ClassAtLeastOnce && failure.Reason != core.ReasonNone {
		out.Reason = failure.Reason // repeating is safe, so that only the cause is of interest
	}
	if s.stopsOnUnknown() {
		out.Verdict, out.Delay = store.VerdictDead, 0
		out.Message += "; on_unknown is stop: look whether it arrived, then replay or leave it"
	}
	return out
}

func (s *compiled) stopsOnUnknown() bool {
	return s != nil && s.class == ClassAtLeastOnce && s.OnUnknown == "stop"
}

// asFailure reads a step's error. What a kind didn't foresee is a fault of ours: it is logged in full,
// and told without its text, which nobody made fit for users.
func (r *run) asFailure(s *compiled, err error) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &Failure{Disposition: Retry, Reason: core.ReasonInterrupted, Message: "interrupted", Cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		failure = &Failure{Disposition: Retry, Reason: core.ReasonTimeout, Message: "the step took too long", Cause: err}
		if s != nil {
			failure.Message = "step " + s.ID + " took longer than " + s.Timeout.String()
			if s.class == ClassAtLeastOnce {
				failure.Disposition = Unknown
			}
		}
		return failure
	}
	id := ""
	if s != nil {
		id = s.ID
	}
	r.o.Log.Error("a step failed in a way it doesn't know", "delivery", r.holder.Delivery.String(), "route", r.name, "step", id, "error", err)
	return &Failure{Disposition: Retry, Reason: core.ReasonInternal, Message: "internal error in step " + id + "; the log says more", Cause: err}
}

// continues tells whether on_error: continue applies: to what the step met, never to a stop, to a store
// that is away, to what another holder does, or to what only isn't due yet.
func continues(ctx context.Context, err error, effects *heldEffects) bool {
	var failure *Failure
	if errors.As(err, &failure) && failure.Disposition == Wait {
		return false
	}
	return !stopped(ctx) && !effects.inFlight() && !errors.Is(err, store.ErrLostClaim) && !errors.Is(err, store.ErrUnavailable)
}

// stopped tells a stop from a deadline: the lanes cancel at a stop, and let time run out otherwise.
func stopped(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

func interrupted(ctx context.Context, message string) store.Outcome {
	if !stopped(ctx) {
		return store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonTimeout, Message: "the attempt took too long"}
	}
	return store.Outcome{Verdict: store.VerdictReturn, Reason: core.ReasonInterrupted, Message: message}
}

// lost ends an attempt of a delivery that another claim holds: the store drops the outcome.
func lost() store.Outcome {
	return store.Outcome{Verdict: store.VerdictReturn, Reason: core.ReasonInterrupted, Message: "the delivery is held by another claim"}
}

func statusOf(v store.Verdict) string {
	switch v {
	case store.VerdictDefer:
		return "waits"
	case store.VerdictReturn:
		return "interrupted"
	}
	return statusFailed
}
