package api

import (
	"context"

	"relais/internal/core"
	"relais/internal/expr"
)

// where compiles a condition on stored events, in the language of routes. An error of the expression
// is for whoever wrote it.
func where(expression string) (func(context.Context, *core.Event) (bool, error), error) {
	compiler, err := expr.NewCompiler()
	if err != nil {
		return nil, err
	}
	condition, err := compiler.Condition(expression)
	if err != nil {
		if core.CodeOf(err) == "" {
			err = core.Errorf(core.CodeInvalid, "%w", err)
		}
		return nil, err
	}
	return func(ctx context.Context, event *core.Event) (bool, error) {
		vars, err := expr.EventVars(event, nil)
		if vars == nil {
			return false, err
		}
		// A body that can't be read leaves event.data out, and a condition may not look at it.
		return condition.Eval(ctx, expr.Vars{"event": vars})
	}, nil
}
