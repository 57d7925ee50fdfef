package source

import (
	"encoding/json"
	"strconv"
	"strings"
)

// maxDepth bounds the nesting of JSON. No provider comes near it, and what is read later, here and in
// other systems, is often read by recursion.
const maxDepth = 200

// paths is a tree of the JSON paths that a preset reads, so that one pass over a body finds them all.
type paths struct {
	name     string
	slot     int  // where the value is noted; -1 for none
	whole    bool // an object or a list is noted too
	children []*paths
}

func newPaths() *paths { return &paths{slot: -1} }

// add returns the slot of a dotted path; next is the first slot that is free.
func (p *paths) add(path string, next int) (slot int) {
	return p.node(path).slotAt(next)
}

// addWhole is add for a value that may be an object or a list. "." is the document itself.
func (p *paths) addWhole(path string, next int) (slot int) {
	at := p
	if path != "." {
		at = p.node(path)
	}
	at.whole = true
	return at.slotAt(next)
}

func (p *paths) slotAt(next int) int {
	if p.slot < 0 {
		p.slot = next
	}
	return p.slot
}

func (p *paths) node(path string) *paths {
	at := p
	for name := range strings.SplitSeq(path, ".") {
		child := at.child([]byte(name))
		if child == nil {
			child = &paths{name: name, slot: -1}
			at.children = append(at.children, child)
		}
		at = child
	}
	return at
}

func (p *paths) child(name []byte) *paths {
	if p == nil {
		return nil
	}
	for _, c := range p.children {
		if c.name == string(name) {
			return c
		}
	}
	return nil
}

// found is a scalar in the scanned text. A string's span is what stands between its quotes.
type found struct {
	start, end int
	ok, quoted bool
	escaped    bool
	whole      bool // an object or a list
}

// scanner checks that a text is one JSON value and notes the wanted scalars in it. Of a name that is
// given twice in an object the last counts, as it does for whoever decodes the body later.
type scanner struct {
	in    []byte
	at    int
	depth int
	slots []found
}

// scan reads the whole text. slots has room for every slot of the tree, and is cleared first.
func scan(in []byte, want *paths, slots []found) *Rejected {
	clear(slots)
	s := scanner{in: in, slots: slots}
	if err := s.value(want); err != nil {
		return err
	}
	s.space()
	if s.at != len(in) {
		return errJSON
	}
	return nil
}

func (s *scanner) space() {
	for s.at < len(s.in) {
		switch s.in[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek returns the next byte that isn't white space; 0, which is none of JSON's, at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.at == len(s.in) {
		return 0
	}
	return s.in[s.at]
}

func (s *scanner) value(want *paths) *Rejected {
	if want != nil {
		s.forget(want)
	}
	switch c := s.peek(); c {
	case '{', '[':
		return s.compound(c, want)
	case '"':
		start, end, escaped, err := s.text()
		if err == nil && want != nil && want.slot >= 0 {
			s.slots[want.slot] = found{start: start, end: end, ok: true, quoted: true, escaped: escaped}
		}
		return err
	case 't':
		return s.word("true", want)
	case 'f':
		return s.word("false", want)
	case 'n':
		return s.word("null", nil)
	default:
		return s.number(want)
	}
}

func (s *scanner) compound(c byte, want *paths) *Rejected {
	start, read := s.at, s.object
	if c == '[' {
		read = s.array
	}
	err := read(want)
	if err == nil && want != nil && want.whole {
		s.slots[want.slot] = found{start: start, end: s.at, ok: true, whole: true}
	}
	return err
}

func (s *scanner) forget(want *paths) {
	if want.slot >= 0 {
		s.slots[want.slot] = found{}
	}
	for _, c := range want.children {
		s.forget(c)
	}
}

func (s *scanner) object(want *paths) *Rejected {
	if s.depth++; s.depth > maxDepth {
		return errDeep
	}
	s.at++
	if s.peek() == '}' {
		s.at++
		s.depth--
		return nil
	}
	for {
		if s.peek() != '"' {
			return errJSON
		}
		start, end, escaped, err := s.text()
		if err != nil {
			return err
		}
		if s.peek() != ':' {
			return errJSON
		}
		s.at++
		var child *paths
		if want != nil && len(want.children) > 0 {
			child = want.child(s.name(start, end, escaped))
		}
		if err := s.value(child); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.at++
		case '}':
			s.at++
			s.depth--
			return nil
		default:
			return errJSON
		}
	}
}

func (s *scanner) array(want *paths) *Rejected {
	if s.depth++; s.depth > maxDepth {
		return errDeep
	}
	s.at++
	if s.peek() == ']' {
		s.at++
		s.depth--
		return nil
	}
	for i := 0; ; i++ {
		var child *paths
		if want != nil && len(want.children) > 0 {
			var buf [20]byte
			child = want.child(strconv.AppendInt(buf[:0], int64(i), 10))
		}
		if err := s.value(child); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.at++
		case ']':
			s.at++
			s.depth--
			return nil
		default:
			return errJSON
		}
	}
}

// text reads a string and returns the span between its quotes.
func (s *scanner) text() (start, end int, escaped bool, err *Rejected) {
	s.at++
	start = s.at
	for s.at < len(s.in) {
		c := s.in[s.at]
		if plain[c] {
			s.at++
			continue
		}
		switch {
		case c == '"':
			s.at++
			return start, s.at - 1, escaped, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return 0, 0, false, err
			}
		default:
			return 0, 0, false, errJSON // a control character
		}
	}
	return 0, 0, false, errJSON
}

// plain are the bytes that stand for themselves in a string.
var plain = func() (table [256]bool) {
	for c := 0x20; c < 256; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

func (s *scanner) escape() *Rejected {
	s.at++
	if s.at == len(s.in) {
		return errJSON
	}
	switch s.in[s.at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at++
		return nil
	case 'u':
		if s.at+5 > len(s.in) {
			return errJSON
		}
		for _, c := range s.in[s.at+1 : s.at+5] {
			if hexDigits[c] == noDigit {
				return errJSON
			}
		}
		s.at += 5
		return nil
	}
	return errJSON
}

func (s *scanner) name(start, end int, escaped bool) []byte {
	if !escaped {
		return s.in[start:end]
	}
	return []byte(unquote(s.in[start-1 : end+1]))
}

// unquote decodes a JSON string that scan has accepted, quotes included.
func unquote(quoted []byte) string {
	var out string
	if err := json.Unmarshal(quoted, &out); err != nil {
		return "" // scan has accepted it
	}
	return out
}

func (s *scanner) word(word string, want *paths) *Rejected {
	end := s.at + len(word)
	if end > len(s.in) || string(s.in[s.at:end]) != word {
		return errJSON
	}
	if want != nil && want.slot >= 0 {
		s.slots[want.slot] = found{start: s.at, end: end, ok: true}
	}
	s.at = end
	return nil
}

func (s *scanner) number(want *paths) *Rejected {
	start := s.at
	if s.at < len(s.in) && s.in[s.at] == '-' {
		s.at++
	}
	switch whole := s.at; {
	case s.digits() == 0:
		return errJSON
	case s.in[whole] == '0' && s.at > whole+1:
		return errJSON
	}
	if s.at < len(s.in) && s.in[s.at] == '.' {
		s.at++
		if s.digits() == 0 {
			return errJSON
		}
	}
	if s.at < len(s.in) && (s.in[s.at] == 'e' || s.in[s.at] == 'E') {
		s.at++
		if s.at < len(s.in) && (s.in[s.at] == '+' || s.in[s.at] == '-') {
			s.at++
		}
		if s.digits() == 0 {
			return errJSON
		}
	}
	if want != nil && want.slot >= 0 {
		s.slots[want.slot] = found{start: start, end: s.at, ok: true}
	}
	return nil
}

func (s *scanner) digits() int {
	start := s.at
	for s.at < len(s.in) && s.in[s.at] >= '0' && s.in[s.at] <= '9' {
		s.at++
	}
	return s.at - start
}
