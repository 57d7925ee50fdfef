package source

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"relais/internal/core"
)

// Sign adds to the request what its provider would add to it. Of several secrets it takes the one that the message
// names, or that agrees with it, and else the first.
func (s *Source) Sign(req *Request) error {
	switch {
	case s.credential != nil:
		return s.signPlain(req)
	case s.signature == nil:
		return nil
	}
	if s.begins {
		return core.Errorf(core.CodeInvalid, "source %s has no secret yet: its provider gives one when its handshake is answered", s.Name)
	}
	v := s.signature
	if v.scheme.public() {
		return core.Errorf(core.CodeInvalid, "source %s: only its provider has the private key; relais can verify its signatures but not make them", s.Name)
	}
	with, err := s.chosen(req)
	if err != nil {
		return err
	}
	timestamp := formatTimestamp(v.timestampFormat, req.Now)
	if v.timestamp.kind == placeJSON || v.timestamp.kind == placeForm {
		timestamp, _ = v.timestamp.read(req) // the sender wrote it already
	} else if err := s.put(req, v.timestamp, timestamp); err != nil {
		return err
	}
	id := ""
	if v.id.kind != placeNone {
		id, _ = v.id.read(req)
		if id == "" {
			id = "msg_" + strings.TrimPrefix(core.NewEventID().String(), "evt_")
			if err := s.put(req, v.id, id); err != nil {
				return err
			}
		}
	}
	text, err := v.signed(req, with, timestamp, id)
	if err != nil {
		return err
	}
	switch v.format {
	case formatPairs:
		text = v.item + "=" + text
		if v.timestamp.kind == placeItem {
			text = v.timestamp.name + "=" + timestamp + v.separator + text
		}
	case formatList:
		text = v.item + "," + text
	}
	at := v.place
	if v.format == formatNumbered {
		at = v.numbered[0]
	}
	return s.put(req, at, v.prefix+text)
}

// signPlain adds the first secret that doesn't disagree with the message: a key that is good for one carrier only
// isn't sent with a parcel of another one.
func (s *Source) signPlain(req *Request) error {
	with := s.secrets[0]
	if len(s.agree) > 0 && with.name != "" {
		for _, secret := range s.secrets {
			if s.fits(req, secret.name) {
				with = secret
				break
			}
		}
		if !s.fits(req, with.name) && s.fits(req, "") {
			return core.Errorf(core.CodeInvalid, "source %s: none of its secrets is for what the message names: there are %s",
				s.Name, strings.Join(s.names(), ", "))
		}
	}
	return s.put(req, s.credential.place, s.credential.text(with.text))
}

// fits tells whether the message may come with the secret of that name.
func (s *Source) fits(req *Request, name string) bool {
	as := *req
	as.Secret = name
	_, err := s.Read(&as)
	return !errors.Is(err, errDisagree)
}

// chosen is the index of the key that the message names. Where it names none, it is the first one, and the message
// is made to name it.
func (s *Source) chosen(req *Request) (int, error) {
	v := s.signature
	if v.choose.kind == placeNone || v.keys[0].name == "" {
		return 0, nil
	}
	name, times := v.choose.read(req)
	if times == 0 {
		return 0, s.put(req, v.choose, v.keys[0].name)
	}
	i := slices.IndexFunc(v.keys, func(k key) bool { return k.name == name })
	if i < 0 {
		return 0, core.Errorf(core.CodeInvalid, "source %s: the message names %q, and no secret has that name: there are %s",
			s.Name, name, strings.Join(s.names(), ", "))
	}
	return i, nil
}

// names are those of the secrets, each once, in their order.
func (s *Source) names() []string {
	var out []string
	for _, secret := range s.secrets {
		if secret.name != "" && !slices.Contains(out, secret.name) {
			out = append(out, secret.name)
		}
	}
	return out
}

// signed computes the signature's text with one of the keys.
func (v *signature) signed(req *Request, with int, timestamp, id string) (string, error) {
	w := v.work.Get().(*work)
	defer v.work.Put(w)
	defer w.message.clear()
	w.message.timestamp, w.message.id = timestamp, id
	if err := v.prepare(w, req, true); err != nil {
		return "", err
	}
	var choice []byte
	if len(w.message.alternatives) > 0 {
		choice = w.message.alternatives[0].text
	}
	return v.encodings[0].encode(v.sum(w, w.states[with], v.keys[with].secret, req, choice)), nil
}

func (s *Source) put(req *Request, at place, text string) error {
	if at.kind == placeParam {
		at.kind = placeForm
		if len(req.Body) == 0 {
			at.kind = placeQuery
		}
	}
	switch at.kind {
	case placeHeader:
		req.Header[at.name] = []string{text}
	case placeQuery:
		if req.Query != "" {
			req.Query += "&"
		}
		req.Query += url.QueryEscape(at.name) + "=" + url.QueryEscape(text)
	case placePath:
		if req.Path != "" {
			req.Path += "&"
		}
		req.Path += url.QueryEscape(at.name) + "=" + url.QueryEscape(text)
	case placeForm:
		if len(req.Body) > 0 {
			req.Body = append(req.Body, '&')
		}
		req.Body = append(req.Body, url.QueryEscape(at.name)+"="+url.QueryEscape(text)...)
	case placeJSON:
		return core.Errorf(core.CodeInvalid, "source %s: its signature stands inside the body's JSON; relais can verify it but not make it", s.Name)
	}
	return nil
}
