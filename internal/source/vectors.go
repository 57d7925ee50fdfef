package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
)

// RunVector plays one of a preset's test vectors; the error says what became of it instead. Everybody's
// presets are tested so: those that relais comes with by its own tests, and others by relais check.
func (p *Preset) RunVector(v *Vector) error {
	src, err := v.source(p)
	if err != nil {
		return err
	}
	req, err := v.request()
	if err != nil {
		return err
	}
	msg, err := src.play(req, v.Want.Verified)
	var rejected *Rejected
	switch {
	case errors.As(err, &rejected):
		if v.Want.Reject == "" {
			return fmt.Errorf("it is refused as %s: %s", rejected.Reason, rejected.Detail)
		}
		if v.Want.Reject != rejected.Reason {
			return fmt.Errorf("it is refused as %s, and not as %s", rejected.Reason, v.Want.Reject)
		}
		return nil
	case v.Want.Reject != "":
		return fmt.Errorf("it is accepted, and should be refused as %s", v.Want.Reject)
	case v.Want.Verified:
		return nil
	}
	return v.Want.compare(src, req, &msg)
}

// source is the one that a vector is sent to. A provider that signs nothing, and for which the vector gives
// no token, is taken as it comes.
func (v *Vector) source(p *Preset) (*Source, error) {
	in := config.Source{Name: "vector", Preset: p.Name, Verify: v.Verify, Fields: v.Fields, NamedSecrets: map[string][]config.Secret{}}
	if p.Verify.Scheme == "none" && v.Verify == nil {
		in.Auth = "none"
	}
	for _, text := range v.Secrets {
		in.Secrets = append(in.Secrets, config.NewSecret(text))
	}
	for name, text := range v.Named {
		in.NamedSecrets[name] = []config.Secret{config.NewSecret(text)}
	}
	return compileWith(in, p)
}

func (v *Vector) request() (*Request, error) {
	u, err := url.Parse(v.URL)
	if err != nil {
		return nil, err
	}
	req := &Request{Method: v.Method, URL: v.URL, Query: u.RawQuery, Path: v.Path, Header: http.Header{}, Body: []byte(v.Body), Now: v.At}
	if req.Method == "" {
		req.Method = http.MethodPost
	}
	if req.Now.IsZero() {
		req.Now = time.Now()
	}
	for name, value := range v.Header {
		req.Header.Set(name, value)
	}
	return req, nil
}

// play is what ingest does with a request.
func (s *Source) play(req *Request, verifyOnly bool) (Message, error) {
	if !slices.Contains(s.Methods, req.Method) {
		msg, err := s.Greet(req)
		if err == nil && msg.Answer == nil {
			err = &Rejected{core.RejectMethod, "this method is not answered"}
		}
		return msg, err
	}
	if err := s.Certify(context.Background(), nil, req); err != nil {
		return Message{}, err
	}
	if err := s.Verify(req); err != nil {
		if msg, errGreet := s.GreetUnsigned(req); errGreet == nil && msg.Answer != nil {
			return msg, nil
		}
		return Message{}, err
	}
	if verifyOnly {
		return Message{}, nil
	}
	return s.Read(req)
}

func (w *Want) compare(src *Source, req *Request, msg *Message) error {
	if msg.Answer != nil {
		if w.Answer == nil || *w.Answer != msg.Answer.Body {
			return fmt.Errorf("it is answered as a handshake, with %q", msg.Answer.Body)
		}
		return nil
	}
	if w.Answer != nil {
		return fmt.Errorf("it is a message, and no handshake")
	}
	var types []string
	for _, part := range msg.Each() {
		types = append(types, part.Type)
		if _, err := expr.EventData(&core.Event{Format: part.Format, Body: part.Body}); err != nil {
			return fmt.Errorf("what was accepted can't be decoded: %w", err)
		}
	}
	if w.Types != nil {
		if !slices.Equal(types, w.Types) {
			return fmt.Errorf("its messages have the types %q, and not %q", types, w.Types)
		}
	} else if err := w.compareOne(msg.alone()); err != nil {
		return err
	}
	first := msg.Each()[0]
	if first.Test != w.Test {
		return fmt.Errorf("it is marked as a test: %v, and not %v", first.Test, w.Test)
	}
	event := &core.Event{
		Source: src.Name, Type: first.Type, NativeType: first.NativeType, Format: first.Format,
		Header: src.StoredHeader(req), Query: src.StoredQuery(req), Path: req.Path,
	}
	event.Body, _ = src.Redact(first.Format, first.Body)
	if w.Priority != "" && src.Priority(event).String() != w.Priority {
		return fmt.Errorf("its priority is %s, and not %s", src.Priority(event), w.Priority)
	}
	normalized := src.Normalized(event)
	for _, name := range slices.Sorted(maps.Keys(w.Normalized)) {
		if got, want := fmt.Sprint(normalized[name]), fmt.Sprint(w.Normalized[name]); got != want {
			return fmt.Errorf("normalized.%s is %s, and not %s", name, got, want)
		}
	}
	return nil
}

// alone is the one message of a list of one.
func (m *Message) alone() *Message {
	if len(m.Parts) == 1 {
		return &m.Parts[0]
	}
	return m
}

func (w *Want) compareOne(msg *Message) error {
	switch {
	case msg.Parts != nil:
		return fmt.Errorf("it holds %d messages, and not one", len(msg.Parts))
	case msg.Type != w.Type:
		return fmt.Errorf("its type is %q, and not %q", msg.Type, w.Type)
	case w.NativeType != "" && msg.NativeType != w.NativeType:
		return fmt.Errorf("its native type is %q, and not %q", msg.NativeType, w.NativeType)
	case w.Format != "" && msg.Format != w.Format:
		return fmt.Errorf("it is read as %q, and not as %q", msg.Format, w.Format)
	case (msg.DedupKey != [16]byte{}) != w.Dedup:
		return fmt.Errorf("it has a dedup key: %v, and not %v", msg.DedupKey != [16]byte{}, w.Dedup)
	}
	return nil
}
