package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"relais/internal/store"
)

// calmFor is how long a warning that the store is away isn't said again.
const calmFor = time.Minute

// calm keeps a store that is away from filling the log: each warning about it, of whatever part of relais, is
// written once and then at most once a minute. All else passes.
type calm struct {
	slog.Handler
	said *said
}

// said is when each warning was written last, and how many were left out since.
type said struct {
	mu   sync.Mutex
	last map[string]time.Time
	left map[string]int
}

func newCalm(h slog.Handler) calm { return calm{h, &said{}} }

// Handle implements slog.Handler.
func (c calm) Handle(ctx context.Context, r slog.Record) error {
	if r.Level != slog.LevelWarn || !saysAway(r) {
		return c.Handler.Handle(ctx, r)
	}
	say, left := c.said.say(r.Message, r.Time)
	if !say {
		return nil
	}
	if left > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", left))
	}
	return c.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (c calm) WithAttrs(attrs []slog.Attr) slog.Handler {
	return calm{c.Handler.WithAttrs(attrs), c.said}
}

// WithGroup implements slog.Handler.
func (c calm) WithGroup(name string) slog.Handler { return calm{c.Handler.WithGroup(name), c.said} }

func saysAway(r slog.Record) bool {
	away := false
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		away = ok && errors.Is(err, store.ErrUnavailable)
		return !away
	})
	return away
}

// say tells whether a warning is to be written now, and how many like it were not.
func (s *said) say(message string, at time.Time) (say bool, left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.last[message]; ok && at.Sub(last) < calmFor {
		s.left[message]++
		return false, 0
	}
	if s.last == nil {
		s.forget()
	}
	left = s.left[message]
	s.last[message], s.left[message] = at, 0
	return true, left
}

// over forgets what was said: the next outage is told anew.
func (s *said) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
}

func (s *said) forget() { s.last, s.left = map[string]time.Time{}, map[string]int{} }
