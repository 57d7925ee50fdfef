package source

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
)

const signKey = "1eba7b47-ff42-4883-9b6b-f3d776151374"

// quote2KiB is an accepted quote of about 2 KiB, as a form.
func quote2KiB(t testing.TB) (*Source, *Request) {
	t.Helper()
	src := compile(t, config.Source{Preset: "sellsy", Secrets: secrets(signKey)})
	object := `{"eventType":"docslog","event":"step","timestamp":"1778187955","relatedtype":"estimate","relatedid":"52437688",` +
		`"relatedobject":{"id":52437688,"status":"accepted","note":"` + strings.Repeat("Fourniture et pose. ", 60) + `"}}`
	req := &Request{Method: "POST", Header: http.Header{}, Body: []byte("notif=" + url.QueryEscape(object)), Now: time.Now()}
	req.Header.Set("Content-Type", contentForm)
	if err := src.Sign(req); err != nil {
		t.Fatal(err)
	}
	return src, req
}

func BenchmarkVerifySellsy2KiB(b *testing.B) {
	src, req := quote2KiB(b)
	b.SetBytes(int64(len(req.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := src.Verify(req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadSellsy2KiB(b *testing.B) {
	src, req := quote2KiB(b)
	b.SetBytes(int64(len(req.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := src.Read(req); err != nil {
			b.Fatal(err)
		}
	}
}

func TestVerificationAndReadingAllocateNothing(t *testing.T) {
	src, req := quote2KiB(t)
	hmac := compile(t, config.Source{Preset: "github", Secrets: secrets("a", "b")})
	signed := &Request{Method: "POST", Header: http.Header{}, Body: bytes.Clone(req.Body), Now: time.Now()}
	if err := hmac.Sign(signed); err != nil {
		t.Fatal(err)
	}
	token := compile(t, config.Source{Preset: "generic", Secrets: secrets("s3cret")})
	withToken := &Request{Method: "POST", Header: http.Header{"X-Api-Key": {"s3cret"}}, Body: req.Body}
	for name, run := range map[string]func() error{
		"sellsy's verification": func() error { return src.Verify(req) },
		"sellsy's reading":      func() error { _, err := src.Read(req); return err },
		"an HMAC":               func() error { return hmac.Verify(signed) },
		"a token":               func() error { return token.Verify(withToken) },
	} {
		allocs := testing.AllocsPerRun(200, func() {
			if err := run(); err != nil {
				t.Fatal(name, err)
			}
		})
		// A collection during the run empties the pools: that is not the usual case, but it happens.
		if allocs >= 1 && !poolsForget {
			t.Errorf("%s allocates %v times", name, allocs)
		}
	}
}

// BenchmarkVerify is what a request of 2 KiB costs by its scheme. Beside each HMAC stands what the standard
// library's costs by itself; "×bare" is how many times that the whole verification is, and is to stay under 3.
func BenchmarkVerify(b *testing.B) {
	body := []byte(`{"type":"paid","note":"` + strings.Repeat("x", 2048-25) + `"}`)
	names := slices.Sorted(maps.Keys(schemes))
	for _, scheme := range append(names, "token") {
		var bare float64
		if newHash := bareHashes[scheme]; newHash != nil {
			b.Run("bare-"+scheme, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					mac := hmac.New(newHash, []byte("s3cret"))
					mac.Write(body)
					mac.Sum(nil)
				}
				bare = float64(b.Elapsed()) / float64(b.N)
			})
		}
		src, req := benchmarked(b, scheme, body)
		b.Run(scheme, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := src.Verify(req); err != nil {
					b.Fatal(err)
				}
			}
			if bare > 0 {
				b.ReportMetric(float64(b.Elapsed())/float64(b.N)/bare, "×bare")
			}
		})
	}
}

var bareHashes = map[string]func() hash.Hash{"hmac-sha1": sha1.New, "hmac-sha256": sha256.New, "hmac-sha512": sha512.New}

func benchmarked(t testing.TB, scheme string, body []byte) (*Source, *Request) {
	t.Helper()
	in := config.Source{Preset: "generic-hmac", Secrets: secrets("s3cret"), Verify: map[string]any{"scheme": scheme}}
	if schemes[scheme].public() {
		key := signer(t, scheme)
		in.Secrets = secrets(publicTexts(t, key)["PEM"])
		return compile(t, in), signWith(t, scheme, key, body)
	}
	src := compile(t, in)
	req := &Request{Method: "POST", Header: http.Header{}, Body: body, Now: time.Now()}
	if err := src.Sign(req); err != nil {
		t.Fatal(err)
	}
	return src, req
}
