package source

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
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
				src := compile(t, config.Source{Name: "x", Preset: name, Auth: unverified(preset, vector),
					Secrets: secrets(vector.Secrets...), Verify: vector.Verify})
				checkVector(t, src, vector)
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

func checkVector(t *testing.T, src *Source, vector Vector) {
	t.Helper()
	req := vectorRequest(t, vector)
	msg, err := verifyAndRead(src, req, vector.Want.Verified)
	if got := reasonOf(err); got != vector.Want.Reject {
		t.Fatalf("refused for %q (%v), want %q", got, err, vector.Want.Reject)
	}
	if err != nil || vector.Want.Verified {
		return
	}
	want := vector.Want
	if msg.Type != want.Type || msg.NativeType != want.NativeType || msg.Format != want.Format {
		t.Errorf("read as type %q, native type %q, format %q; want %q, %q, %q",
			msg.Type, msg.NativeType, msg.Format, want.Type, want.NativeType, want.Format)
	}
	if got := msg.DedupKey != [16]byte{}; got != want.Dedup {
		t.Errorf("has a dedup key: %v, want %v", got, want.Dedup)
	}
	if _, err := expr.EventData(&core.Event{Format: msg.Format, Body: req.Body}); err != nil {
		t.Errorf("what was accepted can't be decoded: %v", err)
	}
}

func verifyAndRead(src *Source, req *Request, verifyOnly bool) (Message, error) {
	if err := src.Verify(req); err != nil || verifyOnly {
		return Message{}, err
	}
	return src.Read(req)
}

func vectorRequest(t *testing.T, v Vector) *Request {
	t.Helper()
	req := &Request{Method: v.Method, URL: v.URL, Header: http.Header{}, Body: []byte(v.Body), Now: v.At}
	if req.Method == "" {
		req.Method = http.MethodPost
	}
	if req.Now.IsZero() {
		req.Now = time.Now()
	}
	for name, value := range v.Header {
		req.Header.Set(name, value)
	}
	u, err := url.Parse(v.URL)
	if err != nil {
		t.Fatal(err)
	}
	req.Query = u.RawQuery
	return req
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
			src := compile(t, config.Source{Preset: name, Auth: unverified(preset, Vector{}), Secrets: secrets(first.Secrets...)})
			now := time.Now()
			for _, doc := range src.Events() {
				req, err := src.Sample(doc.Type, "52437688", "u1", now)
				if err != nil {
					t.Fatal(err)
				}
				if err := src.Sign(req); err != nil {
					t.Fatal(err)
				}
				msg, err := verifyAndRead(src, req, false)
				if err != nil {
					t.Fatalf("%s: %v", doc.Type, err)
				}
				if msg.Type != doc.Type {
					t.Errorf("the sample of %s is read as %s", doc.Type, msg.Type)
				}
				req.Body = append(req.Body, ' ')
				if err := src.Verify(req); src.signature != nil && signs(src.signature.parts, signedBody) && reasonOf(err) != core.RejectBadSignature {
					t.Errorf("%s: with a changed body: %v", doc.Type, err)
				}
			}
		})
	}
}
