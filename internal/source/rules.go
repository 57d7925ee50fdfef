package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"relais/internal/core"
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

// reading is one request being read: its document, and what was found in it.
type reading struct {
	req    *Request
	source *Source
	lens   *lens
	format formatOf
	// body is the message's, which is the request's own unless that is split; doc is what the slots point
	// into. around is the reading of the whole request, while its parts are read.
	body   []byte
	doc    []byte
	slots  []found
	around *reading
	event  *core.Event // that is read again, as it is stored
	form   []byte
	text   []byte
	hash   hash.Hash
	sum    [64]byte
	types  map[string]string
	vars   expr.Vars
}

// append adds the field's text, and tells whether there is any. What is an object, a list, null or empty
// is not there.
func (r *reading) append(dst []byte, f field) ([]byte, bool) {
	if f.sign != nil {
		return r.appendSigned(dst, f)
	}
	before := len(dst)
	switch f.kind {
	case fieldLiteral:
		return append(dst, f.text...), true
	case fieldData:
		dst = r.appendFound(dst, f.slot)
	case fieldChosen:
		if dst = r.appendFound(dst, f.slot); len(dst) == before {
			value, _ := queryValue(r.req.Query, f.text)
			dst = append(dst, value...)
		}
	case fieldEnvelope:
		if r.around != nil {
			dst = r.around.appendFound(dst, f.slot)
		}
	case fieldHeader:
		if values := r.req.Header[f.text]; len(values) > 0 {
			dst = append(dst, values[0]...)
		}
	case fieldQuery:
		value, _ := queryValue(r.req.Query, f.text)
		dst = append(dst, value...)
	case fieldPath:
		if f.text != "" {
			value, _ := queryValue(r.req.Path, f.text)
			dst = append(dst, value...)
		}
	case fieldSecret:
		dst = append(dst, r.req.Secret...)
	case fieldType:
		dst = append(dst, r.event.Type...)
	case fieldNativeType:
		dst = append(dst, r.event.NativeType...)
	case fieldBody:
		dst = append(dst, r.body...)
	}
	return dst, len(dst) > before
}

func (r *reading) appendFound(dst []byte, slot int) []byte {
	at := r.slots[slot]
	switch {
	case !at.ok:
	case at.escaped:
		dst = append(dst, at.string(r.doc)...)
	default:
		dst = append(dst, r.doc[at.start:at.end]...)
	}
	return dst
}

func (r *reading) holds(when []condition) bool {
	for i := range when {
		text, _ := r.append(r.text[:0], when[i].field)
		r.text = text[:0]
		if !slices.ContainsFunc(when[i].want, func(want string) bool { return fits(want, text) }) {
			return false
		}
	}
	return true
}

// fits tells whether a text is the one wanted, or begins as the one before a star.
func fits(want string, text []byte) bool {
	if begin, ok := strings.CutSuffix(want, "*"); ok && len(text) > 0 {
		return strings.HasPrefix(string(text), begin)
	}
	return string(text) == want
}

// value gives the first rule's text that applies, in r.text.
func (r *reading) value(rules []rule) ([]byte, bool, *Rejected) {
	text, _, ok, err := r.mapped(rules)
	return text, ok, err
}

// mapped gives the text, and what it was before the rule's map.
func (r *reading) mapped(rules []rule) (text, before []byte, ok bool, err *Rejected) {
	for i := range rules {
		rule := &rules[i]
		if !r.holds(rule.when) {
			continue
		}
		out := r.text[:0]
		if rule.cel != nil {
			text, err := r.evalText(rule.cel)
			if err != nil {
				return nil, nil, false, err
			}
			out, ok = append(out, text...), text != ""
		} else {
			out, ok = r.appendParts(out, rule.parts)
		}
		r.text = out[:0]
		if !ok {
			continue
		}
		if rule.table == nil {
			return out, out, true, nil
		}
		if to, ok := rule.table.look(out); ok {
			return []byte(to), out, true, nil
		}
	}
	return nil, nil, false, nil
}

func (r *reading) appendParts(dst []byte, parts []field) ([]byte, bool) {
	for _, part := range parts {
		var ok bool
		if dst, ok = r.append(dst, part); !ok {
			return dst, false
		}
	}
	return dst, true
}

// digest hashes the first rule that applies, part by part, so that a body is never copied. Each part
// goes in with its length: "ab"+"c" and "a"+"bc" are different keys.
func (r *reading) digest(rules []rule) (key [16]byte, ok bool, err *Rejected) {
	for i := range rules {
		rule := &rules[i]
		if !r.holds(rule.when) {
			continue
		}
		r.hash.Reset()
		r.hash.Write(r.source.dedupSeed)
		if rule.cel != nil {
			text, err := r.evalText(rule.cel)
			if err != nil {
				return key, false, err
			}
			if text == "" {
				continue
			}
			r.part([]byte(text))
		} else if !r.parts(rule.parts) {
			continue
		}
		if r.source.dedupBody {
			r.part([]byte(r.req.Query))
			r.part(r.body)
		}
		copy(key[:], r.hash.Sum(r.sum[:0]))
		return key, true, nil
	}
	return key, false, nil
}

func (r *reading) parts(parts []field) bool {
	for _, part := range parts {
		if part.kind == fieldBody {
			r.part(r.body)
			continue
		}
		text, ok := r.append(r.text[:0], part)
		r.text = text[:0]
		if !ok {
			return false
		}
		r.part(text)
	}
	return true
}

func (r *reading) part(text []byte) {
	binary.BigEndian.PutUint64(r.sum[:8], uint64(len(text)))
	r.hash.Write(r.sum[:8])
	r.hash.Write(text)
}

// eval runs an expression over the decoded message, which is decoded once for all of them.
func (r *reading) eval(value *expr.Value) (any, *Rejected) {
	if r.vars == nil {
		data, err := decode(r.format, r.body)
		if err != nil {
			return nil, errJSON
		}
		r.vars = expr.Vars{"data": data, "header": headerVars(r.req), "query": queryVars(r.req.Query)}
	}
	out, err := value.Eval(context.Background(), r.vars)
	if err != nil {
		return nil, errExpressionFail
	}
	return out, nil
}

func (r *reading) evalText(value *expr.Value) (string, *Rejected) {
	out, err := r.eval(value)
	if err != nil {
		return "", err
	}
	switch out := out.(type) {
	case nil:
		return "", nil
	case string:
		return out, nil
	case int64, bool:
		return fmt.Sprint(out), nil
	}
	return "", errExpressionFail
}

// headerVars names headers in lower case, with their first value.
func headerVars(req *Request) map[string]any {
	out := make(map[string]any, len(req.Header))
	for name, values := range req.Header {
		if len(values) > 0 && !neverStored[name] {
			out[strings.ToLower(name)] = values[0]
		}
	}
	return out
}

func queryVars(raw string) map[string]any {
	return formVars([]byte(raw))
}

// formVars decodes a form: a field given once is a string, given more often a list of them.
func formVars(form []byte) map[string]any {
	out := map[string]any{}
	for {
		name, value, rest, ok := nextPair(form)
		if !ok {
			return out
		}
		form = rest
		key, okName := appendUnescaped(nil, name)
		text, okValue := appendUnescaped(nil, value)
		if !okName || !okValue {
			continue
		}
		// What isn't UTF-8 (older payment platforms send ISO 8859-1) can't be a string of an expression.
		clean := string(bytes.ToValidUTF8(text, []byte("\uFFFD")))
		switch before := out[string(key)].(type) {
		case nil:
			out[string(key)] = clean
		case string:
			out[string(key)] = []any{before, clean}
		case []any:
			out[string(key)] = append(before, clean)
		}
	}
}
