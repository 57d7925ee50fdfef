package source

import (
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"relais/internal/config"
	"relais/internal/core"
)

// Windows of a dedup key when the preset gives none: a provider's id is remembered for longer than
// providers retry; a body's digest only for as long as one message is sent again by accident.
const (
	windowOfID   = 72 * time.Hour
	windowOfBody = 10 * time.Minute
)

// check compiles all of a preset that needs no secret.
func (p *Preset) check() error {
	s := new(Source)
	s.answers(p)
	if _, err := parsePrefixes(p.AllowIPs); err != nil {
		return err
	}
	for _, method := range append(slices.Clone(p.Methods), slices.Collect(maps.Keys(s.Handshakes))...) {
		if method == "" || strings.ToUpper(method) != method {
			return invalid("methods", "%q is not a method: methods are written in capitals", method)
		}
	}
	if p.Answer.Status != 0 && (p.Answer.Status < 200 || p.Answer.Status > 299) {
		return invalid("answer.status", "%d: what was stored is answered with a 2xx", p.Answer.Status)
	}
	if p.Verify.Scheme != "none" {
		if err := p.Verify.check(); err != nil {
			return err
		}
	}
	return s.compileReading(p, config.Source{})
}

func (s *Source) answers(p *Preset) {
	s.Answer = p.Answer.withDefaults()
	s.Methods = p.Methods
	if len(s.Methods) == 0 {
		s.Methods = []string{http.MethodPost}
	}
	s.Handshakes = make(map[string]Answer, len(p.Handshake))
	allow := slices.Clone(s.Methods)
	for _, h := range p.Handshake {
		s.Handshakes[h.Method] = h.Answer.withDefaults()
		allow = append(allow, h.Method)
	}
	s.Allow = strings.Join(allow, ", ")
}

func (a Answer) withDefaults() Answer {
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	if a.ContentType == "" && a.Body != "" {
		a.ContentType = "text/plain; charset=utf-8"
	}
	return a
}

func parsePrefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, errAddr := netip.ParseAddr(text)
			if errAddr != nil {
				return nil, invalid("allow_ips", "%q is no address and no range", text)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}

// compileAuth decides how requests are verified. Every way to none of it but auth: none is an error.
func (s *Source) compileAuth(in config.Source, p *Preset) error {
	s.keepHeader = func(name string) bool { return !neverStored[name] }
	switch in.Auth {
	case "none":
		if in.Verify != nil {
			return invalid("auth", "none, and verify is given too: one of them must go")
		}
		return nil
	case "":
	default:
		return invalid("auth", "%q: allowed is none, or nothing", in.Auth)
	}
	v := p.Verify
	if in.Preset == "" {
		v = Verify{}
	}
	if err := v.override(in.Verify); err != nil {
		return err
	}
	if v.Scheme == "none" {
		return invalid("preset", "%s sends nothing that can be verified: say auth: none, or give verify with a token of your own", p.Name)
	}
	if err := v.check(); err != nil {
		return err
	}
	secrets := make([]string, 0, len(in.Secrets))
	for _, secret := range in.Secrets {
		if secret.IsZero() {
			return invalid("secret", "the secret is empty: anyone could sign with it")
		}
		secrets = append(secrets, secret.Reveal())
	}
	if len(secrets) == 0 {
		return invalid("secret", "%s is verified with a secret, and none is given", in.Name)
	}
	return s.compileVerify(&v, secrets)
}

func (s *Source) compileVerify(v *Verify, secrets []string) error {
	s.secret = secrets[0]
	s.hidden = hiding(secrets)
	at, err := v.place()
	if err != nil {
		return err
	}
	scheme, signed := schemes[v.Scheme]
	if !signed {
		if s.credential, err = newCredential(v, secrets, at); err != nil {
			return err
		}
		if s.credential.basic {
			s.Challenge = `Basic realm="relais", charset="UTF-8"`
		}
		// The keyed digest is added in its place.
		s.keepHeader = func(name string) bool { return !neverStored[name] && (at.kind != placeHeader || name != at.name) }
		return nil
	}
	parts, err := parseSigned(v.signed())
	if err != nil {
		return err
	}
	s.signature = &signature{
		scheme: scheme, place: at, prefix: v.Prefix, format: formats[v.Format], parts: parts,
		separator: v.Separator, item: v.Item, encoding: encodings[v.Encoding],
		timestamp: v.Timestamp.place(), timestampFormat: v.Timestamp.Format, id: v.ID.place(),
		tolerance: v.Tolerance,
	}
	if s.signature.separator == "" {
		s.signature.separator = ","
	}
	if s.signature.item == "" {
		s.signature.item = "v1"
	}
	for _, secret := range secrets {
		key, err := decodeKey(secret, v)
		if err != nil {
			return err
		}
		s.signature.keys = append(s.signature.keys, key)
	}
	s.signature.init()
	return nil
}

// override lays a source's own verify over the preset's. Another scheme forgets what the preset's
// scheme signs, and another place the preset's place.
func (v *Verify) override(own map[string]any) error {
	if own == nil {
		return nil
	}
	for _, key := range []string{"header", "query", "form", "json"} {
		if _, ok := own[key]; ok {
			v.Header, v.Query, v.Form, v.JSON = "", "", "", ""
		}
	}
	if scheme, ok := own["scheme"]; ok {
		v.Signed = ""
		if scheme == "basic" {
			v.Header, v.Prefix = "", "" // Basic has its own header
		}
	}
	text, err := yaml.Marshal(own)
	if err != nil {
		return invalid("verify", "it can't be read: %s", err)
	}
	if err := yaml.UnmarshalWithOptions(text, v, yaml.Strict()); err != nil {
		return invalid("verify", "%s", firstLine(yaml.FormatError(err, false, false)))
	}
	return nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func (v *Verify) signed() string {
	switch {
	case v.Signed != "":
		return v.Signed
	case schemes[v.Scheme].keyed:
		return "{body}"
	default:
		return "{key}{body}"
	}
}

func (v *Verify) place() (place, error) {
	var at []place
	if v.Scheme == "basic" && v.Header == "" {
		at = append(at, headerPlace("Authorization"))
	}
	if v.Header != "" {
		at = append(at, headerPlace(v.Header))
	}
	if v.Query != "" {
		at = append(at, place{kind: placeQuery, name: v.Query})
	}
	if v.Form != "" {
		at = append(at, place{kind: placeForm, name: v.Form})
	}
	if v.JSON != "" {
		path := newPaths()
		path.add(v.JSON, 0)
		at = append(at, place{kind: placeJSON, path: path})
	}
	if len(at) != 1 {
		return place{}, invalid("verify", "exactly one of header, query, form, json says where the signature stands")
	}
	return at[0], nil
}

func (t *Timestamp) place() place {
	switch {
	case t.Item != "":
		return place{kind: placeItem, name: t.Item}
	default:
		return (&Where{t.Header, t.Query}).place()
	}
}

func (w *Where) place() place {
	switch {
	case w.Header != "":
		return headerPlace(w.Header)
	case w.Query != "":
		return place{kind: placeQuery, name: w.Query}
	default:
		return place{}
	}
}

// check refuses what can't work, so that a request is never the first to find out.
func (v *Verify) check() error {
	scheme, signed := schemes[v.Scheme]
	if !signed && v.Scheme != "token" && v.Scheme != "basic" {
		known := slices.Sorted(maps.Keys(schemes))
		return invalid("verify.scheme", "%q: allowed are %s, token, basic", v.Scheme, strings.Join(known, ", "))
	}
	at, err := v.place()
	if err != nil {
		return err
	}
	if !signed {
		if at.kind != placeHeader && at.kind != placeQuery {
			return invalid("verify", "a credential stands in a header or in the query: one in the body would be stored with it")
		}
		return nil
	}
	if err := v.checkWords(); err != nil {
		return err
	}
	parts, err := parseSigned(v.signed())
	if err != nil {
		return err
	}
	timestamp, id := v.Timestamp.place(), v.ID.place()
	switch {
	case !scheme.keyed && !signs(parts, signedKey):
		return invalid("verify.signed", "a plain hash proves nothing without {key} in it")
	case signs(parts, signedTimestamp) != (timestamp.kind != placeNone):
		return invalid("verify.timestamp", "{timestamp} in signed and a place for it go together: a timestamp that isn't signed proves nothing")
	case v.Tolerance != 0 && timestamp.kind == placeNone:
		return invalid("verify.tolerance", "there is no signed timestamp that it could bound")
	case v.Tolerance < 0:
		return invalid("verify.tolerance", "it is negative")
	case signs(parts, signedID) != (id.kind != placeNone):
		return invalid("verify.id", "{id} in signed and a place for it go together")
	case timestamp.kind == placeItem && v.Format != "pairs":
		return invalid("verify.timestamp", "an item stands among pairs only")
	}
	return nil
}

func (v *Verify) checkWords() error {
	if _, ok := formats[v.Format]; !ok {
		return invalid("verify.format", "%q: allowed are plain, pairs, list", v.Format)
	}
	if _, ok := encodings[v.Encoding]; !ok {
		return invalid("verify.encoding", "%q: allowed are hex, base64, base64url", v.Encoding)
	}
	if !slices.Contains([]string{"", "text", "hex", "base64"}, v.Key) {
		return invalid("verify.key", "%q: allowed are text, hex, base64", v.Key)
	}
	if !timestampFormats[v.Timestamp.Format] {
		return invalid("verify.timestamp.format", "%q: allowed are unix, unix-ms, rfc3339", v.Timestamp.Format)
	}
	return nil
}

// compileReading makes what Read needs.
func (s *Source) compileReading(p *Preset, in config.Source) error {
	var err error
	for _, f := range []struct {
		to   *formatOf
		text string
	}{{&s.formatForm, p.Data.Form}, {&s.formatJSON, p.Data.JSON}, {&s.formatOther, p.Data.Other}} {
		if *f.to, err = parseFormat(f.text); err != nil {
			return err
		}
	}
	rules := &ruleReader{want: newPaths()}
	if s.types, err = rules.compile("type", p.Type, false); err != nil {
		return err
	}
	if s.nativeTypes, err = rules.compile("native_type", p.NativeType, false); err != nil {
		return err
	}
	dedup := p.Dedup
	switch in.Dedup {
	case "":
		// Anyone could send the next key first, and the real message would be taken for the repeat.
		s.dedupBody = in.Auth == "none"
	case "off":
		dedup = Dedup{}
	case "body":
		dedup = Dedup{Key: Rules{{Is: "{body}"}}}
	default:
		dedup = Dedup{Key: Rules{{CEL: in.Dedup}}, Window: dedup.Window}
	}
	if s.dedup, err = rules.compile("dedup", dedup.Key, true); err != nil {
		return err
	}
	s.dedupWindow = window(in.DedupWindow, dedup)
	s.dedupSeed = []byte(core.DefaultTenant + "\x00" + s.Name + "\x00")
	s.want, s.slots = rules.want, rules.slots
	s.readings.New = s.newReading
	s.redact, err = parseRedaction(append(slices.Clone(p.Redact), in.Redact...))
	return err
}

func window(own time.Duration, dedup Dedup) time.Duration {
	switch {
	case own > 0:
		return own
	case dedup.Window > 0:
		return dedup.Window
	}
	for _, rule := range dedup.Key {
		if strings.Contains(rule.Is, "{body}") {
			return windowOfBody
		}
	}
	return windowOfID
}
