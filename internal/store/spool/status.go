package spool

import "time"

// State is where new events go.
type State string

const (
	// StateDirect is the usual one: events go to the store, and nothing waits here.
	StateDirect State = "direct"
	// StateSpooling keeps events here: the store is away or slow.
	StateSpooling State = "spooling"
	// StateDraining moves events; new ones queue behind them here.
	StateDraining State = "draining"
)

// Status is how the spool stands.
type Status struct {
	// ID names the folder; "" where that failed.
	ID    string
	State State
	// Events and Bytes wait to be moved; Oldest is when the first of them was received, zero when none is.
	Events int
	Bytes  int64
	Oldest time.Time
	// Aside are events that the store refused for their own fault.
	Aside      int
	AsideBytes int64
	MaxBytes   int64
	// Spooled and Moved count events since the start.
	Spooled int64
	Moved   int64
	// LastError is what the store, or the matching, said last when it failed. It is the operator's.
	LastError   string
	LastErrorAt time.Time
}

type history struct {
	spooled, moved int64
	err            string
	at             time.Time
}

func (h *history) fail(err error, at time.Time) { h.err, h.at = err.Error(), at }

// Status waits for no disk and no store.
func (s *Spool) Status() Status {
	f := s.disk.figures.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	state := StateSpooling
	switch {
	case s.direct:
		state = StateDirect
	case s.quick:
		state = StateDraining
	}
	return Status{
		ID: s.id, State: state, Events: f.waiting, Bytes: f.bytes, Oldest: f.oldest, Aside: f.aside, AsideBytes: f.asideBytes, MaxBytes: s.disk.max,
		Spooled: s.history.spooled, Moved: s.history.moved, LastError: s.history.err, LastErrorAt: s.history.at,
	}
}
