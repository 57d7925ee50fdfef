package once

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/store"
)

// heldWait is how long a delivery waits for another that is at the same effect.
const heldWait = time.Second

// Effect is one effect of the ledger in the hands of one attempt.
type Effect struct {
	Rules
	Ledger step.Effects
	Kind   string // what the ledger calls its kind
	Key    string // as Ledger takes it
	// Thing and System are what messages call it: "the invoice of estimate 12", "Sellsy".
	Thing, System string
	// Failure says what a failed call means for the delivery.
	Failure func(doing string, err error) error

	Row store.Effect // as it was last read
}

// Open takes the effect, and says whether it may be acted on: not while another delivery holds it, not
// before what was sent had time to be seen, and not while a person has to decide.
func (e *Effect) Open(ctx context.Context) error {
	row, err := e.Ledger.Open(ctx, e.Kind, e.Key)
	if err != nil {
		return fmt.Errorf("open the effect: %w", err)
	}
	if e.Row = row; row.Held {
		return &step.Failure{Disposition: step.Wait, Reason: core.ReasonHeld, After: heldWait,
			Message: fmt.Sprintf("delivery %s is at the same effect (%s)", row.Holder.Delivery, row.Key)}
	}
	if err := e.At(PointOpened); err != nil {
		return err
	}
	switch row.State {
	case store.EffectUnknown:
		return Ambiguous("it isn't known what became of %s (%s). %s", e.Thing, row.Message, e.Resolve())
	case store.EffectSent:
		if left := row.SentAt.Add(e.Settle).Sub(row.Now); left > 0 {
			return Waiting(left, "%s was sent, and may still appear in %s", e.Thing, e.System)
		}
	case store.EffectOpen, store.EffectDone:
	}
	return nil
}

// WasDone and WasSent tell in which state the effect was opened.
func (e *Effect) WasDone() bool { return e.Row.State == store.EffectDone }

// WasSent tells that the request left in an earlier attempt, and that its end isn't known.
func (e *Effect) WasSent() bool { return e.Row.State == store.EffectSent }

// Absent ends with the effect open again, after two look-ups that found nothing, a recheck apart.
func (e *Effect) Absent(ctx context.Context) error {
	first, now := e.Row.AbsentAt, e.Row.Now
	if first.IsZero() {
		noted, err := e.Ledger.Absent(ctx, e.Key)
		if err != nil {
			return fmt.Errorf("note that %s wasn't found: %w", e.Thing, err)
		}
		first, now = noted.AbsentAt, noted.Now
	}
	if settled := e.Row.SentAt.Add(e.Settle); first.Before(settled) {
		first = settled // settle was made longer since: the second look-up comes that much later
	}
	if left := first.Add(e.Recheck).Sub(now); left > 0 {
		return Waiting(max(left, time.Second), "%s was sent and isn't found; a second look-up decides", e.Thing)
	}
	return e.Reopen(ctx)
}

// Reopen says that nothing was done.
func (e *Effect) Reopen(ctx context.Context) error {
	if err := e.Ledger.Reopen(ctx, e.Key); err != nil {
		return fmt.Errorf("open the effect again: %w", err)
	}
	return nil
}

// Send makes the effect sent and the request that goes with it. Where it returns an error, the effect is
// open again if nothing was done, and sent if that isn't known.
func (e *Effect) Send(ctx context.Context, doing string, request func(context.Context, *Fence) error) error {
	start := e.Clock() // before the ledger stamps sent_at, so that the fence falls early rather than late
	row, err := e.Ledger.Sent(ctx, e.Key)
	if err != nil {
		return fmt.Errorf("note that the effect is sent: %w", err)
	}
	e.Row = row
	if err := e.At(PointSent); err != nil {
		return err
	}
	var crashed error
	f := NewFence(e.Clock, start+e.Request/2, e.Request)
	if e.Hook != nil {
		f.hook = func() error { crashed = e.Hook(PointLastByte); return crashed }
	}
	bounded, cancel := context.WithTimeout(ctx, e.Request-min(e.Clock()-start, e.Request))
	defer cancel()
	if err = f.check(); err == nil {
		err = request(bounded, f)
	}
	switch {
	case crashed != nil:
		return crashed
	case err == nil:
		return e.At(PointAnswered)
	case !f.Released():
		if reopened := e.Ledger.Reopen(ctx, e.Key); reopened != nil {
			return fmt.Errorf("open the effect again, since nothing was sent: %w", reopened)
		}
		return e.Failure(doing, err)
	}
	return e.Unanswered(doing, err)
}

// Unanswered ends an attempt after which the ledger stays at sent: what became of it is found out after
// settle. It uses up an attempt, so that a system that never answers doesn't make relais ask for ever. Its
// reason is unknown, whatever was in the way: by that the lanes don't end the delivery for its age.
func (e *Effect) Unanswered(doing string, err error) error {
	var f *step.Failure
	if !errors.As(e.Failure(doing, err), &f) {
		f = &step.Failure{Message: doing + ": " + err.Error(), Cause: err}
	}
	return &step.Failure{
		Disposition: step.Retry, Reason: core.ReasonUnknown, After: max(f.After, e.Settle), Cause: err,
		Message: fmt.Sprintf("%s. It may have been made all the same: the next attempt, or a replay, looks for it after %s (%s)", f.Message, e.Settle, e.Row.Key),
	}
}

// Lost handles what can't be read, by a failed call's meaning. After something was sent, what can't heal
// by itself leaves the effect undecided, and what can says that there is something to be looked for.
func (e *Effect) Lost(ctx context.Context, err error) error {
	var f *step.Failure
	if !e.WasSent() || !errors.As(err, &f) {
		return err
	}
	if f.Disposition != step.Final {
		return &step.Failure{
			Disposition: f.Disposition, Reason: core.ReasonUnknown, After: f.After, Cause: err,
			Message: fmt.Sprintf("%s. Something was sent and has still to be looked for (%s)", f.Message, e.Row.Key),
		}
	}
	if unknown := e.Ledger.Unknown(ctx, e.Key, f.Message); unknown != nil {
		return fmt.Errorf("note that the effect is undecided: %w", unknown)
	}
	return Ambiguous("%s was sent, and what became of it can't be found out: %s. %s", e.Thing, f.Message, e.Resolve())
}

// Duplicate ends the delivery and leaves the effect to a person. message says which there are.
func (e *Effect) Duplicate(ctx context.Context, message string) error {
	if err := e.Ledger.Unknown(ctx, e.Key, message); err != nil {
		return fmt.Errorf("note the second one: %w", err)
	}
	return &step.Failure{Disposition: step.Final, Reason: core.ReasonDuplicate,
		Message: fmt.Sprintf("%s. Keep one of them and delete or cancel the others in %s, then: relais effects resolve %s --done ID", message, e.System, e.Row.Key)}
}

// Done keeps what was made.
func (e *Effect) Done(ctx context.Context, made any) error {
	result, err := json.Marshal(made)
	if err != nil {
		return err
	}
	if err := e.Ledger.Done(ctx, e.Key, result); err != nil {
		return fmt.Errorf("note that %s is done: %w", e.Thing, err)
	}
	return nil
}

// Resolve says what a person does about an effect that can't be decided.
func (e *Effect) Resolve() string {
	return fmt.Sprintf("Look in %[2]s for %[3]s; relais effects show %[1]s says what is known, and "+
		"relais effects resolve %[1]s --done ID, or --absent where there is none, ends it. Then replay the delivery", e.Row.Key, e.System, e.Thing)
}

// Ambiguous ends the delivery: a person has to look.
func Ambiguous(format string, args ...any) error {
	return &step.Failure{Disposition: step.Final, Reason: core.ReasonAmbiguous, Message: fmt.Sprintf(format, args...)}
}

// Waiting ends the attempt until what was sent had time to be seen.
func Waiting(after time.Duration, format string, args ...any) error {
	return &step.Failure{Disposition: step.Wait, Reason: core.ReasonSettling, After: after, Message: fmt.Sprintf(format, args...)}
}
