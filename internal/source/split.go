package source

import (
	"bytes"

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
		s.lists = append(s.lists, slot)
	}
	if in.Item != "" {
		s.item = newLens()
		s.item.slots = s.item.want.addWhole(in.Item, 0) + 1
	}
	return s, nil
}

// list returns the span of the request's list, if it has one.
func (s *split) list(r *reading) ([]byte, bool) {
	for _, slot := range s.lists {
		if at := r.slots[slot]; at.ok && at.whole && r.doc[at.start] == '[' {
			return r.doc[at.start:at.end], true
		}
	}
	return nil, false
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

// each reads each element of the list as a message of its own. around has read the whole request, whose
// bytes the parts share.
func (r *reading) each(around *reading, list []byte) ([]Message, *Rejected) {
	cut, err := cutList(list)
	if err != nil {
		return nil, err
	}
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
	list, ok := s.split.list(around)
	if !ok {
		r.around = around
		return r.whole()
	}
	if r.format.kind == core.FormatFormJSON {
		list = bytes.Clone(list) // it stands in a buffer that is used again
	}
	parts, err := r.each(around, list)
	if err != nil {
		return Message{}, err
	}
	if len(parts) == 0 {
		// It is stored for the audit: what was answered with a 2xx is to be found.
		return Message{Type: s.split.empty, NativeType: s.split.empty, Format: around.format.name, Test: s.Test, Body: r.req.Body}, nil
	}
	return Message{Parts: parts, Format: core.FormatJSON, Test: s.Test}, nil
}
