package step

import (
	"context"
	"errors"
	"fmt"

	"relais/internal/core"
	"relais/internal/store"
)

// A step that must not happen twice without a person's word (at least once, with on_unknown: stop) is
// noted as begun before it runs: the process may be killed inside it, and then the note is all that is
// left. The note stands in the place of the step's result, under a definition that no result has. The
// result takes its place; so does, with the outcome, the word that the step was not done.
//
// If the process dies between the note and the request, nothing was sent and a person is asked all the
// same: nobody can tell the two apart.
const begunMark = " begun"

// begin notes that the step begins, or says that it was begun before and nobody knows how it ended.
func (r *run) begin(ctx context.Context, s *compiled) error {
	for _, stored := range r.claimed.Steps {
		if stored.Step == s.ID && stored.Definition == s.definition+begunMark {
			return &Failure{Disposition: Unknown, Reason: core.ReasonUnknown,
				Message: fmt.Sprintf("relais was killed inside step %s, and it isn't known whether it was done", s.ID)}
		}
	}
	err := r.flush(ctx) // in the steps' order
	if err == nil {
		r.begun = true
		r.unsaved = append(r.unsaved, store.StepResult{Step: s.ID, Definition: s.definition + begunMark, Result: []byte(`{"status":"begun"}`)})
		err = r.flush(ctx)
		r.unsaved = nil
	}
	if err == nil || errors.Is(err, store.ErrLostClaim) {
		return err
	}
	// Whatever it is: the step wasn't begun, and a deadline that passed was the store's.
	return fmt.Errorf("note that step %s begins: %w", s.ID, errors.Join(store.ErrUnavailable, err))
}

// notDone takes the note back: the step ended, and did nothing.
func notDone(s *compiled) store.StepResult {
	return store.StepResult{Step: s.ID, Result: []byte(`{"status":"failed"}`)}
}
