package store

import (
	"encoding/json"
	"time"

	"relais/internal/core"
)

// What follows is the same in every store, whatever keeps the rows.

// Away says in words why the database can't be used now. It is ErrUnavailable, and keeps the driver's error
// for the operator.
type Away struct {
	Words string
	Cause error
	// Lasting is set where waiting won't help: somebody has to mend it.
	Lasting bool
}

func (e *Away) Error() string { return e.Words }

func (e *Away) Unwrap() error { return e.Cause }

// Is makes it ErrUnavailable.
func (e *Away) Is(target error) bool { return target == ErrUnavailable }

// BusyError says that these events of a batch can't be stored now, because others hold what they need, while the
// rest could be. Nothing of the batch was stored. It is ErrUnavailable by its cause.
type BusyError struct {
	Events []core.EventID
	Cause  error
}

func (e *BusyError) Error() string { return e.Cause.Error() }

func (e *BusyError) Unwrap() error { return e.Cause }

// Check refuses a scope that isn't one, or whose name is missing.
func (s PauseScope) Check(name string) error {
	switch s {
	case PauseAll:
		if name != "" {
			return core.Errorf(core.CodeInvalid, "a pause of all has no name")
		}
	case PauseSource, PauseRoute, PauseEndpoint:
		if name == "" {
			return core.Errorf(core.CodeInvalid, "which %s?", s)
		}
	default:
		return core.Errorf(core.CodeInvalid, "scope %q: allowed are all, source, route, endpoint", s)
	}
	return nil
}

// Object is what is paused, as the audit names it.
func (s PauseScope) Object(name string) string {
	if name == "" {
		return string(s)
	}
	return string(s) + ":" + name
}

// Advance applies p, whose holder must hold the delivery and the effect, and tells whether the effect is to be
// written. What is done stays done.
func (e *Effect) Advance(p AdvanceEffect) (changed bool, err error) {
	if p.NoteAbsent {
		if e.State != p.From {
			return false, e.wrongState(p.From)
		}
		if !e.AbsentAt.IsZero() {
			return false, nil
		}
		e.AbsentAt = e.Now
		return true, nil
	}
	switch {
	case e.State == p.To && p.From != p.To:
		return false, nil // done before, by a call whose outcome was unknown
	case e.State == EffectDone:
		return false, core.Errorf(core.CodeConflict, "the effect %s is done, and stays done", e.Key)
	case e.State != p.From:
		return false, e.wrongState(p.From)
	}
	e.put(p.To, p.Result, p.Message)
	return true, nil
}

func (e *Effect) wrongState(want EffectState) error {
	return core.Errorf(core.CodeConflict, "the effect %s is %s, not %s", e.Key, e.State, want)
}

// put moves the effect into a state, with the stamps that belong to it.
func (e *Effect) put(to EffectState, result json.RawMessage, message string) {
	e.State, e.Message, e.ResolvedBy = to, message, ""
	switch to {
	case EffectOpen:
		e.SentAt, e.AbsentAt, e.DoneAt = time.Time{}, time.Time{}, time.Time{}
	case EffectSent:
		e.SentAt, e.AbsentAt = e.Now, time.Time{}
	case EffectDone:
		e.DoneAt, e.Result = e.Now, result
	case EffectUnknown:
	}
}

// Ends tells what becomes of a delivery that was interrupted so often: whether it is dead, and whether it stops
// what waits behind it. Of an ordered one nobody decides who doesn't know what its end does to the others.
func (p *TakeOverParams) Ends(interruptions int, ordered bool, to core.Destination) (dies, stops bool) {
	if p.MaxInterruptions <= 0 || interruptions < p.MaxInterruptions {
		return false, false
	}
	if !ordered || p.FIFOStop == nil {
		return true, false
	}
	stops, known := p.FIFOStop(to)
	return known, known && stops
}

// Check refuses a word that says nothing, or both, or nobody's.
func (p ResolveEffect) Check() error {
	if p.Absent == (p.Done != nil) {
		return core.Errorf(core.CodeInvalid, "an effect is resolved either as done or as absent")
	}
	if p.By == "" {
		return core.Errorf(core.CodeInvalid, "who resolves the effect must be said")
	}
	return nil
}

// Resolve applies a person's word, and returns how the audit puts it. state and claim are those of the delivery
// that the effect names. The word is refused where relais will know better: while a delivery is at the effect,
// and, for "absent", while the delivery that sent it is still to look for it: what was sent may appear late.
func (e *Effect) Resolve(p ResolveEffect, state core.State, claim int) (said string, err error) {
	switch {
	case e.State == EffectDone:
		return "", core.Errorf(core.CodeConflict, "the effect %s is done already", p.Key)
	case state == core.StateRunning && claim == e.Holder.Claim:
		return "", core.Errorf(core.CodeConflict, "delivery %s is at the effect %s right now", e.Holder.Delivery, e.Key)
	case p.Absent && e.State == EffectSent && (state == core.StatePending || state == core.StateRunning):
		return "", core.Errorf(core.CodeConflict, "delivery %[1]s sent the effect %[2]s and will look for it by itself: wait until it ended, or cancel it first", e.Holder.Delivery, e.Key)
	}
	to, said := EffectDone, "done "+string(p.Done)
	if p.Absent {
		to, said = EffectOpen, "absent"
	}
	e.put(to, p.Done, "")
	e.ResolvedBy = p.By
	return said, nil
}
