package source

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// handshake is a preset's Handshake, compiled.
type handshake struct {
	method string // "" for those that carry messages
	class  handshakeClass
	when   []condition
	token  []field
	tokens string // the name of the secrets that the token must be one of
	echo   []field
	json   []member
	header []member
	answer Answer
	keep   bool
}

type member struct {
	name  string
	parts []field
}

// handshakeClass is when a handshake is looked at.
type handshakeClass uint8

const (
	handshakeVerified handshakeClass = iota // after verification
	handshakeUnsigned                       // where the request carries no signature
	handshakeMethod                         // where the method carries no message
)

// Bounds of handshakes: of the text that is sent back, and of the body of an unsigned request that is
// looked into at all.
const (
	maxEcho         = 256
	maxUnsignedBody = 4 << 10
)

// signing is a way to sign a text that the provider asks about.
type signing struct{ encode func([]byte) string }

var signings = map[string]*signing{
	"hmac-sha256-hex":    {hex.EncodeToString},
	"hmac-sha256-base64": {base64.StdEncoding.EncodeToString},
}

func (s *Source) compileHandshakes(rules *ruleReader, p *Preset) error {
	rules.allow.sign = true
	defer func() { rules.allow.sign = false }()
	for _, in := range p.Handshake {
		h := handshake{method: in.Method, tokens: in.Token.Secret, keep: in.Keep, answer: in.Answer.withDefaults()}
		messages := in.Method == "" || slices.Contains(s.Methods, in.Method)
		switch {
		case !messages:
			h.class = handshakeMethod
		case in.Unsigned:
			h.class = handshakeUnsigned
		}
		if messages && len(in.When) == 0 {
			return invalid("handshake", "one of a method that carries messages says when: it would answer all of them")
		}
		if in.Echo != "" && in.JSON != nil {
			return invalid("handshake", "echo and json are two answers: one of them must go")
		}
		var err error
		if h.when, err = rules.conditions("handshake", in.When); err != nil {
			return err
		}
		if h.token, err = rules.text("handshake", in.Token.Is); err != nil {
			return err
		}
		if (in.Token.Is == "") != (in.Token.Secret == "") {
			return invalid("handshake.token", "is and secret go together")
		}
		for _, part := range h.token {
			if part.kind == fieldQuery && h.tokens != "" {
				s.tokenNames = append(s.tokenNames, part.text)
			}
		}
		if h.echo, err = rules.text("handshake", in.Echo); err != nil {
			return err
		}
		if h.json, err = compileMembers(rules, in.JSON); err != nil {
			return err
		}
		if h.header, err = compileMembers(rules, in.Header); err != nil {
			return err
		}
		if slices.ContainsFunc(h.header, func(m member) bool { return !answerHeader.MatchString(m.name) }) {
			return invalid("handshake.header", "the headers that an answer may carry are X-Hook-NAME and X-Webhook-NAME: no browser knows them")
		}
		if in.GivesSecret && in.Token.Is == "" {
			return invalid("handshake.gives_secret", "a source without a secret must ask for a token: anyone could set it up")
		}
		if h.class != handshakeVerified && in.Token.Is == "" && h.reflects() {
			return invalid("handshake", "it sends back what anyone asks for: ask for a token, or for a signature")
		}
		s.signsTexts = s.signsTexts || h.class != handshakeVerified && h.signs()
		s.handshakes = append(s.handshakes, h)
	}
	return nil
}

// answerHeader are the names of headers that are a provider's own, and none that a browser knows.
var answerHeader = regexp.MustCompile(`^X-(Hook|Webhook)-[A-Za-z0-9-]{1,40}$`)

func compileMembers(rules *ruleReader, in map[string]string) (out []member, err error) {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		parts, err := rules.text("handshake", in[name])
		if err != nil {
			return nil, err
		}
		out = append(out, member{name, parts})
	}
	return out, nil
}

// anyPart tells whether the answer holds such a part.
func (h *handshake) anyPart(such func(field) bool) bool {
	in := func(m member) bool { return slices.ContainsFunc(m.parts, such) }
	return slices.ContainsFunc(h.echo, such) || slices.ContainsFunc(h.json, in) || slices.ContainsFunc(h.header, in)
}

// signs tells whether the answer holds the signature of something of the request.
func (h *handshake) signs() bool {
	return h.anyPart(func(f field) bool { return f.sign != nil })
}

// reflects tells whether the answer holds something of the request as it came.
func (h *handshake) reflects() bool {
	return h.anyPart(func(f field) bool { return f.kind != fieldLiteral && f.sign == nil })
}

// Greet answers a request of a method that carries no message. A nil Answer means that it isn't answered.
func (s *Source) Greet(req *Request) (Message, error) {
	r := s.readings.Get().(*reading)
	defer r.release(&s.readings)
	r.begin(req, s.formatOther)
	clear(r.slots)
	return asMessage(r.handshake(handshakeMethod))
}

// GreetUnsigned answers a request that carries no signature, where the provider sends such a one.
func (s *Source) GreetUnsigned(req *Request) (Message, error) {
	if len(req.Body) > maxUnsignedBody || !slices.ContainsFunc(s.handshakes, func(h handshake) bool { return h.class == handshakeUnsigned }) {
		return Message{}, nil
	}
	r := s.readings.Get().(*reading)
	defer r.release(&s.readings)
	r.begin(req, s.format(req))
	if err := r.scan(); err != nil && err != errEmpty {
		return Message{}, nil // it is no handshake: its own refusal stands
	}
	return asMessage(r.handshake(handshakeUnsigned))
}

func asMessage(msg Message, _ bool, err *Rejected) (Message, error) {
	if err != nil {
		return Message{}, err
	}
	return msg, nil
}

// handshake finds the first one of the class whose conditions hold, and makes its answer.
func (r *reading) handshake(class handshakeClass) (Message, bool, *Rejected) {
	for i := range r.source.handshakes {
		h := &r.source.handshakes[i]
		if h.class != class || h.method != "" && h.method != r.req.Method || !r.holds(h.when) {
			continue
		}
		if h.tokens != "" && !r.hasToken(h) {
			return Message{}, false, errCredentials
		}
		answer, err := r.answer(h)
		return Message{Answer: answer, Keep: h.keep}, err == nil, err
	}
	return Message{}, false, nil
}

func (r *reading) hasToken(h *handshake) bool {
	text, ok := r.appendParts(nil, h.token)
	given, match := sha256.Sum256(text), 0
	for _, token := range r.source.tokens[h.tokens] {
		want := sha256.Sum256([]byte(token))
		match |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	return ok && match == 1
}

func (r *reading) answer(h *handshake) (*Answer, *Rejected) {
	answer := h.answer
	switch {
	case h.echo != nil:
		text, ok := r.appendParts(nil, h.echo)
		if !ok || !sendable(text) {
			return nil, errEcho
		}
		answer.Body, answer.ContentType = string(text), "text/plain; charset=utf-8"
	case h.json != nil:
		out := []byte{'{'}
		for i, m := range h.json {
			text, ok := r.appendParts(nil, m.parts)
			if !ok {
				return nil, errEcho
			}
			if i > 0 {
				out = append(out, ',')
			}
			name, errName := json.Marshal(m.name)
			value, errValue := json.Marshal(string(text))
			if errName != nil || errValue != nil {
				return nil, errEcho
			}
			out = append(append(append(out, name...), ':'), value...)
		}
		answer.Body, answer.ContentType = string(append(out, '}')), contentJSON
	}
	for _, m := range h.header {
		text, ok := r.appendParts(nil, m.parts)
		if !ok || !sendable(text) {
			return nil, errEcho
		}
		if answer.Header == nil {
			answer.Header = make(map[string]string, len(h.header))
		}
		answer.Header[m.name] = string(text)
	}
	answer.Sandboxed = true
	return &answer, nil
}

// appendSigned adds what signs the field's text. It isn't done for a text that could be a message: whoever
// asks would get a signature for it. Verify refuses bodies that are such texts.
func (r *reading) appendSigned(dst []byte, f field) ([]byte, bool) {
	sign := f.sign
	f.sign = nil
	text, ok := r.append(nil, f)
	if !ok || !sendable(text) || len(r.source.secrets) == 0 {
		return dst, false
	}
	mac := hmac.New(sha256.New, []byte(r.source.secrets[0].text))
	mac.Write(text)
	return append(dst, sign.encode(mac.Sum(nil))...), true
}

// sendable tells whether a text of a request may be sent back.
func sendable(text []byte) bool {
	return len(text) > 0 && len(text) <= maxEcho && strings.Trim(string(text),
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-") == ""
}
