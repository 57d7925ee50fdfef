package step

import (
	"context"
	"errors"
	"time"

	"relais/internal/store"
)

// onDeadTries are the pauses before each try to tell somebody.
var onDeadTries = []time.Duration{0, time.Second, 5 * time.Second}

// RunOnDead runs the route's on_dead step for a delivery that is dead, or is about to be written so, and
// sees failure.reason, failure.message and failure.attempts. It is at least once: a caller that runs it
// before the outcome is written tells twice after a crash, and never not at all. When nobody could be
// told after a few tries, the log says so; the delivery is dead all the same. has is false for a route
// without such a step.
func (p *Program) RunOnDead(ctx context.Context, claimed *store.Claimed, outcome store.Outcome) (has bool, err error) {
	if p.onDead == nil {
		return false, nil
	}
	r := p.newRun(claimed)
	attempts := claimed.Delivery.Attempts
	if outcome.Attempt.Claim != 0 {
		attempts++ // the one that ended so; a delivery that was interrupted to death had none
	}
	r.failure = failureVars(&outcome, attempts)
	for _, results := range [][]store.StepResult{claimed.Steps, outcome.Steps} {
		for _, stored := range results {
			if plain, err := decodeResult(stored.Result); err == nil {
				r.results[stored.Step] = plain
			}
		}
	}
	if err = r.tell(ctx); err != nil {
		p.o.Log.Error("nobody could be told of a dead delivery", "delivery", claimed.Delivery.ID.String(), "route", p.name, "error", err)
	}
	return true, err
}

func (r *run) tell(ctx context.Context) error {
	var last error
	for _, pause := range onDeadTries {
		if err := sleep(ctx, pause); err != nil {
			return errors.Join(err, last)
		}
		effects := newEffects(r.o.Store, r.holder, r.claimed.Delivery.Destination.Tenant, r.onDead.connectionName)
		if _, last = r.attempt(ctx, r.onDead, effects); last == nil {
			return nil
		}
		var failure *Failure
		if errors.As(last, &failure) && failure.Disposition == Final {
			return last
		}
	}
	return last
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
