package expr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"relais/internal/core"
)

const (
	opening = "${{"
	escaped = "$${{"
	closing = "}}"
)

// Segment is a stretch of a string: literal text, or the source of an expression.
type Segment struct {
	Text string // the text without escapes, or the expression without ${{ }}
	Expr bool
	// Offset is the byte in the string where the text or the expression's source begins.
	Offset int
}

// Split cuts a string into literal text and expressions. "$${{" is the literal text "${{". Quotes and
// braces inside an expression are its own: }} ends it only outside of them.
func Split(s string) ([]Segment, error) {
	var segments []Segment
	var text strings.Builder
	textAt, i := 0, 0
	flush := func() {
		if text.Len() > 0 {
			segments = append(segments, Segment{Text: text.String(), Offset: textAt})
			text.Reset()
		}
	}
	for i < len(s) {
		next := strings.IndexByte(s[i:], '$')
		if next < 0 {
			text.WriteString(s[i:])
			break
		}
		text.WriteString(s[i : i+next])
		i += next
		switch {
		case strings.HasPrefix(s[i:], escaped):
			text.WriteString(opening)
			i += len(escaped)
		case strings.HasPrefix(s[i:], opening):
			flush()
			start := i + len(opening)
			length := sourceLength(s[start:])
			if length < 0 {
				return nil, &CompileError{Source: s, Offset: i, Message: notClosed}
			}
			segments = append(segments, Segment{Text: s[start : start+length], Expr: true, Offset: start})
			i = start + length + len(closing)
			textAt = i
		default:
			text.WriteByte('$')
			i++
		}
	}
	flush()
	return segments, nil
}

// Escape writes text so that Split gives it back as text.
func Escape(text string) string { return strings.ReplaceAll(text, opening, escaped) }

// sourceLength returns the length of the expression that s begins with, up to its }}, or -1.
func sourceLength(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\'':
			end := quotedLength(s, i)
			if end < 0 {
				return -1
			}
			i += end - 1
		case '{':
			depth++
		case '}':
			if depth > 0 {
				depth--
			} else if strings.HasPrefix(s[i:], closing) {
				return i
			}
		}
	}
	return -1
}

// quotedLength returns the length of the CEL string literal that starts at i, or -1 when it has no end.
func quotedLength(s string, i int) int {
	quote := s[i : i+1]
	raw := i > 0 && (s[i-1] == 'r' || s[i-1] == 'R')
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s[i:], triple) {
		quote = triple
	}
	for j := i + len(quote); j < len(s); j++ {
		switch {
		case s[j] == '\\' && !raw:
			j++
		case strings.HasPrefix(s[j:], quote):
			return j + len(quote) - i
		}
	}
	return -1
}

// HasExpressions tells whether a value of the configuration holds ${{ }} anywhere.
func HasExpressions(value any) bool {
	switch v := value.(type) {
	case string:
		segments, err := Split(v)
		return err != nil || slices.ContainsFunc(segments, func(s Segment) bool { return s.Expr })
	case []any:
		return slices.ContainsFunc(v, HasExpressions)
	case map[string]any:
		for key, item := range v {
			if HasExpressions(key) || HasExpressions(item) {
				return true
			}
		}
	}
	return false
}

// LiteralPrefix returns the text before the first ${{ }}: what can be known of a URL's scheme and host.
func LiteralPrefix(s string) string {
	segments, err := Split(s)
	if err != nil || len(segments) == 0 || segments[0].Expr {
		return ""
	}
	return segments[0].Text
}

// Template is a compiled value: a tree of maps, lists and scalars whose strings may hold ${{ }}.
type Template struct{ root node }

// Eval returns the value with every ${{ }} replaced. A string that is exactly one ${{ }} becomes the
// value with its type; in a longer string the value is written as plain text. Maps and lists are new
// ones at each call.
func (t *Template) Eval(ctx context.Context, vars Vars) (any, error) { return t.root.eval(ctx, vars) }

// Template compiles a value of the configuration: nil, bool, numbers, strings, []any, map[string]any.
// The error joins one CompileError for each fault.
func (c *Compiler) Template(value any) (*Template, error) {
	b := builder{compiler: c}
	root := b.build(value, "")
	if len(b.faults) > 0 {
		return nil, errors.Join(b.faults...)
	}
	return &Template{root: root}, nil
}

type builder struct {
	compiler *Compiler
	faults   []error
}

func (b *builder) build(value any, path string) node {
	switch v := value.(type) {
	case nil, bool, int64, float64:
		return literal{v}
	case int:
		return literal{int64(v)}
	case uint64:
		return literal{plainUint(v)}
	case string:
		return b.text(v, path)
	case []any:
		list := make(listNode, len(v))
		for i, item := range v {
			list[i] = b.build(item, path+"["+strconv.Itoa(i)+"]")
		}
		return list
	case map[string]any:
		object := objectNode{}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			at := strings.TrimPrefix(path+"."+key, ".")
			if HasExpressions(key) {
				b.fault(at, &CompileError{Source: key, Message: "a key can't hold ${{ }}"})
			}
			object[key] = b.build(v[key], at)
		}
		return object
	}
	b.fault(path, &CompileError{Message: fmt.Sprintf("a value of type %T can't stand here", value)})
	return literal{nil}
}

func (b *builder) text(s, path string) node {
	segments, err := Split(s)
	if err != nil {
		b.fault(path, err)
		return literal{nil}
	}
	var parts textNode
	for _, segment := range segments {
		if !segment.Expr {
			parts = append(parts, part{text: segment.Text})
			continue
		}
		value, err := b.compiler.Value(segment.Text)
		if err != nil {
			b.fault(path, err)
			continue
		}
		parts = append(parts, part{value: value})
	}
	switch {
	case len(parts) == 0:
		return literal{""}
	case len(parts) == 1 && parts[0].value == nil:
		return literal{parts[0].text}
	case len(parts) == 1:
		return valueNode{parts[0].value}
	}
	return parts
}

func (b *builder) fault(path string, err error) {
	var fault *CompileError
	if errors.As(err, &fault) {
		fault.Path = path
	}
	b.faults = append(b.faults, err)
}

type node interface {
	eval(ctx context.Context, vars Vars) (any, error)
}

type (
	literal    struct{ value any }
	valueNode  struct{ value *Value }
	textNode   []part
	listNode   []node
	objectNode map[string]node
	part       struct {
		text  string
		value *Value
	}
)

func (n literal) eval(context.Context, Vars) (any, error) { return n.value, nil }

func (n valueNode) eval(ctx context.Context, vars Vars) (any, error) { return n.value.Eval(ctx, vars) }

func (n textNode) eval(ctx context.Context, vars Vars) (any, error) {
	var out strings.Builder
	for _, p := range n {
		text := p.text
		if p.value != nil {
			value, err := p.value.Eval(ctx, vars)
			if err != nil {
				return nil, err
			}
			if text, err = plainText(value); err != nil {
				return nil, core.Errorf(core.CodeInvalid, "%s %w", shorten(p.value.src), err)
			}
		}
		if out.Len()+len(text) > MaxResult {
			return nil, core.Errorf(core.CodeInvalid, "the text is longer than 1 MiB")
		}
		out.WriteString(text)
	}
	return out.String(), nil
}

func (n listNode) eval(ctx context.Context, vars Vars) (any, error) {
	out := make([]any, len(n))
	for i, item := range n {
		var err error
		if out[i], err = item.eval(ctx, vars); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (n objectNode) eval(ctx context.Context, vars Vars) (any, error) {
	out := make(map[string]any, len(n))
	for key, item := range n {
		var err error
		if out[key], err = item.eval(ctx, vars); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Length returns the length of the ${{ }} that s begins with.
func Length(s string) (int, error) {
	length := sourceLength(strings.TrimPrefix(s, opening))
	if length < 0 || !strings.HasPrefix(s, opening) {
		return 0, &CompileError{Source: s, Message: notClosed}
	}
	return len(opening) + length + len(closing), nil
}

const notClosed = `${{ is not closed: }} is missing (to write the text "${{", write $${{)`
