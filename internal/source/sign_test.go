package source

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

const (
	privateKey = "only its provider has the private key"
	insideJSON = "its signature stands inside the body's JSON"
	noSecret   = "has no secret yet"
)

// unsignable are the messages that relais can't make, and why. They are read unsigned.
var unsignable = map[string]string{
	"adyen": insideJSON, "mailgun": insideJSON,
	"discord": privateKey, "paybox": privateKey, "paypal": privateKey, "sendgrid": privateKey,
	"generic-hmac": "can verify it", // whichever of the two its source chose
	"asana":        noSecret,        // before its handshake
}

// TestSamplesAreAccepted signs every preset's samples as relais send does, with each kind of secrets that the preset's
// own vectors have, and takes them as the server does.
func TestSamplesAreAccepted(t *testing.T) {
	presets := Embedded()
	unsigned := map[string]string{}
	for _, name := range presets.Names() {
		preset, err := presets.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		kinds := kindsOfSecrets(preset)
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			t.Run(name+"/"+kind, func(t *testing.T) {
				src := compile(t, kinds[kind])
				for _, doc := range src.Events() {
					switch err := acceptSample(t, src, doc.Type); {
					case err == nil:
					case !strings.Contains(err.Error(), unsignable[name]):
						t.Errorf("%s: %v", doc.Type, err)
					default:
						unsigned[name] = unsignable[name]
					}
				}
			})
		}
	}
	if !maps.Equal(unsigned, unsignable) {
		t.Errorf("these can't be signed: %q; expected %q", unsigned, unsignable)
	}
}

// kindsOfSecrets are the entries by which the preset's vectors are verified. Where secrets have names, there is one
// more before the others, and there are only that one's.
func kindsOfSecrets(p *Preset) map[string]config.Source {
	out := map[string]config.Source{}
	for i := range p.Tests {
		v := &p.Tests[i]
		in := config.Source{Preset: p.Name, Secrets: secrets(v.Secrets...), NamedSecrets: named(v.Named), Verify: v.Verify, Fields: v.Fields}
		if p.Verify.Scheme == "none" && v.Verify == nil {
			in.Auth = "none"
		}
		kind := fmt.Sprintf("%d secrets, named %q, %v", min(len(v.Secrets), 2), slices.Sorted(maps.Keys(v.Named)), v.Verify)
		if _, known := out[kind]; known {
			continue
		}
		out[kind] = in
		if choosing := p.chosenNames(v); len(choosing) > 0 {
			more := in
			more.NamedSecrets = maps.Clone(in.NamedSecrets)
			more.NamedSecrets["AAA"] = secrets("a-secret-of-nobody")
			out[kind+" and AAA"] = more
			more.NamedSecrets = map[string][]config.Secret{choosing[len(choosing)-1]: secrets(v.Named[choosing[len(choosing)-1]])}
			out[kind+" of which the last alone"] = more
		}
	}
	return out
}

// chosenNames are the names of the secrets that verify, and not of those that a handshake asks for.
func (p *Preset) chosenNames(v *Vector) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(v.Named)), func(name string) bool {
		return slices.ContainsFunc(p.Handshake, func(h Handshake) bool { return h.Token.Secret == name })
	})
}

// acceptSample returns why the sample couldn't be signed.
func acceptSample(t *testing.T, src *Source, typ string) error {
	t.Helper()
	req, err := src.Sample(typ, "52437688", "u1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	target := src.Called(&url.URL{Scheme: "https", Host: "hooks.example.fr"}, &Request{})
	req.URL, req.Query = target.String(), target.RawQuery
	unsigned := src.Sign(req)
	if unsigned == nil {
		if err := src.Verify(req); err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
	}
	msg, err := src.Read(req)
	if err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	if got := msg.Each()[0].Type; got != typ {
		t.Errorf("the sample of %s is read as %s", typ, got)
	}
	if unsigned != nil || src.signature == nil || !signs(src.signature.parts, signedBody) {
		return unsigned
	}
	req.Body = append(req.Body, ' ')
	if err := src.Verify(req); reasonOf(err) != core.RejectBadSignature {
		t.Errorf("%s: with a changed body: %v", typ, err)
	}
	return nil
}

// TestNoSecretFitsTheMessage says which secrets there are, where none is for what the message names.
func TestNoSecretFitsTheMessage(t *testing.T) {
	for name, in := range map[string]config.Source{
		"a key":       {Preset: "carriers", NamedSecrets: named(map[string]string{"FEDEX": "f", "UPS": "u"})},
		"a signature": {Preset: "carriers", NamedSecrets: named(map[string]string{"FEDEX": "f", "UPS": "u"}), Verify: map[string]any{"variant": "hmac"}},
	} {
		src := compile(t, in)
		req, err := src.Sample("tracking.delivered", "1", "u1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		req.Body = []byte(strings.Replace(string(req.Body), "FEDEX", "DHL", 1))
		var said *core.Error
		if err := src.Sign(req); !errors.As(err, &said) || !strings.HasSuffix(said.Message, "there are FEDEX, UPS") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
