package source

import (
	"maps"
	"slices"

	"relais/internal/config"
)

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
	v, err := Resolved(in, p)
	if err != nil {
		return err
	}
	if v.Scheme == "none" {
		return invalid("preset", "%s sends nothing that can be verified: say auth: none, or give verify with a token of your own", p.Name)
	}
	if err := v.check(); err != nil {
		return err
	}
	in.NamedSecrets = s.takeTokens(in.NamedSecrets, p)
	secrets, err := namedSecrets(in, &v)
	s.begins = err != nil && s.tellsSecret(in, p, &v)
	if err != nil && !s.begins {
		return err
	}
	return s.compileVerify(&v, secrets)
}

// takeTokens takes out the secrets that only a handshake asks for: these are sent in clear, and must not
// be good for signing.
func (s *Source) takeTokens(named map[string][]config.Secret, p *Preset) map[string][]config.Secret {
	s.tokens = map[string][]string{}
	rest := maps.Clone(named)
	for _, h := range p.Handshake {
		for _, secret := range rest[h.Token.Secret] {
			s.tokens[h.Token.Secret] = append(s.tokens[h.Token.Secret], secret.Reveal())
		}
		delete(rest, h.Token.Secret)
	}
	return rest
}

// tellsSecret tells whether the source has no secret yet, and a handshake that its provider gives it by. What is sent
// as it is, and a public key, is given otherwise.
func (s *Source) tellsSecret(in config.Source, p *Preset, v *Verify) bool {
	scheme, signed := schemes[v.Scheme]
	return signed && !scheme.public() && len(in.Secrets)+len(in.NamedSecrets) == 0 && slices.ContainsFunc(p.Handshake, func(h Handshake) bool {
		return h.GivesSecret && len(s.tokens[h.Token.Secret]) > 0
	})
}

// namedSecret is a secret's text, and its name where a field of the request chooses by it.
type namedSecret struct{ name, text string }

func namedSecrets(in config.Source, v *Verify) ([]namedSecret, error) {
	var out []namedSecret
	for _, secret := range in.Secrets {
		out = append(out, namedSecret{"", secret.Reveal()})
	}
	for _, name := range slices.Sorted(maps.Keys(in.NamedSecrets)) {
		for _, secret := range in.NamedSecrets[name] {
			out = append(out, namedSecret{name, secret.Reveal()})
		}
	}
	if len(out) == 0 {
		for _, key := range v.PublicKeys {
			out = append(out, namedSecret{"", key})
		}
	}
	switch {
	case len(out) == 0 && v.CertificateURL.given():
		return nil, nil
	case len(out) == 0:
		return nil, invalid("secret", "%s is verified with a secret, and none is given", in.Name)
	case schemes[v.Scheme].public() && slices.ContainsFunc(out, func(s namedSecret) bool { return s.text == "" }):
		return nil, invalid("secret", "it is empty: fill in the provider's public key or certificate, as PEM or as its bytes in hexadecimal or base64")
	case slices.ContainsFunc(out, func(s namedSecret) bool { return s.text == "" }):
		return nil, invalid("secret", "the secret is empty: anyone could sign with it")
	case len(in.NamedSecrets) > 0 && v.Choose == (Where{}) && v.Scheme != "token" && v.Scheme != "basic":
		return nil, invalid("secrets", "nothing in the request chooses one of them by its name: give a list")
	}
	return out, nil
}

func (s *Source) compileVerify(v *Verify, secrets []namedSecret) error {
	s.secrets = secrets
	scheme, signed := schemes[v.Scheme]
	if !scheme.public() {
		texts := make([]string, len(secrets))
		for i := range secrets {
			texts[i] = secrets[i].text
		}
		for _, tokens := range s.tokens {
			texts = append(texts, tokens...)
		}
		s.hidden = hiding(texts)
	}
	at, err := v.place()
	if err != nil {
		return err
	}
	if !signed {
		return s.compileCredential(v, secrets, at)
	}
	parts, err := parseSigned(v.template())
	if err != nil {
		return err
	}
	sig := &signature{
		scheme: scheme, place: at, prefix: v.Prefix, format: formats[v.Format], parts: parts,
		separator: v.Separator, item: v.Item, timestamp: v.Timestamp.place(), timestampFormat: v.Timestamp.Format,
		id: v.ID.place(), tolerance: v.Tolerance, choose: v.Choose.place(), bodyDigest: v.BodyDigest.place(),
	}
	if sig.separator == "" {
		sig.separator = ","
	}
	if sig.item == "" {
		sig.item = "v1"
	}
	for _, word := range v.Encoding {
		sig.encodings = append(sig.encodings, encodings[word])
	}
	if len(sig.encodings) == 0 {
		sig.encodings = []encoding{encodingHex}
	}
	if v.Each != "" {
		sig.each = newPaths()
		sig.each.addWhole(v.Each, 0)
	}
	if err := sig.fill(v.Values); err != nil {
		return err
	}
	for _, secret := range secrets {
		keys, err := scheme.decodeKeys(secret, v)
		if err != nil {
			return err
		}
		sig.keys = append(sig.keys, keys...)
	}
	if scheme.public() && len(sig.keys) > maxPublicKeys {
		return invalid("secrets", "more than %d public keys", maxPublicKeys)
	}
	if len(secrets) == 0 && v.CertificateURL.given() {
		if sig.certificate, err = v.CertificateURL.compile(); err != nil {
			return err
		}
	}
	sig.init()
	s.signature = sig
	return nil
}

func (s *Source) compileCredential(v *Verify, secrets []namedSecret, at place) error {
	texts := make([]string, len(secrets))
	for i := range secrets {
		texts[i] = secrets[i].text
		s.secretNames = append(s.secretNames, secrets[i].name)
	}
	var err error
	if s.credential, err = newCredential(v, texts, at); err != nil {
		return err
	}
	if s.credential.basic {
		s.Challenge = `Basic realm="relais", charset="UTF-8"`
	}
	// The keyed digest is added in its place.
	s.keepHeader = func(name string) bool { return !neverStored[name] && (at.kind != placeHeader || name != at.name) }
	return nil
}
