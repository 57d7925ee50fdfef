package sqlstep

import "strings"

// dialect is how a database reads quotes and comments.
type dialect int

const (
	inPostgres dialect = iota
	inMySQL
	inSQLite
)

// scanned is what can be told of a statement without understanding it.
type scanned struct {
	// words stand outside of quotes, comments and parentheses, in capitals.
	words []string
	// several tells that something stands after a semicolon.
	several bool
}

func (s scanned) first() string {
	if len(s.words) == 0 {
		return ""
	}
	return s.words[0]
}

// gives tells whether the statement gives rows: it begins with such a verb, or has RETURNING.
func (s scanned) gives() bool {
	if len(s.words) == 0 {
		return true // all in parentheses
	}
	for i, word := range s.words {
		switch word {
		case "RETURNING":
			return true
		case "SELECT", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE":
			if i == 0 || s.words[0] == "WITH" && !s.changes() {
				return true
			}
		}
	}
	return false
}

func (s scanned) changes() bool {
	for _, word := range s.words {
		switch word {
		case "SELECT", "VALUES":
			return false
		case "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE":
			return true
		}
	}
	return false
}

// scan reads a statement as far as telling its words from its quotes and comments.
func scan(d dialect, text string) scanned {
	var out scanned
	depth, ended := 0, false
	for i := 0; i < len(text); {
		if n := blank(d, text[i:]); n > 0 {
			i += n
			continue
		}
		if ended {
			out.several = true
			return out
		}
		if n := quoted(d, text[i:], i > 0 && isWord(text[i-1])); n > 0 {
			i += n
			continue
		}
		n := 0
		for i+n < len(text) && isWord(text[i+n]) {
			n++
		}
		if n > 0 {
			// PostgreSQL reads backslashes in E'…' only.
			if d == inPostgres && n == 1 && (text[i] == 'E' || text[i] == 'e') && strings.HasPrefix(text[i+1:], "'") {
				i += 1 + closing(text[i+1:], '\'', true)
				continue
			}
			if depth == 0 {
				out.words = append(out.words, strings.ToUpper(text[i:i+n]))
			}
			i += n
			continue
		}
		switch text[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ';':
			ended = depth <= 0
		}
		i++
	}
	return out
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= 0x80
}

// blank is how long the white space or comment is that a text begins with.
func blank(d dialect, text string) int {
	switch c := text[0]; {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
		return 1
	case strings.HasPrefix(text, "--") && (d != inMySQL || len(text) == 2 || text[2] <= ' '), c == '#' && d == inMySQL:
		if n := strings.IndexByte(text, '\n'); n >= 0 {
			return n + 1
		}
		return len(text)
	case strings.HasPrefix(text, "/*"):
		return comment(d, text)
	}
	return 0
}

// comment is how long a comment is; PostgreSQL's nest. MySQL runs what stands in /*! */, so it is none.
func comment(d dialect, text string) int {
	if d == inMySQL && (strings.HasPrefix(text, "/*!") || strings.HasPrefix(text, "/*M!")) {
		return 0
	}
	depth := 0
	for i := 0; i+1 < len(text); {
		switch {
		case strings.HasPrefix(text[i:], "/*") && (d == inPostgres || i == 0):
			depth++
			i += 2
		case strings.HasPrefix(text[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(text)
}

// quoted is how long the quoted text is that a text begins with.
func quoted(d dialect, text string, afterWord bool) int {
	switch c := text[0]; {
	case c == '\'':
		return closing(text, c, d == inMySQL)
	case c == '"':
		return closing(text, c, d == inMySQL)
	case c == '`' && d != inPostgres:
		return closing(text, c, false)
	case c == '[' && d == inSQLite:
		return closing(text, ']', false)
	case c == '$' && d == inPostgres && !afterWord:
		end := strings.IndexByte(text[1:], '$')
		if end < 0 || end > 0 && (text[1] >= '0' && text[1] <= '9') || strings.ContainsAny(text[1:1+end], " \t\r\n'\"();,.:=<>+-*/") {
			return 0
		}
		tag := text[:end+2]
		if n := strings.Index(text[len(tag):], tag); n >= 0 {
			return len(tag) + n + len(tag)
		}
		return len(text)
	}
	return 0
}

// closing is how long a quoted text is. A doubled quote reads as the end of one and the beginning of another.
func closing(text string, quote byte, backslash bool) int {
	for i := 1; i < len(text); i++ {
		switch {
		case backslash && text[i] == '\\':
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}
