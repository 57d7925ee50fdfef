package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"relais/internal/core"
)

// reader turns the tree of a file into a Config and gathers what is wrong with it.
type reader struct {
	file     string
	dir      string // of the file: other files that it names stand beside it
	text     string
	env      lookup
	catalog  Catalog
	problems Problems
	warnings Problems
	places   map[string]Place
	// secrets are all values that were read as secrets, for the record of the file to leave out.
	secrets []string
	// sent are those that steps are given in their parameters, told by the names of keys and variables.
	sent []string
	// results are the members that results of the route's steps can have, by the steps' ids.
	results map[string][]string
}

func (r *reader) fault(at Place, path, format string, args ...any) {
	r.problems = append(r.problems, Problem{at, path, fmt.Sprintf(format, args...)})
}

// warn notes what is allowed and is probably a mistake.
func (r *reader) warn(at Place, path, format string, args ...any) {
	r.warnings = append(r.warnings, Problem{at, path, fmt.Sprintf(format, args...)})
}

// field is one key of an object of the file: how it is called, documented, written and read. The tables
// of fields are the only place where keys are declared; the schema is made of them.
type field[T any] struct {
	name string
	doc  string
	// shape is the key's JSON Schema without its text.
	shape    func(s *schemaMaker) map[string]any
	required bool
	// orFile allows name_file too.
	orFile bool
	// group is set for keys that hold other keys: nothing under them is no fault.
	group bool
	init  func(*T)
	// def is the default as it is shown.
	def  string
	read func(r *reader, n *node, path string, to *T)
}

func (f field[T]) must() field[T] {
	f.required = true
	return f
}

// readObject reads a map by its fields: defaults first, then what is there, then what is missing.
func readObject[T any](r *reader, n *node, path string, fields []field[T], to *T) {
	for _, f := range fields {
		if f.init != nil {
			f.init(to)
		}
	}
	if !r.isMap(n, path) {
		return
	}
	given := map[string]bool{}
	for _, e := range n.entries {
		at := join(path, e.key)
		r.places[at] = valuePlace(e)
		i := slices.IndexFunc(fields, func(f field[T]) bool {
			return f.name == e.key || f.orFile && f.name+"_file" == e.key
		})
		if i < 0 {
			r.unknown(e.place, at, "key", e.key, keyNames(fields))
			continue
		}
		if given[fields[i].name] {
			r.fault(e.place, at, "%s and %s_file can't both stand here", fields[i].name, fields[i].name)
			continue
		}
		given[fields[i].name] = true
		if fields[i].group && e.value.isNull() {
			continue
		}
		if value := r.valueOf(e, at, fields[i].name != e.key); value != nil {
			fields[i].read(r, value, at, to)
		}
	}
	for _, f := range fields {
		if f.required && !given[f.name] {
			r.fault(n.place, path, "%s is missing: %s", f.name, f.doc)
		}
	}
}

// valueOf returns the entry's value, or the content of the file that name_file names; nil after a fault.
func (r *reader) valueOf(e entry, path string, fromFile bool) *node {
	if e.value.isNull() {
		r.fault(e.place, path, "the key has no value: give it one or leave it out")
		return nil
	}
	if !fromFile {
		return e.value
	}
	name, ok := r.plainText(e.value, path)
	if !ok {
		return nil
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(r.dir, name)
	}
	content, err := readBounded(name, 64<<10)
	if err != nil {
		r.fault(e.value.place, path, "%s", plainFileError(err))
		return nil
	}
	secret := strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		r.fault(e.value.place, path, "the file is empty")
		return nil
	}
	r.secrets = append(r.secrets, secret)
	// What a file holds is taken as it is: it was never a scalar of the configuration.
	return &node{text: strings.ReplaceAll(secret, varOpening, varEscaped), place: e.value.place}
}

// isMap reports anything but a map; nothing at all counts as an empty one.
func (r *reader) isMap(n *node, path string) bool {
	if n.kind == mapNode || n.isNull() {
		return true
	}
	r.fault(n.place, path, "keys with values are expected here, and this is %s", n.describe())
	return false
}

// plainText returns a scalar's expanded text.
func (r *reader) plainText(n *node, path string) (string, bool) {
	if n.faulty {
		return "", false
	}
	if n.kind != scalarNode || n.isNull() {
		r.fault(n.place, path, "one value is expected here, and this is %s", n.describe())
		return "", false
	}
	text, err := expandPlain(n.text, r.env)
	if err != nil {
		r.expandFault(n, path, err)
		return "", false
	}
	return text, true
}

func (r *reader) expandFault(n *node, path string, err error) {
	at, fault := n.place, (*expandError)(nil)
	message := err.Error()
	if errors.As(err, &fault) {
		at = r.within(n, n.text, fault.offset)
		if fault.unset != "" && !n.secret && !secretName.MatchString(fault.unset) {
			// A secret that stands in the file as a default is not one any more.
			message += ", or give it a default here: ${" + fault.unset + ":-default}"
		}
	}
	r.fault(at, path, "%s", message)
}

// within returns the place of a byte of part, a piece of n's text, when it can be found in the file; a
// scalar that is folded or escaped over several lines is pointed at as a whole.
func (r *reader) within(n *node, part string, offset int) Place {
	first, _, _ := strings.Cut(part, "\n")
	if offset > len(first) || first == "" {
		return n.place
	}
	line, start := 1, 0
	for ; line < n.place.Line; line++ {
		next := strings.IndexByte(r.text[start:], '\n')
		if next < 0 {
			return n.place
		}
		start += next + 1
	}
	lineStart := start
	start += runeOffset(r.text[start:], n.place.Column-1)
	found := strings.Index(r.text[start:], first)
	if found < 0 {
		return n.place
	}
	end := start + found + offset
	between := r.text[lineStart:end]
	line += strings.Count(between, "\n")
	return Place{n.place.File, line, len([]rune(between[strings.LastIndexByte(between, '\n')+1:])) + 1}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// runeOffset returns the byte at which a line's n-th character begins.
func runeOffset(s string, n int) int {
	for i := range firstLine(s) {
		if n == 0 {
			return i
		}
		n--
	}
	return len(firstLine(s))
}

// manyWords are more than are listed where the nearest one is told.
const manyWords = 40

// unknown reports a word that isn't one of those allowed, with the nearest.
func (r *reader) unknown(at Place, path, what, word string, allowed []string) {
	message := fmt.Sprintf("there is no %s %q", what, word)
	near := core.Nearest(word, allowed)
	if near != "" {
		message += fmt.Sprintf(": did you mean %q?", near)
	}
	switch {
	case len(allowed) == 0:
		message += " (there is none)"
	case near != "" && len(allowed) > manyWords:
	default:
		message += " (allowed: " + strings.Join(allowed, ", ") + ")"
	}
	r.fault(at, path, "%s", message)
}

func keyNames[T any](fields []field[T]) []string {
	var out []string
	for _, f := range fields {
		out = append(out, f.name)
		if f.orFile {
			out = append(out, f.name+"_file")
		}
	}
	return out
}

func valuePlace(e entry) Place {
	if e.value.kind == scalarNode && !e.value.isNull() {
		return e.value.place
	}
	return e.place
}

func (n *node) isNull() bool { return n.kind == scalarNode && n.scalar == nullScalar }

func (n *node) describe() string {
	switch {
	case n.kind == mapNode:
		return "a map"
	case n.kind == listNode:
		return "a list"
	case n.isNull():
		return "empty"
	case n.scalar == intScalar || n.scalar == floatScalar:
		return "a number"
	case n.scalar == boolScalar:
		return n.text
	}
	return "text"
}
