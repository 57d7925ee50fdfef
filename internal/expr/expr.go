// Package expr compiles and evaluates CEL: conditions, and ${{ }} in strings.
package expr

import "context"

// Vars are what expressions see: event, steps, failure, as maps of plain values (nil, bool, int64,
// float64, string, []any, map[string]any).
type Vars map[string]any

// Condition is a compiled boolean expression.
type Condition struct{}

// Eval runs the condition within its bounds.
func (c *Condition) Eval(ctx context.Context, vars Vars) (bool, error) { panic("to be written") }

// Template is a compiled value: a tree of maps, lists and scalars whose strings may hold ${{ }}.
type Template struct{}

// Eval returns the value with every ${{ }} replaced.
func (t *Template) Eval(ctx context.Context, vars Vars) (any, error) { panic("to be written") }

// Compiler compiles expressions against the names that exist where they stand.
type Compiler struct{}

// NewCompiler returns a compiler for expressions that may name these earlier steps.
func NewCompiler(steps ...string) (*Compiler, error) { panic("to be written") }

// Condition compiles a boolean expression.
func (c *Compiler) Condition(src string) (*Condition, error) { panic("to be written") }

// Template compiles a value of the configuration.
func (c *Compiler) Template(value any) (*Template, error) { panic("to be written") }
