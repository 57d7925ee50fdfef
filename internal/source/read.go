package source

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"relais/internal/core"
	"relais/internal/expr"
)

// Message is what a verified request says.
type Message struct {
	Type       string
	NativeType string
	// DedupKey is zero for a message that can't be told from another one.
	DedupKey    [16]byte
	DedupWindow time.Duration
	Format      core.DataFormat
	Test        bool
	// Body is the event's: the request's own, or a part of it. It shares the request's bytes.
	Body []byte
	// Parts are the messages of a request that holds several; the rest then says nothing.
	Parts []Message
	// Answer is set for a handshake, which is answered so and not stored. Keep asks for its request to be
	// kept for the audit.
	Answer *Answer
	Keep   bool
}

// Each returns the messages that are to be stored.
func (m *Message) Each() []Message {
	if m.Parts != nil {
		return m.Parts
	}
	return []Message{*m}
}

// formatOf is a data format, taken apart once.
type formatOf struct {
	name  core.DataFormat
	kind  core.DataFormat // FormatJSON, FormatForm, FormatFormJSON, FormatNone
	field string
}

func parseFormat(text string) (formatOf, error) {
	switch format := core.DataFormat(text); format {
	case core.FormatJSON, core.FormatForm, core.FormatNone:
		return formatOf{name: format, kind: format}, nil
	}
	if field, ok := strings.CutPrefix(text, string(core.FormatFormJSON)); ok && field != "" && len(field) <= 20 {
		return formatOf{core.DataFormat(text), core.FormatFormJSON, field}, nil
	}
	return formatOf{}, invalid("data", "%q is no data format: allowed are json, form, form-json:FIELD, none", text)
}

// Read takes a verified request's message apart: its type, its key, how its data is read. What it
// accepts can be decoded later.
func (s *Source) Read(req *Request) (Message, error) {
	r := s.readings.Get().(*reading)
	defer r.release(&s.readings)
	r.begin(req, s.format(req))
	read := (*reading).whole
	if s.split != nil {
		read = func(r *reading) (Message, *Rejected) { return s.splitting(r) }
	}
	msg, err := read(r)
	if err != nil {
		return Message{}, err
	}
	return msg, nil
}

func (r *reading) begin(req *Request, format formatOf) {
	r.req, r.format, r.body = req, format, req.Body
}

func (r *reading) release(pool *sync.Pool) {
	r.req, r.doc, r.body, r.vars, r.around, r.event = nil, nil, nil, nil, nil, nil
	pool.Put(r)
}

// whole reads the request as one message.
func (r *reading) whole() (Message, *Rejected) {
	if err := r.scan(); err != nil {
		return Message{}, err
	}
	if msg, ok, err := r.handshake(handshakeVerified); ok || err != nil {
		return msg, err
	}
	return r.message()
}

// message reads what was scanned.
func (r *reading) message() (Message, *Rejected) {
	s := r.source
	if !r.agrees() {
		return Message{}, errDisagree
	}
	trial := len(s.trial) > 0 && r.holds(s.trial)
	msg := Message{Format: r.format.name, Test: s.Test || trial, Body: r.body}
	typ, native, ok, err := r.mapped(s.types)
	if err != nil {
		return Message{}, err
	}
	if !ok {
		msg.Type = core.UntypedEvent
	} else {
		msg.NativeType, msg.Type = r.intern(typ)
		if string(native) != string(typ) {
			msg.NativeType, _ = r.intern(native)
		}
	}
	if len(s.nativeTypes) > 0 {
		if native, ok, err = r.value(s.nativeTypes); err != nil {
			return Message{}, err
		}
		if ok {
			msg.NativeType, _ = r.intern(native)
		}
	}
	key, ok, err := r.digest(s.dedup, trial)
	if err != nil {
		return Message{}, err
	}
	if ok {
		msg.DedupKey, msg.DedupWindow = key, s.dedupWindow
	}
	return msg, nil
}

// agrees tells whether what the preset wants to be the same is so, wherever all of it is there.
func (r *reading) agrees() bool {
	var first []byte
	for _, texts := range r.source.agree {
		first = first[:0]
		for _, parts := range texts {
			text, ok := r.appendParts(r.text[:0], parts)
			r.text = text[:0]
			switch {
			case !ok || len(text) == 0:
			case len(first) == 0:
				first = append(first, text...)
			case !bytes.Equal(first, text):
				return false
			}
		}
	}
	return true
}

// maxNative bounds a native type, which a provider writes and which every list shows.
const maxNative = 256

// internedTypes bounds the memory for types met before; a provider has a few dozen.
const internedTypes = 128

// intern makes the strings of a type, and doesn't make those again that it made for an earlier request.
func (r *reading) intern(text []byte) (native, normal string) {
	if len(text) > maxNative {
		text = bytes.ToValidUTF8(text[:maxNative], nil)
	}
	if normal, ok := r.types[string(text)]; ok {
		native = normal
		if normal != string(text) {
			native = string(text)
		}
		return native, normal
	}
	native = strings.ToValidUTF8(string(text), "\uFFFD")
	normal = core.NormalizeType(native)
	if len(r.types) < internedTypes {
		r.types[string(text)] = normal
	}
	return native, normal
}

// scan checks the body for its format and finds the wanted values.
func (r *reading) scan() *Rejected {
	clear(r.slots)
	body := r.body
	if len(body) == 0 {
		// A message may stand in the query where the provider sends it by GET; some then POST to that address.
		if r.req.Method == "GET" || r.req.Query != "" && slices.Contains(r.source.Methods, "GET") {
			return nil
		}
		return errEmpty
	}
	if r.format.kind == core.FormatNone {
		if r.source.Redacts() {
			return errNotRedactable
		}
		return nil
	}
	if err := checkText(body); err != nil {
		return err
	}
	var err *Rejected
	switch r.format.kind {
	case core.FormatForm:
		r.form, err = scanForm(r.form, body, r.lens.want, r.slots)
		r.doc = r.form
		return err
	case core.FormatFormJSON:
		if r.form, err = formField(r.form, body, r.format.field); err != nil {
			return err
		}
		// %00 and %80 are NUL and half a character once they are decoded.
		if err = checkText(r.form); err != nil {
			return err
		}
		r.doc = r.form
	default:
		r.doc = body
	}
	return scan(r.doc, r.lens.want, r.slots)
}

func checkText(text []byte) *Rejected {
	if bytes.IndexByte(text, 0) >= 0 {
		return errNUL
	}
	if !utf8.Valid(text) {
		return errUTF8
	}
	return nil
}

// newReading makes readings through a lens, once its rules are compiled.
func (s *Source) newReading(l *lens) func() any {
	return func() any {
		return &reading{source: s, lens: l, slots: make([]found, l.slots), hash: sha256.New(), types: map[string]string{}}
	}
}

const (
	contentForm = "application/x-www-form-urlencoded"
	contentJSON = "application/json"
)

// format chooses how the body is read by the kind of its Content-Type. That header is rarely signed, so
// it decides nothing that the bytes can tell: what begins as JSON does is never a form (which would have
// it percent-encoded), else a text inside signed JSON could be read as the form's field. And a body whose
// fields were verified as a form's is a form: else nothing of what was signed would be read.
func (s *Source) format(req *Request) formatOf {
	if s.signature != nil && s.signature.ofForm() {
		return s.formatForm
	}
	if values := req.Header["Content-Type"]; len(values) > 0 {
		kind, _, _ := strings.Cut(values[0], ";")
		kind = strings.TrimSpace(kind)
		switch {
		case strings.EqualFold(kind, contentForm) && !beginsAsJSON(req.Body):
			return s.formatForm
		case strings.EqualFold(kind, contentForm):
			return s.formatJSON
		case strings.EqualFold(kind, contentJSON), len(kind) > 5 && strings.EqualFold(kind[len(kind)-5:], "+json"):
			return s.formatJSON
		}
	}
	return s.formatOther
}

// beginsAsJSON tells whether the text can only be JSON that holds text.
func beginsAsJSON(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[' || body[0] == '"')
}

// decode reads a body for the rules in CEL, as expr.EventData reads it for routes.
func decode(format formatOf, body []byte) (any, error) {
	if len(body) == 0 {
		return nil, nil
	}
	switch format.kind {
	case core.FormatForm:
		return formVars(body), nil
	case core.FormatFormJSON:
		text, err := formField(nil, body, format.field)
		if err != nil {
			return nil, err
		}
		return expr.DecodeJSON(text)
	case core.FormatJSON:
		return expr.DecodeJSON(body)
	default:
		return nil, nil
	}
}
