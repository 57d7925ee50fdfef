// Package expr compiles and evaluates CEL: conditions, single values, and ${{ }} in strings.
//
// Everything is compiled when the configuration is loaded; what an expression may name is known then,
// and a name that can't exist is refused there and not on the first delivery. Evaluation meets data from
// the network, so it is bounded in cost, time and size, and its result is never evaluated again: a "${{"
// inside an event stays four characters of text.
package expr

import (
	"context"
	"errors"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"relais/internal/core"
)

// The bounds of one evaluation, and of the text that is compiled.
const (
	MaxTime   = 10 * time.Millisecond
	MaxCost   = 1_000_000   // CEL's cost units: about one for a step, a tenth for a character read
	MaxResult = 1 << 20     // bytes of the result as plain text
	MaxSource = 16 << 10    // bytes of one expression
	maxRegexp = 500         // instructions of one regular expression
	maxMatch  = 4 << 20     // instructions times characters of one match
	maxTries  = 2           // evaluations that ran out of time are tried once more: the machine may have paused
	interrupt = uint(1)     // iterations between two looks at the clock: one may take long
	maxString = 4 * 1 << 20 // bytes of a string on the way to a result
)

// Vars are what expressions see: event, steps, failure, as maps of plain values (nil, bool, int64,
// float64, string, []any, map[string]any). Evaluation reads them in place and changes nothing.
type Vars map[string]any

// Value is one compiled expression.
type Value struct {
	src     string
	program cel.Program
	// loops is set when the expression iterates: only then can it run for long enough to need a clock.
	loops bool
}

// Eval runs the expression within its bounds and returns a plain value (see Vars). The error is a
// core.Error that says which key was missing, or which bound was passed.
func (v *Value) Eval(ctx context.Context, vars Vars) (any, error) {
	out, err := v.run(ctx, vars)
	if err != nil {
		return nil, err
	}
	plain, err := toPlain(out)
	if err != nil {
		return nil, v.fail(err)
	}
	return plain, nil
}

// Condition is a compiled boolean expression.
type Condition struct{ value *Value }

// Eval runs the condition within its bounds. A key that is missing is an error that names it: a
// condition on a field that isn't there must be seen, not taken for false.
func (c *Condition) Eval(ctx context.Context, vars Vars) (bool, error) {
	out, err := c.value.run(ctx, vars)
	if err != nil {
		return false, err
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, core.Errorf(core.CodeInvalid, "%s: the result is %s; a condition must be true or false",
			shorten(c.value.src), describe(out))
	}
	return bool(b), nil
}

func (v *Value) run(ctx context.Context, vars Vars) (ref.Val, error) {
	if !v.loops {
		out, _, err := v.program.Eval(map[string]any(vars))
		if err != nil {
			return nil, v.fail(err)
		}
		return out, nil
	}
	for try := 1; ; try++ {
		out, err := v.runTimed(ctx, vars)
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, interpreter.InterruptError{}) && try < maxTries:
		default:
			return nil, v.fail(err)
		}
	}
}

func (v *Value) runTimed(ctx context.Context, vars Vars) (ref.Val, error) {
	timed, cancel := context.WithTimeout(ctx, MaxTime)
	defer cancel()
	out, _, err := v.program.ContextEval(timed, map[string]any(vars))
	return out, err
}

// fail says what went wrong in words for a user.
func (v *Value) fail(err error) error {
	var cancelled interpreter.EvalCancelledError
	switch {
	case errors.Is(err, interpreter.InterruptError{}):
		return core.Errorf(core.CodeInvalid, "%s: took longer than %s", shorten(v.src), MaxTime)
	case errors.As(err, &cancelled):
		return core.Errorf(core.CodeInvalid, "%s: costs more than an expression may", shorten(v.src))
	}
	return core.Errorf(core.CodeInvalid, "%s: %s", shorten(v.src), firstLine(err.Error()))
}

// CompileError is why an expression doesn't compile.
type CompileError struct {
	// Path leads to the string inside a template's value: "lines[0].text"; "" for a lone expression.
	Path string
	// Source is the expression, and Offset the byte in it where the fault was seen.
	Source  string
	Offset  int
	Message string
}

func (e *CompileError) Error() string { return e.Message }
