package source

import (
	"net/url"
	"strings"
)

// Called returns the address below base at which the source takes this request, once it is signed: its own path,
// with the named parts that the request gives, or /in/NAME where it has none or the request doesn't give them all.
func (s *Source) Called(base *url.URL, req *Request) *url.URL {
	segments := strings.Split(strings.TrimPrefix(s.Path, "/"), "/")
	for i, segment := range segments {
		name, named := strings.CutPrefix(segment, "{")
		if !named {
			continue
		}
		value, times := queryValue(req.Path, strings.TrimSuffix(name, "}"))
		if times != 1 || value == "" || value == "." || value == ".." {
			return base.JoinPath("in", s.Name)
		}
		segments[i] = url.PathEscape(value)
	}
	if s.Path == "" {
		return base.JoinPath("in", s.Name)
	}
	return base.JoinPath(segments...)
}

// SecretInPath tells whether the source's token is a part of its path.
func (s *Source) SecretInPath() bool {
	return s.credential != nil && s.credential.place.kind == placePath
}
