package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"relais/internal/expr"
)

// plainValue returns a tree as plain values (nil, bool, int64, float64, string, []any, map[string]any)
// with its variables put in.
func (r *reader) plainValue(n *node, path string) any { return r.value(n, path, expandPlain) }

// templateValue is plainValue for expr.Template: expressions stay, and only they are expressions.
func (r *reader) templateValue(n *node, path string) any {
	r.noteSent(n, false)
	return r.value(n, path, expandTemplate)
}

// noteSent notes what in a step's parameters is a secret by the name of its key or of its variable: a
// token in a header, which whoever receives it may repeat in an answer.
func (r *reader) noteSent(n *node, named bool) {
	for _, e := range n.entries {
		r.noteSent(e.value, named || secretName.MatchString(e.key))
	}
	for _, item := range n.items {
		r.noteSent(item, named)
	}
	if n.kind != scalarNode || n.scalar != textScalar {
		return
	}
	if !strings.Contains(n.text, varOpening) {
		if words := strings.Fields(n.text); named && len(words) > 0 {
			r.sent = append(r.sent, words[len(words)-1]) // without "Bearer"
		}
		return
	}
	// What can't be expanded is reported by whoever reads it.
	_, _ = expandTemplate(n.text, func(name string) (string, bool) {
		value, set := r.env(name)
		if named || secretName.MatchString(name) {
			r.sent = append(r.sent, value)
		}
		return value, set
	})
}

func (r *reader) value(n *node, path string, expand func(string, lookup) (string, error)) any {
	switch n.kind {
	case mapNode:
		out := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			at := join(path, e.key)
			r.places[at] = valuePlace(e)
			if strings.Contains(e.key, varOpening) {
				r.fault(e.place, at, "no ${ may stand in a key")
				continue
			}
			out[e.key] = r.value(e.value, at, expand)
		}
		return out
	case listNode:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			at := fmt.Sprintf("%s[%d]", path, i)
			r.places[at] = item.place
			out[i] = r.value(item, at, expand)
		}
		return out
	}
	switch n.scalar {
	case nullScalar:
		return nil
	case boolScalar:
		return n.text == "true"
	case intScalar:
		if i, err := strconv.ParseInt(n.text, 10, 64); err == nil {
			return i
		}
		return n.text // exact as text, and no double could hold it
	case floatScalar:
		if f, err := strconv.ParseFloat(n.text, 64); err == nil {
			return f
		}
		return n.text
	}
	text, err := expand(n.text, r.env)
	if err != nil {
		r.expandFault(n, path, err)
		return ""
	}
	return text
}

// expression returns the text of an expression. Variables are not put in: their values would become code.
func (r *reader) expression(n *node, path string) (string, bool) {
	if n.kind != scalarNode || n.isNull() {
		r.fault(n.place, path, "an expression is expected here, and this is %s", n.describe())
		return "", false
	}
	if i := strings.Index(n.text, varOpening); i >= 0 && !strings.HasPrefix(n.text[i:], exprOpening) {
		r.fault(r.within(n, n.text, i), path, "variables are not put into expressions: compare with a value in with, or write it out")
		return "", false
	}
	return n.text, true
}

// compileFaults reports why the expressions under n don't compile, each at its place.
func (r *reader) compileFaults(n *node, path string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			r.compileFaults(n, path, one)
		}
		return
	}
	var fault *expr.CompileError
	if !errors.As(err, &fault) {
		r.fault(n.place, path, "%s", err)
		return
	}
	at := path
	switch {
	case fault.Path == "":
	case fault.Path[0] == '[':
		at += fault.Path
	default:
		at += "." + fault.Path
	}
	r.fault(r.within(n.descend(fault.Path), fault.Source, fault.Offset), at, "%s", fault.Message)
}

// descend returns the node under n that a template's path leads to, or the last one that can be told.
func (n *node) descend(path string) *node {
	for path != "" {
		next := (*node)(nil)
		rest := ""
		for i := range n.items {
			if after, ok := strings.CutPrefix(path, "["+strconv.Itoa(i)+"]"); ok {
				next, rest = n.items[i], after
			}
		}
		for _, e := range n.entries {
			if after, ok := strings.CutPrefix(strings.TrimPrefix(path, "."), e.key); ok && (after == "" || after[0] == '.' || after[0] == '[') {
				next, rest = e.value, after
			}
		}
		if next == nil {
			return n
		}
		n, path = next, rest
	}
	return n
}

// checkParam refuses a value that can't be what its parameter is. What an expression will give is known
// only later; the steps' engine looks at it then.
func checkParam(p *Param, value any) (any, error) {
	if expr.HasExpressions(value) {
		if p.Literal {
			return nil, errors.New("no ${{ }} may stand here")
		}
		return value, nil
	}
	switch p.Type {
	case TypeString:
		text, ok := scalarText(value)
		if !ok {
			return nil, fmt.Errorf("text is expected here, and this is %s", describeValue(value))
		}
		if len(p.Enum) > 0 {
			if _, err := oneOf(p.Enum...).parse(text); err != nil {
				return nil, err
			}
		}
		return text, nil
	case TypeInt:
		if text, ok := scalarText(value); ok {
			if i, err := strconv.ParseInt(text, 10, 64); err == nil {
				return i, nil
			}
		}
		return nil, fmt.Errorf("a whole number is expected here, and this is %s", describeValue(value))
	case TypeBool:
		switch value {
		case true, "true":
			return true, nil
		case false, "false":
			return false, nil
		}
		return nil, fmt.Errorf("true or false is expected here, and this is %s", describeValue(value))
	case TypeDuration:
		if text, ok := scalarText(value); ok {
			d, err := ParseDuration(text)
			if err != nil {
				return nil, err
			}
			return d.String(), nil // without days, which Go's own reader doesn't know
		}
		return nil, fmt.Errorf("a duration such as 30s is expected here, and this is %s", describeValue(value))
	case TypeList:
		if list, ok := value.([]any); ok {
			for _, item := range list {
				if _, ok := scalarText(item); !ok {
					return nil, fmt.Errorf("a list of texts is expected here, and it holds %s", describeValue(item))
				}
			}
			return value, nil
		}
		if _, ok := scalarText(value); !ok {
			return nil, fmt.Errorf("a list is expected here, and this is %s", describeValue(value))
		}
	case TypeMap:
		if _, ok := value.(map[string]any); !ok {
			return nil, fmt.Errorf("keys with values are expected here, and this is %s", describeValue(value))
		}
	}
	return value, nil
}

func scalarText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case time.Duration:
		return v.String(), true
	}
	return "", false
}

func describeValue(value any) string {
	switch value.(type) {
	case nil:
		return "empty"
	case bool:
		return "true or false"
	case int64, float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	}
	return "text"
}
