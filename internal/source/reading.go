package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"strings"

	"relais/internal/core"
	"relais/internal/expr"
)

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

// trialSeed sets the keys of a provider's tests apart: in its test mode it may count its objects from one again, and
// what marks a test isn't signed everywhere. None may be taken for an earlier one of the real message.
var trialSeed = []byte("trial\x00")

// digest hashes the first rule that applies, part by part, so that a body is never copied. Each part
// goes in with its length: "ab"+"c" and "a"+"bc" are different keys.
func (r *reading) digest(rules []rule, trial bool) (key [16]byte, ok bool, err *Rejected) {
	for i := range rules {
		rule := &rules[i]
		if !r.holds(rule.when) {
			continue
		}
		r.hash.Reset()
		r.hash.Write(r.source.dedupSeed)
		if trial {
			r.hash.Write(trialSeed)
		}
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
