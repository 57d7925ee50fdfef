package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of a file. The tokens are bounded because the YAML parser's time grows with their square.
const (
	maxFile   = 1 << 20
	maxTokens = 50_000
	maxNested = 64
)

type nodeKind int

const (
	scalarNode nodeKind = iota
	mapNode
	listNode
)

type scalarType int

const (
	textScalar scalarType = iota
	intScalar
	floatScalar
	boolScalar
	nullScalar
)

// node is a place in the file with what stands there. Nothing is expanded yet.
type node struct {
	kind    nodeKind
	scalar  scalarType
	text    string // of a scalar, as written, without quotes
	entries []entry
	items   []*node
	place   Place
	// faulty is set when a problem with it was reported already.
	faulty bool
	// secret is set once the node was read as a secret: the record of the file leaves it out.
	secret bool
}

type entry struct {
	key   string
	place Place
	value *node
}

// parseTree reads one YAML document. What YAML can do beyond a tree (anchors, aliases, merge keys, tags,
// several documents) is refused: none of it is needed here, and aliases are how small files become huge.
func parseTree(file string, text []byte) (root *node, problems Problems) {
	problem := func(line, column int, message string) Problems {
		return Problems{{Place: Place{file, line, column}, Message: message}}
	}
	// The library is handed whatever stands in the file: a fault of it must not end a running relais.
	defer func() {
		if r := recover(); r != nil {
			root, problems = nil, problem(1, 1, fmt.Sprintf("the file can't be read as YAML (%v)", r))
		}
	}()
	if len(text) > maxFile {
		return nil, problem(1, 1, "the file is larger than 1MiB")
	}
	if line, column, bad := badCharacter(text); bad {
		return nil, problem(line, column, "the file holds a character that is not UTF-8 text")
	}
	source := strings.TrimPrefix(string(text), "\uFEFF")
	tokens := lexer.Tokenize(source)
	if p, ok := refuseTokens(file, tokens); !ok {
		return nil, Problems{p}
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil {
			return nil, problem(syntax.Token.Position.Line, syntax.Token.Position.Column, Syntax(syntax.Message))
		}
		line, _, _ := strings.Cut(err.Error(), "\n")
		return nil, problem(1, 1, Syntax(line))
	}
	b := treeBuilder{file: file}
	switch {
	case len(tree.Docs) == 0 || tree.Docs[0].Body == nil:
		return &node{kind: mapNode, place: Place{file, 1, 1}}, nil
	case len(tree.Docs) > 1:
		return nil, problem(1, 1, "the file holds more than one YAML document")
	}
	root = b.build(tree.Docs[0].Body, 0, "")
	return root, b.problems
}

func badCharacter(text []byte) (line, column int, bad bool) {
	line, column = 1, 1
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7F:
			return line, column, true
		case r == '\n':
			line, column = line+1, 1
		default:
			column++
		}
		text = text[size:]
	}
	return 0, 0, false
}

// refuseTokens keeps from the parser what it would recurse over without a bound.
func refuseTokens(file string, tokens token.Tokens) (Problem, bool) {
	refuse := func(t *token.Token, message string) (Problem, bool) {
		return Problem{Place: Place{file, t.Position.Line, t.Position.Column}, Message: message}, false
	}
	flow, dashes, line := 0, 0, 0
	for i, t := range tokens {
		if i >= maxTokens {
			return refuse(t, fmt.Sprintf("the file holds more than %d words and signs", maxTokens))
		}
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType:
			return refuse(t, "anchors (&) and aliases (*) are not allowed: quote the value if it begins with & or *")
		case token.MergeKeyType:
			return refuse(t, "merge keys (<<) are not allowed")
		case token.TagType:
			return refuse(t, "tags (!) are not allowed: quote the value if it begins with !")
		case token.MappingKeyType:
			return refuse(t, `keys with "?" are not allowed`)
		case token.DirectiveType:
			return refuse(t, "directives (%) are not allowed: quote the value if it begins with %")
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType:
			dashes++
		}
		if max(flow, dashes) > maxNested || t.Position.IndentNum > 4*maxNested {
			return refuse(t, fmt.Sprintf("nested deeper than %d levels", maxNested))
		}
	}
	return Problem{}, true
}

type treeBuilder struct {
	file     string
	problems Problems
}

func (b *treeBuilder) place(n ast.Node) Place {
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return Place{File: b.file, Line: 1, Column: 1}
	}
	return Place{b.file, t.Position.Line, max(t.Position.Column, 1)}
}

func (b *treeBuilder) fault(at Place, path, format string, args ...any) {
	b.problems = append(b.problems, Problem{at, path, fmt.Sprintf(format, args...)})
}

func (b *treeBuilder) build(n ast.Node, depth int, path string) *node {
	out := &node{place: b.place(n)}
	if depth > maxNested {
		b.fault(out.place, path, "nested deeper than %d levels", maxNested)
		return out
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		out.kind = mapNode
		b.entries(out, n.Values, depth, path)
		if len(out.entries) > 0 && !n.IsFlowStyle {
			out.place = out.entries[0].place
		}
	case *ast.MappingValueNode:
		out.kind = mapNode
		b.entries(out, []*ast.MappingValueNode{n}, depth, path)
		out.place = out.entries[0].place
	case *ast.SequenceNode:
		out.kind = listNode
		for i, item := range n.Values {
			out.items = append(out.items, b.build(item, depth+1, path+"["+strconv.Itoa(i)+"]"))
		}
	case *ast.LiteralNode:
		out.text = n.Value.Value
	case *ast.StringNode:
		out.text = n.Value
	default:
		b.scalar(out, n, path)
	}
	return out
}

func (b *treeBuilder) entries(out *node, values []*ast.MappingValueNode, depth int, path string) {
	seen := map[string]Place{}
	for _, value := range values {
		key, at := "", b.place(value.Key)
		switch k := value.Key.(type) {
		case *ast.StringNode:
			key = k.Value
		default:
			key = value.Key.GetToken().Value
		}
		under := join(path, key)
		if first, twice := seen[key]; twice {
			b.fault(at, under, "the key stands twice; the first is on line %d", first.Line)
			continue
		}
		seen[key] = at
		child := b.build(value.Value, depth+1, under)
		out.entries = append(out.entries, entry{key, at, child})
	}
}

func (b *treeBuilder) scalar(out *node, n ast.Node, path string) {
	switch n := n.(type) {
	case *ast.NullNode:
		out.scalar = nullScalar
	case *ast.BoolNode:
		out.scalar, out.text = boolScalar, strconv.FormatBool(n.Value)
	case *ast.IntegerNode:
		out.scalar, out.text = intScalar, n.Token.Value
		if out.faulty = !plainInteger(out.text); out.faulty {
			b.fault(out.place, path, "%s could be read as different numbers: write it in plain decimal, or in quotes when it is text", out.text)
		}
	case *ast.FloatNode:
		out.scalar, out.text = floatScalar, n.Token.Value
		_, err := strconv.ParseFloat(out.text, 64)
		if out.faulty = err != nil || strings.ContainsAny(out.text, "_xX"); out.faulty {
			b.fault(out.place, path, "%s could be read as different numbers: write it in plain decimal, or in quotes when it is text", out.text)
		}
	default:
		out.faulty = true
		b.fault(out.place, path, "this can't stand here: allowed are text, numbers, true, false, lists and maps")
	}
}

// plainInteger tells decimal integers from octal, hexadecimal and grouped ones: 0612345678 is a
// telephone number to its writer and an octal number to YAML.
func plainInteger(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	if digits == "" || len(digits) > 1 && digits[0] == '0' {
		return false
	}
	return strings.Trim(digits, "0123456789") == ""
}

// join writes a path: keys that aren't plain words stand in brackets.
func join(path, key string) string {
	if !isWord(key) {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func isWord(s string) bool {
	for _, c := range s {
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}
