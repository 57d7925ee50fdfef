package api

import (
	"context"
	"fmt"

	"relais/internal/core"
	"relais/internal/store"
)

// A filter goes through what there is from the newest on, and either takes the newest within its limit or, to be gone
// on with, the oldest: then it goes to the end, and forgets the newest of what it has met.

// choose notes one more, and tells whether that is enough.
func choose[T any](p *replayPlan, chosen []T, one T) (more []T, enough bool) {
	if !p.in.Oldest && len(chosen) == p.in.Limit {
		p.out.Truncated = true
		return chosen, true
	}
	chosen = append(chosen, one)
	if p.in.Oldest && len(chosen) >= 2*p.in.Limit+1 {
		chosen = append([]T(nil), within(p, chosen)...)
	}
	return chosen, false
}

// within is what is left within the limit, newest first.
func within[T any](p *replayPlan, chosen []T) []T {
	if over := len(chosen) - p.in.Limit; over > 0 {
		p.out.Truncated = true
		return chosen[over:]
	}
	return chosen
}

// satisfies tells whether the condition holds. An event on which it has no value is not replayed, and counted.
func (p *replayPlan) satisfies(ctx context.Context, event *core.Event) (bool, error) {
	if p.holds == nil {
		return true, nil
	}
	ok, err := p.holds(ctx, event)
	if err == nil {
		return ok, nil
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	p.skip(event.ID, "", "the condition could not be evaluated on it")
	return false, nil
}

// afterEvent is the number of the event after which a filter begins.
func (p *replayPlan) afterEvent(ctx context.Context) (int64, error) {
	if p.in.After == "" {
		return 0, nil
	}
	id, err := core.ParseEventID(p.in.After)
	if err != nil {
		return 0, at("body.after", err)
	}
	event, err := p.server.Store.Event(ctx, id)
	if err != nil {
		return 0, at("body.after", err)
	}
	return event.Seq, nil
}

// numbered makes named events of the requests that are named by their ids in the view ic_postback.
func (p *replayPlan) numbered(ctx context.Context) error {
	for i, number := range p.in.Requests {
		field := fmt.Sprintf("body.requests[%d]", i)
		seq, rejection, err := core.RequestOf(number)
		if err != nil {
			return at(field, err)
		}
		if rejection != 0 {
			return at(field, core.Errorf(core.CodeInvalid, "request %d was refused: it is rejection %d, which is verified again, not replayed", number, rejection))
		}
		found, err := p.server.Store.Events(ctx, store.EventFilter{Before: seq + 1, Limit: 1, Repeats: true})
		if err != nil {
			return err
		}
		if len(found) == 0 || found[0].Seq != seq {
			return at(field, core.Errorf(core.CodeNotFound, "there is no request %d", number))
		}
		p.in.Events = append(p.in.Events, found[0].ID.String())
	}
	return nil
}
