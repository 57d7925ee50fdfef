package source

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"

	"relais/internal/core"
)

// credential verifies a secret that is sent as it is: a token, or Basic. Secrets are compared as
// digests under a key, so that neither their bytes nor their length shows in the time taken.
type credential struct {
	place  place
	prefix string
	basic  bool
	key    []byte
	sums   [][sha256.Size]byte
}

func newCredential(v *Verify, secrets []string, at place) (*credential, error) {
	c := &credential{place: at, prefix: v.Prefix, basic: v.Scheme == "basic"}
	// The key is the first secret's own: whoever reads a stored digest can't try guesses against it
	// without knowing what he looks for.
	seed := sha256.Sum256([]byte("relais credential\x00" + secrets[0]))
	c.key = seed[:]
	for _, secret := range secrets {
		if _, password, ok := strings.Cut(secret, ":"); c.basic && (!ok || password == "") {
			return nil, invalid("secret", "the secret of a basic source is user:password, and neither may be missing")
		}
		c.sums = append(c.sums, c.sum(secret))
	}
	return c, nil
}

func (c *credential) sum(text string) [sha256.Size]byte {
	var buf [256]byte
	return sha256.Sum256(append(append(buf[:0], c.key...), text...))
}

func (c *credential) verify(req *Request, names []string) *Rejected {
	text, times := c.place.read(req)
	if times == 0 {
		return errNoCredentials
	}
	if times > 1 || len(text) > maxSignatureText {
		return errCredentials
	}
	text, ok := c.secretOf(text)
	if !ok {
		return errCredentials
	}
	given := c.sum(text)
	match, fits := 0, 0
	for i := range c.sums {
		same := subtle.ConstantTimeCompare(given[:], c.sums[i][:])
		match, fits = match|same, subtle.ConstantTimeSelect(same, i, fits)
	}
	if match == 0 {
		return errCredentials
	}
	if fits < len(names) {
		req.Secret = names[fits]
	}
	return nil
}

// secretOf takes the secret out of the place's text.
func (c *credential) secretOf(text string) (string, bool) {
	if c.basic {
		scheme, encoded, _ := strings.Cut(text, " ")
		decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
		return string(decoded), err == nil && strings.EqualFold(scheme, "Basic")
	}
	return strings.CutPrefix(text, c.prefix)
}

// hashed is what is stored in the credential's stead: it tells whether two requests came with the same
// one, and nothing else.
func (c *credential) hashed(text string) string {
	sum := c.sum(text)
	return "sha256:" + hex.EncodeToString(sum[:8])
}

// neverStored are headers that carry someone's credentials, whether or not this source reads them.
var neverStored = map[string]bool{"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "X-Hook-Secret": true}

// secretHeader stores the name of the secret that a request was verified with. A sender's own is dropped.
const secretHeader = "Relais-Secret"

// StoredHeader returns the request's header as it may be stored: without credentials, and with a keyed
// digest in place of the one that verification read. A proxy may have written the address, with the token in
// it, into a header of its own.
func (s *Source) StoredHeader(req *Request) []byte {
	header := core.EncodeHeader(req.Header, func(name string) bool { return name != secretHeader && s.keepHeader(name) })
	if s.credential != nil || len(s.tokens) > 0 {
		header = []byte(s.Hide(string(header)))
	}
	if req.Secret != "" {
		header = append(header, secretHeader+": "+req.Secret+"\r\n"...)
	}
	if s.credential == nil || s.credential.place.kind != placeHeader {
		return header
	}
	for _, value := range req.Header[s.credential.place.name] {
		header = append(header, s.credential.place.name+": "+s.credential.hashed(value)+"\r\n"...)
	}
	return header
}

// StoredQuery returns the request's raw query as it may be stored. A handshake's token stays in the address of all
// that follows, also once the source has none any more.
func (s *Source) StoredQuery(req *Request) string {
	var name string
	if s.credential != nil && s.credential.place.kind == placeQuery {
		name = s.credential.place.name
	}
	if req.Query == "" || name == "" && len(s.tokenNames) == 0 {
		return req.Query
	}
	kept := make([]string, 0, 8)
	for pair := range strings.SplitSeq(req.Query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		// What can't be decoded can't be told from the secret: it goes.
		decoded, err := url.QueryUnescape(key)
		switch {
		case err != nil:
			continue
		case name != "" && decoded == name:
			kept = append(kept, key+"="+url.QueryEscape(s.credential.hashed(value)))
		case slices.Contains(s.tokenNames, decoded):
			kept = append(kept, key+"="+hiddenText)
		default:
			kept = append(kept, s.hideToken(pair))
		}
	}
	return strings.Join(kept, "&")
}

// hideToken takes handshakes' tokens out of where they don't belong.
func (s *Source) hideToken(text string) string {
	if len(s.tokens) == 0 {
		return text
	}
	return s.Hide(text)
}

// StoredPath returns the request's named parts of the path as they may be stored.
func (s *Source) StoredPath(req *Request) string {
	if s.credential == nil || s.credential.place.kind != placePath {
		return req.Path
	}
	kept := s.credential.place
	out := make([]string, 0, 4)
	for pair := range strings.SplitSeq(req.Path, "&") {
		if name, value, _ := strings.Cut(pair, "="); name == kept.name {
			pair = name + "=" + url.QueryEscape(s.credential.hashed(value))
		}
		out = append(out, pair)
	}
	return strings.Join(out, "&")
}

// HidePath takes the part that should have been the source's token out of the path of a refused request.
func (s *Source) HidePath(path, parts string) string {
	if s.credential == nil || s.credential.place.kind != placePath {
		return path
	}
	if value, _ := queryValue(parts, s.credential.place.name); value != "" {
		path = strings.ReplaceAll(path, value, hiddenText)
	}
	return path
}

// Hide takes the source's secrets out of what is kept of a refused request: a sender whose settings are
// wrong gives them at another place than verification looks at.
func (s *Source) Hide(text string) string {
	if s.hidden == nil {
		return text
	}
	return s.hidden.Replace(text)
}

const (
	// shortestHidden is as short as a secret may be that is looked for: to hide "test" would garble what is
	// kept and protect nothing.
	shortestHidden = 6
	hiddenText     = "[secret]"
)

func hiding(secrets []string) *strings.Replacer {
	var pairs []string
	add := func(text string) {
		if len(text) >= shortestHidden {
			pairs = append(pairs, text, hiddenText, url.QueryEscape(text), hiddenText, url.PathEscape(text), hiddenText,
				base64.StdEncoding.EncodeToString([]byte(text)), hiddenText)
		}
	}
	// The longest first: where one secret begins another, the rest of the longer would stay.
	for _, secret := range slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return len(b) - len(a) }) {
		add(secret)
		if _, password, ok := strings.Cut(secret, ":"); ok {
			add(password)
		}
	}
	return strings.NewReplacer(pairs...)
}

// text is what a sender writes at the place.
func (c *credential) text(secret string) string {
	if c.basic {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(secret))
	}
	return c.prefix + secret
}
