package core

import "time"

// BreakerState is a lane's breaker as it is kept between attempts. It is closed while RestUntil is
// zero. Otherwise it rests until then, and after that lets one attempt at a time through as a probe.
type BreakerState struct {
	Failures  int       // in a row
	RestUntil time.Time // zero when closed
	Since     time.Time // of the first failure in the row
}

// BreakerPhase is what a lane may start.
type BreakerPhase string

const (
	BreakerClosed  BreakerPhase = "closed"  // anything
	BreakerResting BreakerPhase = "resting" // nothing: a resting breaker consumes no attempts
	BreakerProbing BreakerPhase = "probing" // one attempt, to see
)

// Phase tells what the lane may start now.
func (s BreakerState) Phase(now time.Time) BreakerPhase {
	switch {
	case s.RestUntil.IsZero():
		return BreakerClosed
	case now.Before(s.RestUntil):
		return BreakerResting
	default:
		return BreakerProbing
	}
}

// BreakerRule says when a breaker opens and how long it rests.
type BreakerRule struct {
	After   int           // failures in a row that open it; 0 or less never opens
	Rest    time.Duration // the first rest; each failed probe doubles it
	MaxRest time.Duration
}

// DefaultBreaker rests after ten failures in a row, from 10 s up to 5 min.
var DefaultBreaker = BreakerRule{After: 10, Rest: 10 * time.Second, MaxRest: 5 * time.Minute}

// Note returns the state after an attempt ended with that evidence. A failure that comes in while the
// breaker rests is of an attempt that was started before it opened: it says nothing new, and counting
// a whole window of them would double the rest at once. A success closes at any time, for it can only
// come from a destination that answers.
func (r BreakerRule) Note(s BreakerState, e Evidence, now time.Time) BreakerState {
	switch {
	case e == EvidenceUp:
		return BreakerState{}
	case e == EvidenceNone || s.Phase(now) == BreakerResting:
		return s
	}
	if s.Failures == 0 {
		s.Since = now
	}
	s.Failures++
	if r.After > 0 && s.Failures >= r.After {
		s.RestUntil = now.Add(r.rest(s.Failures - r.After))
	}
	return s
}

// rest is the first rest doubled that many times, up to MaxRest.
func (r BreakerRule) rest(doublings int) time.Duration {
	rest := r.Rest
	for ; doublings > 0 && rest < r.MaxRest; doublings-- {
		rest *= 2
	}
	return min(rest, r.MaxRest)
}

// Evidence is what the end of an attempt says about the destination, as opposed to the delivery.
type Evidence int8

const (
	EvidenceNone Evidence = iota // nothing: it was never asked, or the fault is the delivery's
	EvidenceUp                   // it answers
	EvidenceDown                 // it doesn't, or answers everyone with an error
)

// evidence lists the reasons that say something. The others (an expression, a parameter, an effect
// held by another delivery, a stop) would fail the same whatever the destination does.
var evidence = map[Reason]Evidence{
	ReasonNone:        EvidenceUp,
	ReasonTimeout:     EvidenceDown,
	ReasonRefused:     EvidenceDown,
	ReasonReset:       EvidenceDown,
	ReasonDNS:         EvidenceDown,
	ReasonTLS:         EvidenceDown,
	ReasonAddress:     EvidenceDown,
	ReasonRedirect:    EvidenceDown,
	ReasonStatus:      EvidenceDown,
	ReasonRateLimited: EvidenceDown,
	ReasonMaintenance: EvidenceDown,
	ReasonAuth:        EvidenceDown,
	ReasonUnknown:     EvidenceDown,
	ReasonTooLarge:    EvidenceUp,
	ReasonInvalidData: EvidenceUp,
	ReasonNotReady:    EvidenceUp,
	ReasonRolledBack:  EvidenceUp,
	ReasonDuplicate:   EvidenceUp,
	ReasonAmbiguous:   EvidenceUp,
}

// EvidenceOf tells what an attempt that ended for that reason says about the destination; ReasonNone
// is a success. A status that is final is about this delivery (a 404, a 422), and whoever gave it answers.
func EvidenceOf(reason Reason, final bool) Evidence {
	if reason == ReasonStatus && final {
		return EvidenceUp
	}
	return evidence[reason]
}
