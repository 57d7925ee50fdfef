package source

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"relais/internal/core"
)

// redaction is the paths that are taken out of a body before it is written anywhere. Segments are
// names, * for any one, ** for any number.
type redaction [][]string

func parseRedaction(texts []string) (redaction, error) {
	var out redaction
	for _, text := range texts {
		segments := strings.Split(text, ".")
		if slices.Contains(segments, "") || segments[len(segments)-1] == "**" {
			return nil, invalid("redact", "%q: a path is names joined by '.', with * for any one and ** for any number of them, and ends with a name or *", text)
		}
		out = append(out, segments)
	}
	return out, nil
}

// Redact returns the body without what the source's redact paths name, and whether anything had to be
// taken out. What stays keeps its bytes. It is for bodies that Read accepted.
func (s *Source) Redact(format core.DataFormat, body []byte) (kept []byte, changed bool) {
	if len(s.redact) == 0 || len(body) == 0 {
		return body, false
	}
	parsed, err := parseFormat(string(format))
	if err != nil {
		return body, false
	}
	switch parsed.kind {
	case core.FormatJSON:
		return s.redact.json(body)
	case core.FormatForm:
		return s.redact.form(body)
	case core.FormatFormJSON:
		return s.redact.formJSON(body, parsed.field)
	default:
		return body, false
	}
}

// matches tells whether a value with these names on its way is to go.
func (r redaction) matches(names []string) bool {
	for _, path := range r {
		if matchNames(path, names) {
			return true
		}
	}
	return false
}

func matchNames(path, names []string) bool {
	for len(path) > 0 {
		if path[0] == "**" {
			for i := range len(names) + 1 {
				if matchNames(path[1:], names[i:]) {
					return true
				}
			}
			return false
		}
		if len(names) == 0 || path[0] != "*" && path[0] != names[0] {
			return false
		}
		path, names = path[1:], names[1:]
	}
	return len(names) == 0
}

// cut is a part of the text that goes, and what comes in its place.
type cut struct {
	start, end int
	with       string
}

// cutter walks a text that scan has accepted and gathers the cuts.
type cutter struct {
	scanner
	paths redaction
	names []string
	cuts  []cut
}

func (r redaction) json(in []byte) ([]byte, bool) {
	c := &cutter{scanner: scanner{in: in}, paths: r}
	if err := c.walk(); err != nil || len(c.cuts) == 0 {
		return in, false
	}
	slices.SortStableFunc(c.cuts, func(a, b cut) int { return a.start - b.start })
	out := make([]byte, 0, len(in))
	at := 0
	for _, cut := range c.cuts {
		if cut.start > at {
			out = append(out, in[at:cut.start]...)
		}
		out = append(out, cut.with...)
		at = max(at, cut.end)
	}
	return append(out, in[at:]...), true
}

func (c *cutter) walk() *Rejected {
	switch c.peek() {
	case '{':
		return c.members()
	case '[':
		return c.elements()
	default:
		return c.value(nil)
	}
}

// members walks an object. A member goes with the comma after it or, the last one, with the comma
// before it: prevEnd is where the last member that stays ended.
func (c *cutter) members() *Rejected {
	c.at++
	prevEnd := c.at
	for c.peek() == '"' {
		start := c.at
		nameStart, nameEnd, escaped, err := c.text()
		if err != nil {
			return err
		}
		name := string(c.name(nameStart, nameEnd, escaped))
		c.peek()
		c.at++ // the colon
		c.names = append(c.names, name)
		gone := c.paths.matches(c.names)
		if gone {
			err = c.value(nil)
		} else {
			err = c.walk()
		}
		if err != nil {
			return err
		}
		c.names = c.names[:len(c.names)-1]
		end := c.at
		more := c.peek() == ','
		c.at++
		switch {
		case gone && more:
			c.peek()
			c.cuts = append(c.cuts, cut{start: start, end: c.at})
		case gone:
			c.cuts = append(c.cuts, cut{start: prevEnd, end: end})
		default:
			prevEnd = end
		}
		if !more {
			return nil
		}
	}
	c.at++
	return nil
}

// elements walks a list. An element that goes leaves a null: the others keep their places.
func (c *cutter) elements() *Rejected {
	c.at++
	if c.peek() == ']' {
		c.at++
		return nil
	}
	for i := 0; ; i++ {
		c.peek()
		start := c.at
		c.names = append(c.names, strconv.Itoa(i))
		var err *Rejected
		if c.paths.matches(c.names) {
			err = c.value(nil)
			c.cuts = append(c.cuts, cut{start, c.at, "null"})
		} else {
			err = c.walk()
		}
		if err != nil {
			return err
		}
		c.names = c.names[:len(c.names)-1]
		more := c.peek() == ','
		c.at++
		if !more {
			return nil
		}
	}
}

func (r redaction) form(in []byte) ([]byte, bool) {
	out, changed := make([]byte, 0, len(in)), false
	for {
		name, value, rest, ok := nextPair(in)
		if !ok {
			return out, changed
		}
		in = rest
		decoded, _ := appendUnescaped(nil, name)
		if r.matches([]string{string(decoded)}) {
			changed = true
			continue
		}
		out = appendPair(out, name, value)
	}
}

func (r redaction) formJSON(in []byte, field string) ([]byte, bool) {
	text, err := formField(nil, in, field)
	if err != nil {
		return in, false
	}
	kept, changed := r.json(text)
	if !changed {
		return in, false
	}
	var out []byte
	for {
		name, value, rest, ok := nextPair(in)
		if !ok {
			return out, true
		}
		in = rest
		if decoded, _ := appendUnescaped(nil, name); string(decoded) == field {
			value = []byte(url.QueryEscape(string(kept)))
		}
		out = appendPair(out, name, value)
	}
}

func appendPair(dst, name, value []byte) []byte {
	if len(dst) > 0 {
		dst = append(dst, '&')
	}
	return append(append(append(dst, name...), '='), value...)
}
