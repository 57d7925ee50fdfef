package expr

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// CEL's cost is counted after a call. That is too late for the functions whose result can be much
// larger than what they are given (two fields of an event are enough to ask replace for a terabyte), and
// for those that take the one text's length times the other's (half a megabyte each is a minute), so
// these foresee the size of their result, or their work, and refuse.

type bound struct {
	function, overload string
	args               []*cel.Type
	result             *cel.Type
	// size returns at least the length of the result; of a search, its steps.
	size func(args []ref.Val) int
	// most is what size may be; refusal says that it is more.
	most    int
	refusal string
}

const (
	longResult = "the result is longer than 4 MiB"
	longSearch = "the texts are too long to look for the one in the other"
	// maxSearch is what CEL's own price of a search allows, before it and not after.
	maxSearch = 10 * MaxCost
)

var bounds = []bound{
	{"replace", "string_replace_string_string",
		[]*cel.Type{cel.StringType, cel.StringType, cel.StringType}, cel.StringType, replacedSize, maxString, longResult},
	{"replace", "string_replace_string_string_int",
		[]*cel.Type{cel.StringType, cel.StringType, cel.StringType, cel.IntType}, cel.StringType, replacedSize, maxString, longResult},
	{"join", "list_join", []*cel.Type{cel.ListType(cel.StringType)}, cel.StringType, joinedSize, maxString, longResult},
	{"join", "list_join_string",
		[]*cel.Type{cel.ListType(cel.StringType), cel.StringType}, cel.StringType, joinedSize, maxString, longResult},
	{"format", "string_format",
		[]*cel.Type{cel.StringType, cel.ListType(cel.DynType)}, cel.StringType, formattedSize, maxString, longResult},
	{"indexOf", "string_index_of_string",
		[]*cel.Type{cel.StringType, cel.StringType}, cel.IntType, searchSteps, maxSearch, longSearch},
	{"indexOf", "string_index_of_string_int",
		[]*cel.Type{cel.StringType, cel.StringType, cel.IntType}, cel.IntType, searchSteps, maxSearch, longSearch},
	{"lastIndexOf", "string_last_index_of_string",
		[]*cel.Type{cel.StringType, cel.StringType}, cel.IntType, searchSteps, maxSearch, longSearch},
	{"lastIndexOf", "string_last_index_of_string_int",
		[]*cel.Type{cel.StringType, cel.StringType, cel.IntType}, cel.IntType, searchSteps, maxSearch, longSearch},
}

func boundedFunctions(base *cel.Env) ([]cel.EnvOption, error) {
	var options []cel.EnvOption
	for _, b := range bounds {
		original, err := binding(base, b.function, b.overload)
		if err != nil {
			return nil, err
		}
		call := func(args ...ref.Val) ref.Val {
			if b.size(args) > b.most {
				return types.NewErr("%s: %s", b.function, b.refusal)
			}
			return original(args...)
		}
		implementation := cel.FunctionBinding(call)
		switch len(b.args) {
		case 1:
			implementation = cel.UnaryBinding(func(arg ref.Val) ref.Val { return call(arg) })
		case 2:
			implementation = cel.BinaryBinding(func(a, b ref.Val) ref.Val { return call(a, b) })
		}
		options = append(options, cel.Function(b.function,
			cel.MemberOverload(b.overload, b.args, b.result, implementation)))
	}
	return options, nil
}

// binding returns the library's own implementation of an overload.
func binding(base *cel.Env, function, overload string) (functions.FunctionOp, error) {
	declared, ok := base.Functions()[function]
	if !ok {
		return nil, fmt.Errorf("the expression library has no function %s", function)
	}
	implementations, err := declared.Bindings()
	if err != nil {
		return nil, err
	}
	for _, o := range implementations {
		if o.Operator != overload {
			continue
		}
		switch {
		case o.Unary != nil:
			return func(args ...ref.Val) ref.Val { return o.Unary(args[0]) }, nil
		case o.Binary != nil:
			return func(args ...ref.Val) ref.Val { return o.Binary(args[0], args[1]) }, nil
		case o.Function != nil:
			return o.Function, nil
		}
	}
	return nil, fmt.Errorf("the expression library has no overload %s", overload)
}

func replacedSize(args []ref.Val) int {
	text, _ := args[0].(types.String)
	old, _ := args[1].(types.String)
	with, _ := args[2].(types.String)
	places := len(text) + 1
	if old != "" {
		places = len(text) / len(old)
	}
	return len(text) + saturated(places, len(with))
}

// searchSteps is how many characters are compared at most.
func searchSteps(args []ref.Val) int {
	text, _ := args[0].(types.String)
	part, _ := args[1].(types.String)
	return utf8.RuneCountInString(string(text)) * utf8.RuneCountInString(string(part))
}

func joinedSize(args []ref.Val) int {
	size := textSize(args[0], 0)
	list, ok := args[0].(traits.Lister)
	if ok && len(args) == 2 {
		between, _ := args[1].(types.String)
		n, _ := list.Size().(types.Int)
		size += saturated(int(n), len(between))
	}
	return size
}

func formattedSize(args []ref.Val) int {
	text, _ := args[0].(types.String)
	// A value is written at most three times as long as it is; a number with at most 100 decimals.
	return len(text) + 512*strings.Count(string(text), "%") + saturated(textSize(args[1], 0), 3)
}

// textSize is the length of all text in a value, up to a little over the bound.
func textSize(v ref.Val, depth int) int {
	if depth > maxDepth {
		return maxString + 1
	}
	total := 0
	add := func(v ref.Val) bool {
		total += 8 + textSize(v, depth+1)
		return total <= maxString
	}
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	case traits.Mapper:
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			if !add(key) || !add(v.Get(key)) {
				break
			}
		}
	case traits.Lister:
		for it := v.Iterator(); it.HasNext() == types.True; {
			if !add(it.Next()) {
				break
			}
		}
	default:
		return 32
	}
	return total
}

func saturated(a, b int) int {
	if b != 0 && a > maxString/b {
		return maxString + 1
	}
	return a * b
}

// matchesFunction is the standard matches. It bounds the work of a match: RE2 is linear in the text, and linear in the program too.
func matchesFunction() cel.EnvOption {
	return cel.Function("matches",
		cel.Overload("matches", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType),
		cel.MemberOverload("matches_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType),
		cel.SingletonBinaryBinding(matches))
}

func matches(text, pattern ref.Val) ref.Val {
	expression, ok := pattern.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(pattern)
	}
	matcher, err := newMatcher(string(expression))
	if err != nil {
		return types.WrapErr(err)
	}
	return matcher.match(text)
}

// matchesOnce compiles a constant regular expression when the expression is compiled.
var matchesOnce = &interpreter.RegexOptimization{
	Function:   "matches",
	RegexIndex: 1,
	Factory: func(call interpreter.InterpretableCall, pattern string) (interpreter.InterpretableCall, error) {
		matcher, err := newMatcher(pattern)
		if err != nil {
			return nil, err
		}
		return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(),
			func(args ...ref.Val) ref.Val { return matcher.match(args[0]) }), nil
	},
}

type matcher struct {
	expression *regexp.Regexp
	longest    int // text that it may be tried on
}

func newMatcher(pattern string) (matcher, error) {
	if len(pattern) > MaxSource {
		return matcher{}, fmt.Errorf("matches: the regular expression is longer than %d bytes", MaxSource)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return matcher{}, fmt.Errorf("matches: %w", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return matcher{}, fmt.Errorf("matches: %w", err)
	}
	if len(program.Inst) > maxRegexp {
		return matcher{}, fmt.Errorf("matches: the regular expression is too large")
	}
	expression, err := regexp.Compile(pattern)
	if err != nil {
		return matcher{}, fmt.Errorf("matches: %w", err)
	}
	return matcher{expression: expression, longest: maxMatch / len(program.Inst)}, nil
}

func (m matcher) match(text ref.Val) ref.Val {
	s, ok := text.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(text)
	}
	if len(s) > m.longest {
		return types.NewErr("matches: the text is longer than %d bytes, which is this regular expression's bound", m.longest)
	}
	return types.Bool(m.expression.MatchString(string(s)))
}

// jsonFunction is json(text): JSON that came inside a string, read like an event's body.
func jsonFunction() cel.EnvOption {
	return cel.Function("json", cel.Overload("json_string", []*cel.Type{cel.StringType}, cel.DynType,
		cel.UnaryBinding(func(arg ref.Val) ref.Val {
			text, ok := arg.(types.String)
			if !ok {
				return types.MaybeNoSuchOverloadErr(arg)
			}
			value, err := DecodeJSON([]byte(strings.TrimSpace(string(text))))
			if err != nil {
				return types.NewErr("json: %s", err)
			}
			return types.DefaultTypeAdapter.NativeToValue(value)
		})))
}
