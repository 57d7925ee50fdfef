package source

import (
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"relais/internal/expr"
)

type fieldKind uint8

const (
	fieldLiteral fieldKind = iota
	fieldData
	fieldEnvelope
	fieldHeader
	fieldQuery
	fieldPath
	fieldChosen // in the body, else in the query, under the merchant's own name
	fieldSecret
	fieldType
	fieldNativeType
	fieldBody
)

// field is a piece of a rule's text, or one side of a condition.
type field struct {
	kind fieldKind
	text string // the literal, the header's or the parameter's name
	slot int    // of fieldData, fieldEnvelope and fieldChosen
	sign *signing
}

// condition holds when the field's text is one of those wanted.
type condition struct {
	field field
	want  []string
}

type rule struct {
	when  []condition
	parts []field
	cel   *expr.Value
	table *table
	as    string
}

// lens is the paths that a set of rules reads, so that one pass over a document finds them all.
type lens struct {
	want  *paths
	slots int
}

func newLens() *lens { return &lens{want: newPaths()} }

func (l *lens) add(path string) int {
	slot := l.want.add(path, l.slots)
	l.slots = max(l.slots, slot+1)
	return slot
}

// ruleReader compiles rules and gathers the paths that they read.
type ruleReader struct {
	*lens
	// envelope is what is around the elements of a request that is split; nil where nothing is.
	envelope *lens
	names    map[string]string // the merchant's own, by letter
	allow    fieldsAllowed
}

// fieldsAllowed are the fields that make no sense everywhere.
type fieldsAllowed struct{ body, event, sign bool }

func (r *ruleReader) compile(where string, rules Rules) ([]rule, error) {
	out := make([]rule, 0, len(rules))
	for _, in := range rules {
		var compiled rule
		var err error
		if compiled.when, err = r.conditions(where, in.When); err != nil {
			return nil, err
		}
		switch {
		case (in.Is == "") == (in.CEL == ""):
			return nil, invalid(where, "a rule has either is or cel")
		case in.CEL != "":
			if compiled.cel, err = expr.CompileValue(in.CEL, "data", "header", "query"); err != nil {
				return nil, invalid(where, "%s", err)
			}
		default:
			compiled.parts, err = r.text(where, in.Is)
		}
		if err != nil {
			return nil, err
		}
		if compiled.table, err = newTable(where, in.Map); err != nil {
			return nil, err
		}
		if !knownForms[in.As] || in.As != "" && !r.allow.event {
			return nil, invalid(where, "as: %q: allowed are int, cents, number, bool, time, in normalized", in.As)
		}
		compiled.as = in.As
		out = append(out, compiled)
	}
	return out, nil
}

func (r *ruleReader) conditions(where string, when map[string]Texts) ([]condition, error) {
	out := make([]condition, 0, len(when))
	for _, name := range slices.Sorted(maps.Keys(when)) {
		f, err := r.field(where, name)
		if err != nil {
			return nil, err
		}
		out = append(out, condition{f, when[name]})
	}
	return out, nil
}

// text takes a text with fields in braces apart.
func (r *ruleReader) text(where, text string) ([]field, error) {
	var parts []field
	err := eachPart(text, func(literal string) error {
		parts = append(parts, field{text: literal})
		return nil
	}, func(name string) error {
		var sign *signing
		if method, of, ok := strings.Cut(name, " "); ok && r.allow.sign {
			if sign, name = signings[method], of; sign == nil {
				return invalid(where, "{%s …}: allowed are {hmac-sha256-hex …} and {hmac-sha256-base64 …}", method)
			}
		}
		f, err := r.field(where, name)
		f.sign = sign
		parts = append(parts, f)
		return err
	})
	return parts, err
}

func (r *ruleReader) field(where, name string) (field, error) {
	kind, rest, _ := strings.Cut(name, ".")
	switch {
	case name == "body" && r.allow.body:
		return field{kind: fieldBody}, nil
	case name == "secret":
		return field{kind: fieldSecret}, nil
	case name == "type" && r.allow.event:
		return field{kind: fieldType}, nil
	case name == "native_type" && r.allow.event:
		return field{kind: fieldNativeType}, nil
	case rest == "":
	case kind == "data":
		return field{kind: fieldData, slot: r.add(rest)}, nil
	case kind == "envelope" && r.envelope != nil:
		return field{kind: fieldEnvelope, slot: r.envelope.add(rest)}, nil
	case kind == "header":
		return field{kind: fieldHeader, text: textproto.CanonicalMIMEHeaderKey(rest)}, nil
	case kind == "query":
		return field{kind: fieldQuery, text: rest}, nil
	case kind == "path":
		return field{kind: fieldPath, text: rest}, nil
	case kind == "field":
		if own, ok := r.names[rest]; ok {
			return field{kind: fieldChosen, text: own, slot: r.add(own)}, nil
		}
		// The merchant doesn't ask for it: it is never there.
		return field{kind: fieldPath}, nil
	}
	return field{}, invalid(where, "{%s} can't be read here: allowed are {data.PATH}, {header.NAME}, {query.NAME}, {path.NAME}, "+
		"{field.LETTER}, {secret}, {envelope.PATH} of a split, {body} in a dedup key, and {type} and {native_type} in normalized and priority", name)
}
