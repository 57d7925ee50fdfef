package source

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
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

// BenchmarkVerify is what a request of 2 KiB costs by its scheme, and what the standard library's HMAC of
// it costs by itself.
func BenchmarkVerify(b *testing.B) {
	body := []byte(`{"type":"paid","note":"` + strings.Repeat("x", 2048-25) + `"}`)
	b.Run("bare-hmac-sha256", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			bareHMAC(body)
		}
	})
	names := slices.Sorted(maps.Keys(schemes))
	for _, scheme := range append(names, "token") {
		src, req := benchmarked(b, scheme, body)
		b.Run(scheme, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := src.Verify(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func bareHMAC(body []byte) []byte {
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write(body)
	return mac.Sum(nil)
}

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

// Verification may not cost more than three times what the HMAC itself does. The best of several runs of
// each is compared: other programs on the machine only ever make one slower.
func TestVerificationCostsLittleMoreThanTheHMAC(t *testing.T) {
	if poolsForget {
		t.Log("under the race detector nothing is measured")
		return
	}
	body := bytes.Repeat([]byte("x"), 2048)
	src, req := benchmarked(t, "hmac-sha256", body)
	best := func(run func()) time.Duration {
		out := time.Hour
		for range 20 {
			start := time.Now()
			for range 100 {
				run()
			}
			out = min(out, time.Since(start))
		}
		return out
	}
	bare := best(func() { bareHMAC(body) })
	whole := best(func() {
		if err := src.Verify(req); err != nil {
			t.Fatal(err)
		}
	})
	if whole > 3*bare {
		t.Errorf("a hundred verifications take %v, and the HMACs alone %v", whole, bare)
	}
}
