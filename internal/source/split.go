package source

import (
	"bytes"
	"slices"

	"relais/internal/core"
)

// maxParts bounds the events of one request: they are committed together, and others wait for that.
const maxParts = 20_000

// split is a preset's Split, compiled.
type split struct {
	lists []int // slots of the envelope's lens
	item  *lens // finds the one member of an element that is the message; nil where it is the element
	empty string
}

func compileSplit(in *Split, envelope *lens) (*split, error) {
	if len(in.At) == 0 {
		if in.Item != "" || in.Empty != "" {
			return nil, invalid("split.at", "it is missing: nothing says where the list stands")
		}
		return nil, nil //nolint:nilnil // most presets split nothing
	}
	s := &split{empty: in.Empty}
	if s.empty == "" {
		s.empty = "empty"
	}
	if core.NormalizeType(s.empty) != s.empty {
		return nil, invalid("split.empty", "%q is no event type", s.empty)
	}
	for _, at := range in.At {
		slot := envelope.want.addWhole(at, envelope.slots)
		envelope.slots = max(envelope.slots, slot+1)
		if !slices.Contains(s.lists, slot) {
			s.lists = append(s.lists, slot)
		}
	}
	if in.Item != "" {
		s.item = newLens()
		s.item.slots = s.item.want.addWhole(in.Item, 0) + 1
	}
	return s, nil
}

// elements returns those of all the request's lists, and whether it has one: what was answered with a 2xx
// must not stay behind because another list stands before it.
func (s *split) elements(r *reading, doc []byte) (out [][]byte, listed bool, err *Rejected) {
	for _, slot := range s.lists {
		at := r.slots[slot]
		if !at.ok || !at.whole || doc[at.start] != '[' {
			continue
		}
		listed = true
		cut, err := cutList(doc[at.start:at.end])
		if err != nil {
			return nil, true, err
		}
		if out = append(out, cut...); len(out) > maxParts {
			return nil, true, errParts
		}
	}
	return out, listed, nil
}

// cutList cuts a list that scan has accepted into its elements, without the white space around them.
func cutList(list []byte) ([][]byte, *Rejected) {
	s := scanner{in: list, at: 1}
	var out [][]byte
	if s.peek() == ']' {
		return nil, nil
	}
	for {
		s.peek()
		start := s.at
		if err := s.value(nil); err != nil {
			return nil, err
		}
		if len(out) == maxParts {
			return nil, errParts
		}
		out = append(out, list[start:s.at:s.at])
		if s.peek() != ',' {
			return out, nil
		}
		s.at++
	}
}

// message is the part of an element that is the message.
func (s *split) message(element []byte, slots []found) []byte {
	if s.item == nil {
		return element
	}
	if err := scan(element, s.item.want, slots); err != nil || !slots[0].whole {
		return element
	}
	return element[slots[0].start:slots[0].end:slots[0].end]
}

// each reads each element as a message of its own. around has read the whole request, whose bytes the parts
// share.
func (r *reading) each(around *reading, cut [][]byte) ([]Message, *Rejected) {
	s := r.source
	r.around, r.format = around, formatOf{name: core.FormatJSON, kind: core.FormatJSON}
	var wrapped [1]found
	out := make([]Message, 0, len(cut))
	for _, element := range cut {
		r.body, r.vars = s.split.message(element, wrapped[:]), nil
		r.doc = r.body
		if err := scan(r.doc, r.lens.want, r.slots); err != nil {
			return nil, err
		}
		msg, err := r.message()
		if err != nil {
			return nil, err
		}
		out = append(out, msg)
	}
	return out, nil
}

// splitting reads a request of a source that splits.
func (s *Source) splitting(r *reading) (Message, *Rejected) {
	around := s.envelopes.Get().(*reading)
	defer around.release(&s.envelopes)
	around.begin(r.req, r.format)
	if err := around.scan(); err != nil {
		return Message{}, err
	}
	doc := around.doc
	if r.format.kind == core.FormatFormJSON {
		doc = bytes.Clone(doc) // it stands in a buffer that is used again
	}
	cut, listed, err := s.split.elements(around, doc)
	if err != nil {
		return Message{}, err
	}
	if !listed {
		r.around = around
		return r.whole()
	}
	parts, err := r.each(around, cut)
	if err != nil {
		return Message{}, err
	}
	if len(parts) == 0 {
		// It is stored for the audit: what was answered with a 2xx is to be found.
		return Message{Type: s.split.empty, NativeType: s.split.empty, Format: around.format.name, Test: s.Test, Body: r.req.Body}, nil
	}
	return Message{Parts: parts, Format: core.FormatJSON, Test: s.Test}, nil
}
