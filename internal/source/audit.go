package source

import (
	"bytes"
	"encoding/json"
	"strings"

	"relais/internal/core"
	"relais/internal/expr"
)

// Verifies tells whether anything proves who sends: a source that takes all (auth: none) doesn't.
func (s *Source) Verifies() bool { return s.signature != nil || s.credential != nil }

// SignedAt says where the source's requests may carry their signature. There is no such place where they carry none,
// or a credential, which nobody is to find.
func (s *Source) SignedAt() []core.SignaturePlace {
	if s.signature == nil {
		return nil
	}
	var out []core.SignaturePlace
	for _, at := range append(s.signature.numbered[:len(s.signature.numbered):len(s.signature.numbered)], s.signature.place) {
		for _, in := range placesOf[at.kind] {
			out = append(out, core.SignaturePlace{Source: s.Name, In: in, Name: at.name})
		}
	}
	return out
}

var placesOf = map[placeKind][]string{
	placeHeader: {"header"}, placeQuery: {"query"}, placeForm: {"form"}, placeJSON: {"json"}, placeParam: {"form", "query"},
}

// Readable is the format in which a refused request's body, as it is kept, can be read; FormatNone where it can't:
// nothing was checked of it.
func (s *Source) Readable(req *Request, kept []byte) core.DataFormat {
	if len(kept) == 0 || checkText(kept) != nil {
		return core.FormatNone
	}
	format := s.format(req)
	switch format.kind {
	case core.FormatJSON:
		if json.Valid(kept) {
			return format.name
		}
	case core.FormatForm, core.FormatFormJSON:
		if _, err := expr.DecodeForm(kept); err == nil {
			return format.name
		}
	}
	return core.FormatNone
}

// RedactQuery takes the parameters out of a raw query that the source's redact paths name. What can't be decoded can't
// be told from them, and goes too.
func (s *Source) RedactQuery(query string) (kept string, changed bool) {
	if len(s.redact) == 0 || query == "" {
		return query, false
	}
	var out []byte
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		decoded, ok := appendUnescaped(nil, []byte(name))
		if pair == "" || !ok || s.redact.matches([]string{string(decoded)}) {
			changed = changed || pair != ""
			continue
		}
		out = append(append(out, pair...), '&')
	}
	return string(bytes.TrimSuffix(out, []byte("&"))), changed
}
