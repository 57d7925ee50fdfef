package email

import (
	"context"
	"time"

	"relais/internal/core"
	"relais/internal/step"
)

// NeedsTo is true: a mail goes to somebody.
func (s *server) NeedsTo() bool { return true }

// Tell sends a notice as a plain mail.
func (s *server) Tell(ctx context.Context, notice step.Notice) error {
	to := make([]any, len(notice.To))
	for i, address := range notice.To {
		to[i] = address
	}
	msg, err := compose(s.from, &step.Call{
		With: map[string]any{"to": to, "subject": notice.Title, "text": notice.Text}, Now: time.Now, IdempotencyKey: notice.Key,
	})
	if err != nil {
		return &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: err.Error(), Cause: err}
	}
	if err := s.send(ctx, msg); err != nil && !msg.IsDelivered() {
		return meaning(err)
	}
	return nil
}
