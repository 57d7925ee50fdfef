package api

import (
	"context"

	"relais/internal/core"
	"relais/internal/store"
)

// scan goes through the events that a filter takes, newest first, until visit has seen enough.
func (s *server) scan(ctx context.Context, f store.EventFilter, visit func(*core.Event) (enough bool, err error)) error {
	f.Limit = scanPage
	for {
		page, err := s.Store.Events(ctx, f)
		if err != nil {
			return err
		}
		for i := range page {
			if enough, err := visit(&page[i]); enough || err != nil {
				return err
			}
		}
		if len(page) < scanPage {
			return nil
		}
		f.Before = page[len(page)-1].Seq
	}
}

// undecided is where a condition has no value: such an event is not chosen, and counted.
type undecided struct {
	count   int
	example string
}

// chosen tells whether the condition holds for the event.
func (u *undecided) chosen(ctx context.Context, holds Predicate, event *core.Event) (bool, error) {
	ok, err := holds(ctx, event)
	if err == nil {
		return ok, nil
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if u.count++; u.example == "" {
		u.example = event.ID.String() + ": " + err.Error()
	}
	return false, nil
}

// condition compiles what a request's field says.
func (s *server) condition(field, expression string) (Predicate, error) {
	holds, err := s.Where(expression)
	if err != nil {
		return nil, at(field, asInvalid(err))
	}
	return holds, nil
}
