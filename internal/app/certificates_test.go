package app

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// paypal is a PayPal whose certificates are had from this machine, over TLS, under an authority of its own.
type paypal struct {
	t      *testing.T
	key    *rsa.PrivateKey
	roots  *x509.CertPool
	host   string
	called atomic.Int32
	away   atomic.Bool
}

func issue(t *testing.T, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newPayPal(t *testing.T) *paypal {
	t.Helper()
	p := &paypal{t: t, roots: x509.NewCertPool()}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if p.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true}
	root := issue(t, authority, authority, rootKey.Public(), rootKey)
	p.roots.AddCert(root)
	server := issue(t, &x509.Certificate{DNSNames: []string{"localhost"}}, root, rootKey.Public(), rootKey)
	signer := issue(t, &x509.Certificate{DNSNames: []string{"messageverificationcerts.paypal.com"}}, root, p.key.Public(), rootKey)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signer.Raw})

	listening := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.called.Add(1)
		if p.away.Load() || !strings.HasPrefix(r.URL.Path, "/v1/notifications/certs/CERT-") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(text)
	}))
	listening.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{server.Raw}, PrivateKey: rootKey}}}
	listening.StartTLS()
	t.Cleanup(listening.Close)
	_, port, _ := strings.Cut(listening.Listener.Addr().String(), ":")
	p.host = "localhost:" + port
	return p
}

// settings are a source of the preset, whose certificates stand on the other host.
func (p *paypal) settings() string {
	return fmt.Sprintf("sources: {paypal: {preset: paypal, answer: always-200, verify: {values: {webhook_id: WH1}, certificate_url: {hosts: [%q]}}}}\n", p.host)
}

func (p *paypal) post(r *running, cert, id string) (status int, retryAfter string) {
	p.t.Helper()
	body := fmt.Sprintf(`{"id":%q,"event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"C1"}}`, id)
	sum := sha256.Sum256(fmt.Appendf(nil, "T%s|2026-01-02T03:04:05Z|WH1|%d", id, crc32.ChecksumIEEE([]byte(body))))
	sig, err := p.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+r.at.Listen+"/webhook/paypal", bytes.NewReader([]byte(body)))
	if err != nil {
		p.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"PAYPAL-TRANSMISSION-ID": "T" + id, "PAYPAL-TRANSMISSION-TIME": "2026-01-02T03:04:05Z",
		"PAYPAL-TRANSMISSION-SIG": base64.StdEncoding.EncodeToString(sig), "PAYPAL-AUTH-ALGO": "SHA256withRSA",
		"PAYPAL-CERT-URL": "https://" + p.host + "/v1/notifications/certs/" + cert, "Content-Type": "application/json",
	} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// TestPayPalIsVerifiedByTheCertificateThatItNames: what can't be fetched is sent again, whatever the source says
// about refusals, and a reload fetches nothing anew.
func TestPayPalIsVerifiedByTheCertificateThatItNames(t *testing.T) {
	p := newPayPal(t)
	dir := t.TempDir()
	r := startWith(t, dir, "dev: true\n"+p.settings(), nil, func(o *Options) { o.roots = p.roots })
	p.away.Store(true)
	if status, retry := p.post(r, "CERT-away", "1"); status != http.StatusServiceUnavailable || retry == "" {
		t.Errorf("with the certificate away: answered %d, Retry-After %q", status, retry)
	}
	if log := r.log.String(); !strings.Contains(log, "a certificate that a request names can't be used") || !strings.Contains(log, "answered 503") {
		t.Errorf("the log doesn't say it:\n%s", log)
	}
	p.away.Store(false)
	for _, id := range []string{"2", "3"} {
		if status, _ := p.post(r, "CERT-there", id); status != http.StatusOK {
			t.Errorf("answered %d", status)
		}
		writeConfig(t, dir, "dev: true\nlog: {level: debug}\n"+p.settings())
		if err := r.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	events, err := r.store.Events(t.Context(), store.EventFilter{Limit: 10})
	if err != nil || len(events) != 2 || !events[0].Verified || p.called.Load() != 2 {
		t.Errorf("%d events, %v; %d calls", len(events), err, p.called.Load())
	}
	r.until("the refused request", func() bool {
		rejections, err := r.store.Rejections(t.Context(), store.RejectionFilter{Limit: 10})
		return err == nil && len(rejections) == 1 && rejections[0].Reason == core.RejectCertificate
	})
}

// TestCertificateOfAnInnerAddressIsNotFetched: the name that a request gives may lead into the house.
func TestCertificateOfAnInnerAddressIsNotFetched(t *testing.T) {
	p := newPayPal(t)
	r := startWith(t, t.TempDir(), p.settings(), nil, func(o *Options) { o.roots = p.roots })
	if status, _ := p.post(r, "CERT-there", "1"); status != http.StatusServiceUnavailable || p.called.Load() != 0 {
		t.Errorf("answered %d, after %d calls", status, p.called.Load())
	}
	if log := r.log.String(); !strings.Contains(log, "loopback") {
		t.Errorf("the log doesn't say it:\n%s", log)
	}
}
