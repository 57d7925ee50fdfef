package config

import (
	"regexp"
	"strings"

	"relais/internal/expr"
)

// A scalar's text may hold ${VAR}, ${VAR:-default}, $${ for the text "${", and where steps stand ${{ }}
// for an expression. Variables are put in after the file was parsed, so that no value can become
// structure; and never inside an expression, so that none can become code.

var variable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

const (
	varOpening  = "${"
	varEscaped  = "$${"
	exprOpening = "${{"
	exprEscaped = "$${{"
)

// expandError says what is wrong with a scalar, at a byte of its text.
type expandError struct {
	offset  int
	message string
	unset   string // the variable that has no value, where that is what is wrong
}

func (e *expandError) Error() string { return e.message }

// expandPlain expands a text that can hold no expression.
func expandPlain(text string, env lookup) (string, error) {
	if !strings.Contains(text, varOpening) {
		return text, nil
	}
	var out strings.Builder
	err := expandInto(&out, text, 0, env, func(int) error {
		return &expandError{offset: 0, message: "no ${{ }} may stand here (to write the text \"${{\", write $${{)"}
	})
	return out.String(), err
}

// expandTemplate expands the literal parts of a text that may hold expressions, and returns it as
// expr.Template reads it: what became "${{" by a variable or an escape is escaped again.
func expandTemplate(text string, env lookup) (string, error) {
	if !strings.Contains(text, varOpening) {
		return text, nil
	}
	var out strings.Builder
	for rest, base := text, 0; rest != ""; {
		start := expressionStart(rest)
		if start < 0 {
			start = len(rest)
		}
		var literal strings.Builder
		if err := expandInto(&literal, rest[:start], base, env, nil); err != nil {
			return "", err
		}
		escaped := expr.Escape(literal.String())
		if start == len(rest) {
			out.WriteString(escaped)
			break
		}
		if before, ok := strings.CutSuffix(escaped, "$"); ok {
			// "$" right before "${{" would be read as an escape of it.
			escaped = before + `${{ "$" }}`
		}
		out.WriteString(escaped)
		length, err := expr.Length(rest[start:])
		if err != nil {
			return "", &expandError{offset: base + start, message: err.Error()}
		}
		out.WriteString(rest[start : start+length])
		rest, base = rest[start+length:], base+start+length
	}
	return out.String(), nil
}

// emptyVariable is the first variable of a text that is set to nothing and has no default; "" where none is.
func (r *reader) emptyVariable(text string) string {
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, varEscaped):
			i += len(varEscaped) - 1
		case strings.HasPrefix(rest, exprOpening):
			length, err := expr.Length(rest)
			if err != nil {
				return ""
			}
			i += length - 1
		default:
			match := variable.FindStringSubmatch(rest)
			if match == nil || match[3] != "" {
				continue
			}
			if value, _ := r.env(match[1]); value == "" {
				return match[1]
			}
		}
	}
	return ""
}

// leftEmpty is the variable because of which a text lacks something; "" where none is. ${VAR:-} says that it may.
func (r *reader) leftEmpty(text string) string {
	if strings.Contains(text, ":-}") {
		return ""
	}
	return r.emptyVariable(text)
}

// expressionStart returns where the first "${{" that is not escaped stands, or -1.
func expressionStart(s string) int {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '$':
		case strings.HasPrefix(s[i:], varEscaped):
			i += len(varEscaped) - 1
		case strings.HasPrefix(s[i:], exprOpening):
			return i
		}
	}
	return -1
}

// expandInto writes text with its variables replaced. atExpression is asked about "${{"; nil where the
// text can hold none.
func expandInto(out *strings.Builder, text string, base int, env lookup, atExpression func(offset int) error) error {
	for i := 0; i < len(text); {
		rest := text[i:]
		switch {
		case strings.HasPrefix(rest, varEscaped):
			out.WriteString(varOpening)
			i += len(varEscaped)
		case strings.HasPrefix(rest, exprOpening) && atExpression != nil:
			return atExpression(base + i)
		case strings.HasPrefix(rest, varOpening):
			value, length, err := expandOne(rest, base+i, env)
			if err != nil {
				return err
			}
			out.WriteString(value)
			i += length
		default:
			next := strings.IndexByte(rest[1:], '$') + 1
			if next == 0 {
				next = len(rest)
			}
			out.WriteString(rest[:next])
			i += next
		}
	}
	return nil
}

func expandOne(rest string, offset int, env lookup) (value string, length int, err error) {
	match := variable.FindStringSubmatch(rest)
	if match == nil {
		return "", 0, &expandError{offset: offset, message: "${ begins a variable: allowed are ${NAME} and ${NAME:-default} (to write the text \"${\", write $${)"}
	}
	value, set := env(match[1])
	withDefault := match[2] != ""
	switch {
	case withDefault && value == "":
		value = match[3]
	case !set:
		return "", 0, &expandError{offset: offset, unset: match[1],
			message: "the variable " + match[1] + " is not set: write it into .env beside the file, or set it in the environment"}
	}
	return value, len(match[0]), nil
}
