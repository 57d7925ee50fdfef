package step

import (
	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/store"
)

// eventVars are what an event gives to expressions. A body that can't be read leaves event.data out and
// is the error: a route that doesn't look at it still works.
func eventVars(event *core.Event, normalized map[string]any) (map[string]any, error) {
	vars, err := expr.EventVars(event, normalized)
	if err == nil {
		return vars, nil
	}
	bare := *event
	bare.Format = core.FormatNone
	vars, bareErr := expr.EventVars(&bare, normalized)
	if bareErr != nil {
		return map[string]any{}, err
	}
	delete(vars, "data")
	return vars, err
}

// failureVars are what on_dead sees besides the event.
func failureVars(outcome *store.Outcome, attempts int) map[string]any {
	return map[string]any{
		"reason":   string(outcome.Reason),
		"message":  outcome.Message,
		"attempts": int64(attempts),
	}
}
