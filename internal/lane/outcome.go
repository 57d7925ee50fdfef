package lane

import (
	"fmt"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	// minDefer keeps a runner that defers without a delay from spinning.
	minDefer = 100 * time.Millisecond
	// messageBytes bounds what an outcome says.
	messageBytes = 2048
)

// ending is what decides what a runner's outcome does to its delivery.
type ending struct {
	settings Settings
	delivery core.Delivery
	now      time.Time
	jitter   float64
	stopped  bool // the attempt's context was ended by a stop
}

// conclude turns what the runner said into what is stored: a retry gets its time, or is the last; an
// attempt that was cut off by a stop is handed back.
func (e ending) conclude(o store.Outcome) store.Outcome {
	o.Message = clip(o.Message)
	switch o.Verdict {
	case store.VerdictSucceeded:
		o.Reason, o.Delay = core.ReasonNone, 0
	case store.VerdictSkipped:
		o.Reason, o.Delay = core.ReasonSkipped, 0
	case store.VerdictDead:
		o.Delay, o.FIFOStop = 0, e.settings.FIFOStop
	case store.VerdictReturn:
		o.Reason, o.Delay = core.ReasonInterrupted, 0
	case store.VerdictDefer:
		o.Delay = max(o.Delay, minDefer)
		return e.bound(o)
	case store.VerdictRetry:
		return e.retry(o)
	default:
		o.Message = fmt.Sprintf("the runner gave the verdict %q, which doesn't exist", o.Verdict)
		o.Reason = core.ReasonInternal
		return e.retry(o)
	}
	return o
}

func (e ending) retry(o store.Outcome) store.Outcome {
	// What was sent is not handed back: its reason keeps it from being ended before it is looked up.
	if e.stopped && o.Reason != core.ReasonUnknown {
		o.Verdict, o.Reason, o.Delay = store.VerdictReturn, core.ReasonInterrupted, 0
		return o
	}
	o.Verdict = store.VerdictRetry
	used := e.delivery.Attempts + 1
	delay, ok := e.settings.Schedule.Next(used, e.jitter)
	if !ok {
		return e.dead(o, core.ReasonExhausted, fmt.Sprintf("the last of %d attempts failed", used))
	}
	o.Delay = max(delay, core.ClampRetryAfter(o.Delay))
	return e.bound(o)
}

// bound ends a delivery that would be too old when it is due again.
func (e ending) bound(o store.Outcome) store.Outcome {
	d := e.delivery
	d.Reason = o.Reason
	if tooOld(d, e.now.Add(o.Delay), e.settings.MaxAge) {
		return e.dead(o, core.ReasonMaxAge, maxAgeMessage(e.settings.MaxAge))
	}
	return o
}

func (e ending) dead(o store.Outcome, reason core.Reason, why string) store.Outcome {
	said := o.Message
	if said == "" {
		said = string(o.Reason)
	}
	if said != "" {
		why += ": " + said
	}
	o.Verdict, o.Reason, o.Message, o.Delay = store.VerdictDead, reason, clip(why), 0
	o.FIFOStop = e.settings.FIFOStop
	return o
}

func maxAgeMessage(bound time.Duration) string {
	return fmt.Sprintf("older than its max_age of %s before it could be tried again", bound)
}

// tooOld tells whether the delivery is past its max_age at that time. One that waits to learn what
// became of an effect is never too old: ended now, it would leave a sent effect that nobody looks up.
func tooOld(d core.Delivery, at time.Time, bound time.Duration) bool {
	if d.Reason == core.ReasonSettling || d.Reason == core.ReasonUnknown {
		return false
	}
	return core.PastMaxAge(d.CreatedAt, at, bound)
}

// attemptReason is why the attempt itself ended so: of a delivery whose last attempt timed out, the
// delivery is exhausted, and the attempt a timeout.
func attemptReason(raw, concluded store.Outcome) core.Reason {
	if concluded.Verdict == store.VerdictDead && raw.Reason != core.ReasonNone {
		return raw.Reason
	}
	return concluded.Reason
}

// evidenceOf is what an attempt says about its destination: what the runner met counts, not what became
// of the delivery. An attempt that was handed back, or had nothing to do, says nothing.
func evidenceOf(raw, concluded store.Outcome) core.Evidence {
	switch {
	case concluded.Verdict == store.VerdictReturn, raw.Verdict == store.VerdictSkipped:
		return core.EvidenceNone
	case raw.Verdict == store.VerdictSucceeded:
		return core.EvidenceUp
	case raw.Reason == core.ReasonNone:
		return core.EvidenceNone
	}
	return core.EvidenceOf(raw.Reason, raw.Verdict == store.VerdictDead)
}

// clip bounds a message, which may quote another system's answer, and makes it text.
func clip(s string) string {
	if len(s) > messageBytes {
		s = s[:messageBytes] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
