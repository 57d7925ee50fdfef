package source

import (
	"errors"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

// TestPresetVectors runs every preset's own test vectors: they are what the preset promises.
func TestPresetVectors(t *testing.T) {
	presets := Embedded()
	for _, name := range presets.Names() {
		preset, err := presets.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(preset.Tests) == 0 {
			t.Errorf("%s has no test vectors", name)
		}
		for _, vector := range preset.Tests {
			t.Run(name+"/"+vector.Name, func(t *testing.T) {
				if err := preset.RunVector(&vector); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// unverified is the auth of a source whose provider signs nothing and that has no token of its own.
func unverified(preset *Preset, vector Vector) string {
	if preset.Verify.Scheme == "none" && vector.Verify == nil {
		return "none"
	}
	return ""
}

// verifyOf is what a source must say besides its preset for the preset's own samples.
func verifyOf(preset *Preset, first Vector) map[string]any {
	if preset.Verify.Scheme == "none" {
		return nil
	}
	return first.Verify
}

func verifyAndRead(src *Source, req *Request, verifyOnly bool) (Message, error) {
	if err := src.Verify(req); err != nil || verifyOnly {
		return Message{}, err
	}
	return src.Read(req)
}

func reasonOf(err error) core.RejectReason {
	var rejected *Rejected
	if errors.As(err, &rejected) {
		return rejected.Reason
	}
	if err != nil {
		return core.RejectReason(err.Error())
	}
	return ""
}

func secrets(texts ...string) []config.Secret {
	var out []config.Secret
	for _, text := range texts {
		out = append(out, config.NewSecret(text))
	}
	return out
}

func named(texts map[string]string) map[string][]config.Secret {
	out := map[string][]config.Secret{}
	for name, text := range texts {
		out[name] = secrets(text)
	}
	return out
}

func compile(t testing.TB, in config.Source) *Source {
	t.Helper()
	if in.Name == "" {
		in.Name = "x"
	}
	src, err := Compile(in, Embedded())
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// TestSamplesAreAccepted signs every preset's samples as the provider would and reads them back.
func TestSamplesAreAccepted(t *testing.T) {
	presets := Embedded()
	for _, name := range presets.Names() {
		t.Run(name, func(t *testing.T) {
			preset, err := presets.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			first := preset.Tests[0]
			src := compile(t, config.Source{Preset: name, Auth: unverified(preset, Vector{}), Secrets: secrets(first.Secrets...),
				NamedSecrets: named(first.Named), Verify: verifyOf(preset, first)})
			now := time.Now()
			for _, doc := range src.Events() {
				req, err := src.Sample(doc.Type, "52437688", "u1", now)
				if err != nil {
					t.Fatal(err)
				}
				// What only the provider can sign, or what is signed inside the body, is read unsigned.
				signed := src.Sign(req)
				if signed != nil && !src.signature.scheme.public() && src.signature.place.kind != placeJSON {
					t.Fatal(signed)
				}
				read := func() (Message, error) { return verifyAndRead(src, req, false) }
				if signed != nil {
					read = func() (Message, error) { return src.Read(req) }
				}
				msg, err := read()
				if err != nil {
					t.Fatalf("%s: %v", doc.Type, err)
				}
				if got := msg.Each()[0].Type; got != doc.Type {
					t.Errorf("the sample of %s is read as %s", doc.Type, got)
				}
				req.Body = append(req.Body, ' ')
				if err := src.Verify(req); signed == nil && src.signature != nil && signs(src.signature.parts, signedBody) && reasonOf(err) != core.RejectBadSignature {
					t.Errorf("%s: with a changed body: %v", doc.Type, err)
				}
			}
		})
	}
}
