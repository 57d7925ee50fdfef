package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"net/textproto"
	"strings"

	"relais/internal/expr"
)

type fieldKind uint8

const (
	fieldLiteral fieldKind = iota
	fieldData
	fieldHeader
	fieldQuery
	fieldBody
)

// field is a piece of a rule's text, or one side of a condition.
type field struct {
	kind fieldKind
	text string // the literal, the header's or the query's name
	slot int    // of fieldData
}

type condition struct {
	field field
	want  string
}

type rule struct {
	when  []condition
	parts []field
	cel   *expr.Value
}

// ruleReader compiles rules and gathers the paths that they read.
type ruleReader struct {
	want  *paths
	slots int
}

func (r *ruleReader) compile(where string, rules Rules, body bool) ([]rule, error) {
	out := make([]rule, 0, len(rules))
	for _, in := range rules {
		var compiled rule
		for name, want := range in.When {
			f, err := r.field(where, name, false)
			if err != nil {
				return nil, err
			}
			compiled.when = append(compiled.when, condition{f, want})
		}
		var err error
		switch {
		case (in.Is == "") == (in.CEL == ""):
			return nil, invalid(where, "a rule has either is or cel")
		case in.CEL != "":
			if compiled.cel, err = expr.CompileValue(in.CEL, "data", "header", "query"); err != nil {
				return nil, invalid(where, "%s", err)
			}
		default:
			err = eachPart(in.Is, func(literal string) error {
				compiled.parts = append(compiled.parts, field{text: literal})
				return nil
			}, func(name string) error {
				f, err := r.field(where, name, body)
				compiled.parts = append(compiled.parts, f)
				return err
			})
		}
		if err != nil {
			return nil, err
		}
		out = append(out, compiled)
	}
	return out, nil
}

func (r *ruleReader) field(where, name string, body bool) (field, error) {
	kind, rest, _ := strings.Cut(name, ".")
	switch {
	case name == "body" && body:
		return field{kind: fieldBody}, nil
	case rest == "":
	case kind == "data":
		slot := r.want.add(rest, r.slots)
		r.slots = max(r.slots, slot+1)
		return field{kind: fieldData, slot: slot}, nil
	case kind == "header":
		return field{kind: fieldHeader, text: textproto.CanonicalMIMEHeaderKey(rest)}, nil
	case kind == "query":
		return field{kind: fieldQuery, text: rest}, nil
	}
	return field{}, invalid(where, "{%s} can't be read here: allowed are {data.PATH}, {header.NAME}, {query.NAME}, and {body} in a dedup key", name)
}

// reading is one request being read: its document, and what was found in it.
type reading struct {
	req    *Request
	source *Source
	format formatOf
	// doc is what the slots point into.
	doc   []byte
	slots []found
	form  []byte
	text  []byte
	hash  hash.Hash
	sum   [64]byte
	types map[string]string
	vars  expr.Vars
}

// append adds the field's text, and tells whether there is any. What is an object, a list, null or empty
// is not there.
func (r *reading) append(dst []byte, f field) ([]byte, bool) {
	before := len(dst)
	switch f.kind {
	case fieldLiteral:
		return append(dst, f.text...), true
	case fieldData:
		at := r.slots[f.slot]
		switch {
		case !at.ok:
		case at.escaped:
			dst = append(dst, at.string(r.doc)...)
		default:
			dst = append(dst, r.doc[at.start:at.end]...)
		}
	case fieldHeader:
		if values := r.req.Header[f.text]; len(values) > 0 {
			dst = append(dst, values[0]...)
		}
	case fieldQuery:
		value, _ := queryValue(r.req.Query, f.text)
		dst = append(dst, value...)
	case fieldBody:
		dst = append(dst, r.req.Body...)
	}
	return dst, len(dst) > before
}

func (r *reading) holds(when []condition) bool {
	for i := range when {
		text, _ := r.append(r.text[:0], when[i].field)
		r.text = text[:0]
		if string(text) != when[i].want {
			return false
		}
	}
	return true
}

// value gives the first rule's text that applies, in r.text.
func (r *reading) value(rules []rule) ([]byte, bool, *Rejected) {
	for i := range rules {
		rule := &rules[i]
		if !r.holds(rule.when) {
			continue
		}
		if rule.cel != nil {
			text, err := r.eval(rule.cel)
			if err != nil || text != "" {
				return []byte(text), err == nil, err
			}
			continue
		}
		out, ok := r.text[:0], true
		for _, part := range rule.parts {
			if out, ok = r.append(out, part); !ok {
				break
			}
		}
		r.text = out[:0]
		if ok {
			return out, true, nil
		}
	}
	return nil, false, nil
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
			text, err := r.eval(rule.cel)
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
			r.part(r.req.Body)
		}
		copy(key[:], r.hash.Sum(r.sum[:0]))
		return key, true, nil
	}
	return key, false, nil
}

func (r *reading) parts(parts []field) bool {
	for _, part := range parts {
		if part.kind == fieldBody {
			r.part(r.req.Body)
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
func (r *reading) eval(value *expr.Value) (string, *Rejected) {
	if r.vars == nil {
		data, err := decode(r.format, r.req.Body)
		if err != nil {
			return "", errJSON
		}
		r.vars = expr.Vars{"data": data, "header": headerVars(r.req), "query": queryVars(r.req.Query)}
	}
	out, err := value.Eval(context.Background(), r.vars)
	if err != nil {
		return "", errExpressionFail
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
