package ingest

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"

	"relais/internal/config"
	"relais/internal/source"
)

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestOneSenderHasFewCertificatesFetched: whoever names a new one in each request is told to come again, and others'
// are still fetched.
func TestOneSenderHasFewCertificatesFetched(t *testing.T) {
	var calls atomic.Int64
	client := &http.Client{Transport: answering(func(r *http.Request) (*http.Response, error) {
		calls.Add(1)
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: r}, nil
	})}
	signed := config.Source{Name: "signed", Path: "/signed", Verify: map[string]any{"scheme": "rsa-sha256", "header": "X-Signature", "certificate_url": map[string]any{
		"header": "X-Cert", "hosts": []string{"certs.example.fr"}, "path": "/[a-z0-9-]+", "names": []string{"signer.example.fr"}}}}
	h := open(t, func(o *Options) {
		o.Certificates = source.NewCertificates(source.CertificateOptions{Client: client})
		o.Settings.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	}, signed)
	send := func(address, certificate string) int {
		return h.send("POST", "/signed", http.Header{"X-Signature": {"00"}, "X-Forwarded-For": {address},
			"X-Cert": {"https://certs.example.fr/" + certificate}}, []byte("{}")).status
	}
	told := map[int]int{}
	for n := range 60 {
		told[send("203.0.113.7", fmt.Sprintf("guess-%d", n))]++
	}
	if made := calls.Load(); made == 0 || made > 10 || told[http.StatusServiceUnavailable] < 50 {
		t.Errorf("one sender had %d calls made, and heard %v", made, told)
	}
	before := calls.Load()
	if got := send("198.51.100.1", "its-own"); got != http.StatusUnauthorized || calls.Load() != before+1 {
		t.Errorf("another sender: answered %d after %d calls", got, calls.Load()-before)
	}
}
