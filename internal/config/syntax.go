package config

import "strings"

// syntaxAdvice says in a person's words what the YAML library says in its own, and what to do: what people get wrong
// is tabs, indentation and quotes.
var syntaxAdvice = []struct{ said, advice string }{
	{"found character '\t' that cannot start any token", "a tab stands here: indent with spaces"},
	{"',' or '}' must be specified", "',' or '}' is missing here: quote a text that holds { } [ ] , : or a quote"},
	{"',' or ']' must be specified", "',' or ']' is missing here: quote a text that holds { } [ ] , : or a quote"},
	{"mapping value is not allowed in this context", `a second ": " on the line, or a line that is indented too far: quote the value, or indent as the lines around it`},
	{"value is not allowed in this context", "nothing can stand here: indent as the lines around it, and look for a bracket too many"},
	{"unexpected key name", "a colon and a space stand behind a key: key: value"},
	{"could not find end character of double-quoted text", `the quote " that ends the text is missing`},
	{"could not find end character of single-quoted text", "the quote ' that ends the text is missing"},
}

// Syntax is what keeps a text from being read as YAML, by what the library says of it.
func Syntax(message string) string {
	for _, a := range syntaxAdvice {
		if strings.HasPrefix(message, a.said) {
			return "not well formed: " + a.advice
		}
	}
	if strings.HasSuffix(message, "is a reserved character") {
		message += ": quote the value"
	}
	return "not well formed: " + message
}
