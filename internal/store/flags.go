package store

import "relais/internal/core"

// What an event's column flags holds, in both stores and in the spool: marks in its lowest six bits, and above
// them the status that its sender was answered. It fits 16 bits, and takes no column of its own. Events from
// before there was more than redacted and test have 0 there.
const (
	flagRedacted = 1 << iota
	flagTest
	flagVerified

	flagBits    = 6
	maxAnswered = 1<<(15-flagBits) - 1
)

// EventFlags are an event's marks as one number.
func EventFlags(e *core.Event) int64 {
	flags := int64(0)
	if e.Redacted {
		flags |= flagRedacted
	}
	if e.Test {
		flags |= flagTest
	}
	if e.Verified {
		flags |= flagVerified
	}
	if e.Answered > 0 && e.Answered <= maxAnswered {
		flags |= int64(e.Answered) << flagBits
	}
	return flags
}

// SetEventFlags reads what EventFlags wrote.
func SetEventFlags(e *core.Event, flags int64) {
	e.Redacted, e.Test, e.Verified = flags&flagRedacted != 0, flags&flagTest != 0, flags&flagVerified != 0
	e.Answered = int(flags >> flagBits)
}
