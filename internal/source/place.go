package source

import (
	"errors"
	"net/textproto"
	"net/url"
	"strings"
)

type placeKind uint8

const (
	placeNone placeKind = iota
	placeHeader
	placeQuery
	placeForm
	placeJSON
	placeItem  // among the pairs of the signature's header
	placePath  // a named part of the path
	placeParam // of the form where there is a body, else of the query
)

// place is where something stands in a request.
type place struct {
	kind placeKind
	name string // a header's in its canonical form
	path *paths // of placeJSON
}

func headerPlace(name string) place {
	return place{kind: placeHeader, name: textproto.CanonicalMIMEHeaderKey(name)}
}

// read returns the text at the place, how often it is there (0, 1 or 2 for more), as received. Only
// places in the body look at the body, with the same strict readers that read it later.
func (p *place) read(req *Request) (text string, times int) {
	switch p.kind {
	case placeHeader:
		values := req.Header[p.name]
		if len(values) == 0 || values[0] == "" {
			return "", 0
		}
		return values[0], min(len(values), 2)
	case placeQuery:
		return queryValue(req.Query, p.name)
	case placePath:
		return queryValue(req.Path, p.name)
	case placeParam:
		if len(req.Body) == 0 {
			return queryValue(req.Query, p.name)
		}
		return formValue(req.Body, p.name)
	case placeForm:
		return formValue(req.Body, p.name)
	case placeJSON:
		var slots [1]found
		if err := scan(req.Body, p.path, slots[:]); err != nil || !slots[0].ok {
			return "", 0
		}
		text := slots[0].string(req.Body)
		return text, min(len(text), 1)
	}
	return "", 0
}

// inText tells whether the place is a parameter of the query or of a form.
func (p *place) inText() bool {
	return p.kind == placeParam || p.kind == placeQuery || p.kind == placeForm
}

// raw is the text whose parameter the place is, as received.
func (p *place) raw(req *Request) []byte {
	if p.inQuery(req) {
		return []byte(req.Query)
	}
	return req.Body
}

func (p *place) setRaw(req *Request, text []byte) {
	if p.inQuery(req) {
		req.Query = string(text)
	} else {
		req.Body = text
	}
}

func (p *place) inQuery(req *Request) bool {
	return p.kind == placeQuery || p.kind == placeParam && len(req.Body) == 0
}

func formValue(body []byte, name string) (text string, times int) {
	value, err := formField(nil, body, name)
	switch {
	case errors.Is(err, errFieldTwice):
		return "", 2
	case err != nil || len(value) == 0:
		return "", 0
	}
	return string(value), 1
}

// string returns the found scalar's text: a string's own, or a number as it is written.
func (f found) string(in []byte) string {
	if f.escaped {
		return unquote(in[f.start-1 : f.end+1])
	}
	return string(in[f.start:f.end])
}

// queryValue finds a parameter in a raw query, and how often it is there. An empty one is not there, but
// counts beside another: of two, another reader could take the other one.
func queryValue(raw, name string) (value string, times int) {
	for pair := range strings.SplitSeq(raw, "&") {
		key, text, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(key)
		if err != nil || key != name {
			continue
		}
		if times++; times > 1 {
			return "", 2
		}
		if value, err = url.QueryUnescape(text); err != nil {
			value = ""
		}
	}
	if value == "" {
		return "", 0
	}
	return value, times
}
