package expr

import (
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"relais/internal/core"
)

// Compiler compiles expressions against the names that exist where they stand.
type Compiler struct {
	env     *cel.Env
	names   string // that exist, for messages
	steps   []string
	results map[string][]string
}

const eventNames = "event (event.data is the body), steps"

// NewCompiler returns a compiler for expressions that may name event, and these earlier steps.
func NewCompiler(steps ...string) (*Compiler, error) {
	names, err := envFor("event", "steps")
	if err != nil {
		return nil, err
	}
	return &Compiler{env: names, names: eventNames, steps: steps}, nil
}

// WithFailure returns a compiler that also knows failure: why the delivery is dead.
func (c *Compiler) WithFailure() (*Compiler, error) {
	names, err := envFor("event", "steps", "failure")
	if err != nil {
		return nil, err
	}
	return &Compiler{env: names, names: eventNames + ", failure", steps: c.steps, results: c.results}, nil
}

// WithResults returns a compiler that also knows what the results of steps can have, by the steps' ids. A
// step that isn't among them may have anything.
func (c *Compiler) WithResults(results map[string][]string) *Compiler {
	return &Compiler{env: c.env, names: c.names, steps: c.steps, results: results}
}

// Condition compiles a boolean expression.
func (c *Compiler) Condition(src string) (*Condition, error) {
	value, err := c.compile(src, func(t *cel.Type) string {
		if t.Kind() == types.BoolKind || t.Kind() == types.DynKind {
			return ""
		}
		return "a condition must be true or false; this is " + article(t.String())
	})
	if err != nil {
		return nil, err
	}
	return &Condition{value: value}, nil
}

// Value compiles one expression, written without ${{ }}.
func (c *Compiler) Value(src string) (*Value, error) { return c.compile(src, nil) }

// CompileValue compiles one expression that may name these variables and nothing else: presets read an
// event's type, key and time with it.
func CompileValue(src string, vars ...string) (*Value, error) {
	names, err := envFor(vars...)
	if err != nil {
		return nil, err
	}
	return (&Compiler{env: names, names: strings.Join(vars, ", ")}).compile(src, nil)
}

func (c *Compiler) compile(src string, refuse func(*cel.Type) string) (*Value, error) {
	fault := func(offset int, message string) error {
		return &CompileError{Source: src, Offset: offset, Message: message}
	}
	switch {
	case len(src) > MaxSource:
		return nil, fault(0, "the expression is longer than 16 KiB")
	case strings.TrimSpace(src) == "":
		return nil, fault(0, "the expression is empty")
	case strings.Contains(src, opening):
		return nil, fault(strings.Index(src, opening), "an expression stands here without ${{ }}")
	}
	checked, issues := c.env.Compile(src)
	if issues.Err() != nil {
		return nil, issueFault(src, issues, c.names)
	}
	if refuse != nil {
		if message := refuse(checked.OutputType()); message != "" {
			return nil, fault(0, message)
		}
	}
	native := checked.NativeRep()
	walk := &references{steps: c.steps, results: c.results, info: native.SourceInfo(), taken: map[int64]bool{}}
	ast.PreOrderVisit(native.Expr(), ast.NewExprVisitor(walk.visit))
	if walk.message != "" {
		return nil, fault(byteOffset(src, walk.line, walk.column), walk.message)
	}
	program, err := c.env.Program(checked, programOptions(walk.loops)...)
	if err != nil {
		return nil, fault(0, firstLine(err.Error()))
	}
	return &Value{src: src, program: program, loops: walk.loops}, nil
}

// references finds what an expression names, and the first name that can't exist.
type references struct {
	steps        []string
	results      map[string][]string
	info         *ast.SourceInfo
	taken        map[int64]bool // identifiers whose member was looked at already
	loops        bool
	message      string
	line, column int
}

func (r *references) visit(e ast.Expr) {
	switch e.Kind() {
	case ast.ComprehensionKind:
		r.loops = true
	case ast.SelectKind:
		r.member(e.AsSelect().Operand(), e.AsSelect().FieldName(), true)
	case ast.CallKind:
		call := e.AsCall()
		switch call.FunctionName() {
		case operators.Index, operators.OptIndex, operators.OptSelect:
			name, literal := "", call.Args()[1].Kind() == ast.LiteralKind
			if literal {
				text, isText := call.Args()[1].AsLiteral().(types.String)
				name, literal = string(text), isText
			}
			r.member(call.Args()[0], name, literal)
		}
	case ast.IdentKind:
		if e.AsIdent() == "steps" && !r.taken[e.ID()] {
			r.fault(e, "steps is followed by a step's id: steps.<id>"+r.known())
		}
	}
}

func (r *references) member(operand ast.Expr, name string, literal bool) {
	if operand.Kind() != ast.IdentKind {
		if step, ok := stepOf(operand); ok && literal {
			r.result(operand, step, name)
		}
		return
	}
	switch operand.AsIdent() {
	case "steps":
		r.taken[operand.ID()] = true
		switch {
		case !literal:
			r.fault(operand, `steps is followed by a step's id as text: steps.<id> or steps["<id>"]`+r.known())
		case !slices.Contains(r.steps, name):
			r.fault(operand, "no step "+quoted(name)+" stands before this one"+r.known())
		}
	case "event":
		if literal && !slices.Contains(EventKeys, name) {
			message := "event has no " + quoted(name)
			if near := core.Nearest(name, EventKeys); near != "" {
				message += "; did you mean event." + near + "?"
			}
			r.fault(operand, message+" (it has "+strings.Join(EventKeys, ", ")+")")
		}
	}
}

// stepOf is the id of the step whose result an expression is.
func stepOf(e ast.Expr) (string, bool) {
	of, name := ast.Expr(nil), ""
	switch e.Kind() {
	case ast.SelectKind:
		of, name = e.AsSelect().Operand(), e.AsSelect().FieldName()
	case ast.CallKind:
		call := e.AsCall()
		if f := call.FunctionName(); f != operators.Index && f != operators.OptIndex && f != operators.OptSelect || call.Args()[1].Kind() != ast.LiteralKind {
			return "", false
		}
		text, _ := call.Args()[1].AsLiteral().(types.String)
		of, name = call.Args()[0], string(text)
	default:
		return "", false
	}
	return name, of.Kind() == ast.IdentKind && of.AsIdent() == "steps"
}

// result refuses a member that the result of a step never has.
func (r *references) result(at ast.Expr, step, name string) {
	known, declared := r.results[step]
	if !declared || slices.Contains(known, name) {
		return
	}
	message := "the result of step " + quoted(step) + " has no " + quoted(name)
	if near := core.Nearest(name, known); near != "" {
		message += "; did you mean steps." + step + "." + near + "?"
	}
	r.fault(at, message+" (it has "+strings.Join(known, ", ")+")")
}

func (r *references) known() string {
	if len(r.steps) == 0 {
		return " (no step stands before)"
	}
	return " (before it: " + strings.Join(r.steps, ", ") + ")"
}

func (r *references) fault(e ast.Expr, message string) {
	if r.message != "" {
		return
	}
	at := r.info.GetStartLocation(e.ID())
	r.message, r.line, r.column = message, at.Line(), at.Column()
}

// envs keeps one environment for each set of names: making one costs more than compiling in it.
var envs = struct {
	sync.Mutex
	by map[string]*cel.Env
}{by: map[string]*cel.Env{}}

func envFor(vars ...string) (*cel.Env, error) {
	key := strings.Join(vars, ",")
	envs.Lock()
	defer envs.Unlock()
	if known, ok := envs.by[key]; ok {
		return known, nil
	}
	base, err := baseEnv()
	if err != nil {
		return nil, err
	}
	var options []cel.EnvOption
	for _, name := range vars {
		kind := cel.DynType
		switch name {
		case "event", "steps", "failure", "header", "query", "path":
			kind = cel.MapType(cel.StringType, cel.DynType)
		}
		options = append(options, cel.Variable(name, kind))
	}
	extended, err := base.Extend(options...)
	if err != nil {
		return nil, err
	}
	envs.by[key] = extended
	return extended, nil
}

var baseEnv = sync.OnceValues(func() (*cel.Env, error) {
	withoutMatches := env.NewLibrarySubset().AddExcludedFunctions(env.NewFunction("matches"))
	base, err := cel.NewCustomEnv(
		cel.StdLib(cel.StdLibSubset(withoutMatches)),
		matchesFunction(),
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(MaxSource),
		cel.ParserRecursionLimit(100),
		cel.ExpressionNodeLimit(10_000),
		cel.RegexProgramSizeLimit(maxRegexp),
		ext.Strings(ext.StringsMaxPrecision(100)),
		ext.Encoders(),
		jsonFunction(),
	)
	if err != nil {
		return nil, err
	}
	bounded, err := boundedFunctions(base)
	if err != nil {
		return nil, err
	}
	return base.Extend(bounded...)
})

func programOptions(loops bool) []cel.ProgramOption {
	options := []cel.ProgramOption{cel.CostLimit(MaxCost), cel.CostTracking(dynamicCost{}), cel.OptimizeRegex(matchesOnce)}
	if loops {
		options = append(options, cel.InterruptCheckFrequency(interrupt))
	}
	return options
}
