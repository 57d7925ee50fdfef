package expr

import (
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
)

// issueFault turns the library's list of issues into one fault with its place: the first is the one
// that the others follow from.
func issueFault(src string, issues *cel.Issues, names string) error {
	fault := &CompileError{Source: src, Message: firstLine(issues.Err().Error())}
	if list := issues.Errors(); len(list) > 0 {
		fault.Message = readable(list[0].Message, names)
		if list[0].Location != nil {
			fault.Offset = byteOffset(src, list[0].Location.Line(), list[0].Location.Column())
		}
	}
	return fault
}

func readable(message, names string) string {
	message = firstLine(message)
	if name, ok := strings.CutPrefix(message, "undeclared reference to '"); ok {
		name, _, _ = strings.Cut(name, "'")
		return "nothing is named " + strconv.Quote(name) + " here; there are " + names
	}
	if rest, ok := strings.CutPrefix(message, "Syntax error: "); ok {
		rest, _, _ = strings.Cut(rest, " expecting {")
		return "the expression isn't well formed: " + advised(rest)
	}
	return message
}

// advised says what to write instead of what other languages have.
func advised(said string) string {
	for _, a := range []struct{ said, advice string }{
		{"mismatched input 'and'", "and is written &&"},
		{"mismatched input 'or'", "or is written ||"},
		{"token recognition error at: '=", "equality is written =="},
		{"mismatched input '<EOF>'", "it ends too early"},
	} {
		if strings.HasPrefix(said, a.said) {
			return a.advice
		}
	}
	return said
}

// byteOffset turns the library's line (from 1) and column (from 0, in characters) into an offset.
func byteOffset(src string, line, column int) int {
	offset := 0
	for ; line > 1; line-- {
		next := strings.IndexByte(src[offset:], '\n')
		if next < 0 {
			return len(src)
		}
		offset += next + 1
	}
	for i := range src[offset:] {
		if column == 0 {
			return offset + i
		}
		column--
	}
	return len(src)
}
