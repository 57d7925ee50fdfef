package source

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

// authority makes certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key := smallKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(240 * time.Hour)}
	return &authority{t, sign(t, template, template, key.Public(), key), key}
}

// below is an authority that this one stands for.
func (a *authority) below(name string) *authority {
	key := smallKey(a.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(240 * time.Hour)}
	return &authority{a.t, sign(a.t, template, a.cert, key.Public(), a.key), key}
}

func (a *authority) issue(public crypto.PublicKey, from, until time.Time, names ...string) *x509.Certificate {
	a.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: from, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	return sign(a.t, template, a.cert, public, a.key)
}

func smallKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
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

func pemOf(chain ...*x509.Certificate) string {
	var out strings.Builder
	for _, cert := range chain {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a Builder takes everything
	}
	return out.String()
}

// provider signs, and shows its certificates over TLS on a real socket.
type provider struct {
	t       testing.TB
	key     *rsa.PrivateKey
	signed  string // over signedText
	root    *authority
	between *authority
	answers map[string]http.HandlerFunc // by path
	mu      sync.Mutex
	asked   map[string]int
	src     *Source
	certs   *Certificates
	clock   atomic.Pointer[time.Time]
}

const signedText = `{"a":1}`

const signerName = "signing.provider.example"

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(signedText))
	sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key, signed: hex.EncodeToString(sig), root: newAuthority(t, "root"), answers: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	p.between = p.root.below("between")
	p.show("CERT-good", pemOf(p.leaf(-time.Hour, 24*time.Hour, signerName), p.between.cert))

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked[r.URL.Path]++
		answer := p.answers[r.URL.Path]
		p.mu.Unlock()
		if answer == nil {
			http.NotFound(w, r)
			return
		}
		answer(w, r)
	}))
	serverKey := smallKey(t)
	own := p.root.issue(serverKey.Public(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "certs.provider.example")
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{own.Raw}, PrivateKey: serverKey}}}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)

	roots := x509.NewCertPool()
	roots.AddCert(p.root.cert)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server.Listener.Addr().String())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	start := time.Now()
	p.clock.Store(&start)
	p.certs = NewCertificates(CertificateOptions{Client: &http.Client{Transport: transport, Timeout: fetchTimeout}, Roots: roots,
		Now: func() time.Time { return *p.clock.Load() }})
	p.src = compile(t, config.Source{Verify: map[string]any{"scheme": "rsa-sha256", "header": "X-Signature", "certificate_url": map[string]any{
		"header": "X-Cert", "hosts": []string{"certs.provider.example", "certs.*.provider.example"}, "path": "/certs/CERT-[a-z0-9-]{1,40}", "names": []string{signerName},
	}}})
	return p
}

func (p *provider) leaf(from, until time.Duration, names ...string) *x509.Certificate {
	return p.between.issue(p.key.Public(), time.Now().Add(from), time.Now().Add(until), names...)
}

func (p *provider) answer(name string, answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers["/certs/"+name] = answer
}

func (p *provider) show(name, text string) {
	p.answer(name, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

func (p *provider) times() (all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.asked {
		all += n
	}
	return all
}

func (p *provider) request(address string) *Request {
	p.t.Helper()
	return &Request{Method: "POST", Body: []byte(signedText), Now: *p.clock.Load(),
		Header: http.Header{"X-Signature": {p.signed}, "X-Cert": {address}, "Content-Type": {"application/json"}}}
}

// take is what ingest does with a request.
func (p *provider) take(req *Request) error {
	if err := p.src.Certify(context.Background(), p.certs, req); err != nil {
		return err
	}
	return p.src.Verify(req)
}

func (p *provider) taken(name string) error {
	return p.take(p.request("https://certs.provider.example/certs/" + name))
}

func TestRequestIsVerifiedByTheCertificateThatItNames(t *testing.T) {
	p := newProvider(t)
	for range 100 {
		if err := p.taken("CERT-good"); err != nil {
			t.Fatal(err)
		}
	}
	if p.times() != 1 {
		t.Errorf("the certificate was fetched %d times", p.times())
	}
	forged := p.request("https://certs.provider.example/certs/CERT-good")
	forged.Body = []byte(`{"a":2}`)
	if got := reasonOf(p.take(forged)); got != core.RejectBadSignature {
		t.Errorf("another body: %s", got)
	}
	if got := reasonOf(p.src.Verify(p.request("https://certs.provider.example/certs/CERT-good"))); got != core.RejectNoSignature {
		t.Errorf("a request whose certificate nobody looked for: %s", got)
	}
	if err := p.take(p.request("https://certs.eu-west-3.provider.example/certs/CERT-good")); reasonOf(err) != core.RejectCertificate {
		t.Errorf("a host of the pattern, whose server is another: %v", err) // its TLS name is wrong
	}
	// The certificate is believed until it ends, and not after that.
	late := time.Now().Add(25 * time.Hour)
	p.clock.Store(&late)
	if got := reasonOf(p.taken("CERT-good")); got != core.RejectBadSignature {
		t.Errorf("after the certificate's end: %s", got)
	}
	// One that is given by hand is asked, and nobody else.
	before := p.times()
	p.src = compile(t, config.Source{Secrets: secrets(pemOf(p.leaf(-time.Hour, time.Hour, signerName))), Verify: map[string]any{
		"scheme": "rsa-sha256", "header": "X-Signature", "certificate_url": map[string]any{
			"header": "X-Cert", "hosts": []string{"certs.provider.example"}, "path": "/certs/.*", "names": []string{signerName}}}})
	if err := p.taken("CERT-other"); err != nil || p.times() != before {
		t.Errorf("with the certificate as secret: %v, and %d calls", err, p.times()-before)
	}
}

// An address that isn't exactly what the source says is never called.
func TestOtherAddressesAreNotCalled(t *testing.T) {
	p := newProvider(t)
	for what, address := range map[string]string{
		"none": "", "http": "http://certs.provider.example/certs/CERT-good", "no scheme": "//certs.provider.example/certs/CERT-good",
		"a file":        "file:///certs/CERT-good",
		"another host":  "https://evil.example/certs/CERT-good",
		"a longer host": "https://certs.provider.example.evil.example/certs/CERT-good",
		"a host before": "https://evilcerts.provider.example/certs/CERT-good",
		"two parts":     "https://certs.a.b.provider.example/certs/CERT-good",
		"an empty part": "https://certs..provider.example/certs/CERT-good",
		"an address":    "https://127.0.0.1/certs/CERT-good",
		"a final dot":   "https://certs.provider.example./certs/CERT-good",
		"capitals":      "HTTPS://CERTS.provider.example/certs/CERT-good",
		"a user":        "https://certs.provider.example@evil.example/certs/CERT-good",
		"an own user":   "https://user@certs.provider.example/certs/CERT-good",
		"a password":    "https://:@certs.provider.example/certs/CERT-good",
		"a port":        "https://certs.provider.example:8443/certs/CERT-good",
		"its port":      "https://certs.provider.example:443/certs/CERT-good",
		"another path":  "https://certs.provider.example/other/CERT-good",
		"a path before": "https://certs.provider.example/x/certs/CERT-good",
		"a path behind": "https://certs.provider.example/certs/CERT-good/x",
		"dots":          "https://certs.provider.example/certs/CERT-good/../CERT-x",
		"escaped dots":  "https://certs.provider.example/certs/%2e%2e/CERT-good",
		"an escape":     "https://certs.provider.example/certs/CERT%2dgood",
		"a backslash":   `https://certs.provider.example\@evil.example/certs/CERT-good`,
		"a query":       "https://certs.provider.example/certs/CERT-good?x=1",
		"an end query":  "https://certs.provider.example/certs/CERT-good?",
		"a fragment":    "https://certs.provider.example/certs/CERT-good#x",
		"a line":        "https://certs.provider.example/certs/CERT-good\nX: y",
		"a space":       "https://certs.provider.example/certs/CERT-good ",
		"a NUL":         "https://certs.provider.example/certs/CERT-good\x00",
		"a long one":    "https://certs.provider.example/certs/CERT-" + strings.Repeat("a", 600),
	} {
		got := reasonOf(p.take(p.request(address)))
		if want := map[bool]core.RejectReason{true: core.RejectNoSignature, false: core.RejectBadSignature}[address == ""]; got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	twice := p.request("https://certs.provider.example/certs/CERT-good")
	twice.Header["X-Cert"] = append(twice.Header["X-Cert"], "https://certs.provider.example/certs/CERT-good")
	if got := reasonOf(p.take(twice)); got != core.RejectBadSignature {
		t.Errorf("two addresses: %s", got)
	}
	for what, value := range map[string]string{"no signature": "", "no hexadecimal": "zz"} {
		unsigned := p.request("https://certs.provider.example/certs/CERT-good")
		unsigned.Header["X-Signature"] = []string{value}
		if err := p.take(unsigned); err == nil {
			t.Errorf("%s: it is accepted", what)
		}
	}
	if p.times() != 0 {
		t.Errorf("it was called %d times: %v", p.times(), p.asked)
	}
}

// What is wrong for good is refused, and what may be mended by time is to be sent again.
func TestWhatIsFetchedIsJudged(t *testing.T) {
	p := newProvider(t)
	stranger := newAuthority(t, "stranger")
	signer := newAuthority(t, "signer") // made by nobody that is trusted
	elsewhere := smallKey(t)
	good := p.leaf(-time.Hour, time.Hour, signerName)
	p.show("CERT-name", pemOf(p.leaf(-time.Hour, time.Hour, "certs.provider.example"), p.between.cert))
	p.show("CERT-wild", pemOf(p.leaf(-time.Hour, time.Hour, "*.provider.example"), p.between.cert))
	p.show("CERT-expired", pemOf(p.leaf(-2*time.Hour, -time.Hour, signerName), p.between.cert))
	p.show("CERT-early", pemOf(p.leaf(time.Hour, 2*time.Hour, signerName), p.between.cert))
	p.show("CERT-stranger", pemOf(stranger.issue(p.key.Public(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour), signerName), stranger.cert))
	p.show("CERT-self", pemOf(signer.cert))
	p.show("CERT-nochain", pemOf(good))
	p.show("CERT-behind", pemOf(p.between.cert, good))
	p.show("CERT-kind", pemOf(p.between.issue(elsewhere.Public(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour), signerName), p.between.cert))
	p.show("CERT-html", "<html>Please sign in")
	p.show("CERT-empty", "")
	p.show("CERT-key", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1, 2}})))
	p.show("CERT-broken", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1, 2}})))
	p.show("CERT-many", strings.Repeat(pemOf(p.between.cert), maxChain+1))
	p.show("CERT-large", pemOf(good, p.between.cert)+strings.Repeat("\n", maxCertificateText))
	p.answer("CERT-redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/certs/CERT-good", http.StatusFound)
	})
	p.answer("CERT-500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	p.answer("CERT-410", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	p.answer("CERT-cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		_, _ = io.WriteString(w, pemOf(good, p.between.cert))
	})
	for name, want := range map[string]core.RejectReason{
		"CERT-name": core.RejectBadSignature, "CERT-wild": core.RejectBadSignature, "CERT-expired": core.RejectBadSignature, "CERT-early": core.RejectBadSignature,
		"CERT-stranger": core.RejectBadSignature, "CERT-self": core.RejectBadSignature, "CERT-nochain": core.RejectBadSignature,
		"CERT-behind": core.RejectBadSignature, "CERT-kind": core.RejectBadSignature, "CERT-404": core.RejectBadSignature, "CERT-410": core.RejectBadSignature,
		"CERT-html": core.RejectCertificate, "CERT-empty": core.RejectCertificate, "CERT-key": core.RejectCertificate, "CERT-broken": core.RejectCertificate,
		"CERT-many": core.RejectCertificate, "CERT-large": core.RejectCertificate, "CERT-redirect": core.RejectCertificate,
		"CERT-500": core.RejectCertificate, "CERT-cut": core.RejectCertificate,
	} {
		p.certs.limit.SetBurst(1000)
		if got := reasonOf(p.taken(name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if p.asked["/certs/CERT-good"] != 0 {
		t.Error("a redirect was followed")
	}
	// One that begins and never ends takes its time, and no more.
	p.answer("CERT-slow", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "-----BEGIN")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	p.certs.client.Timeout = 200 * time.Millisecond
	if got := reasonOf(p.taken("CERT-slow")); got != core.RejectCertificate {
		t.Errorf("one that doesn't end: %s", got)
	}
}

// Whoever names new addresses, or one that fails, has few calls made; a failure is forgotten after a while.
func TestNobodyMakesRelaisFetchEndlessly(t *testing.T) {
	p := newProvider(t)
	away := atomic.Bool{}
	away.Store(true)
	p.answer("CERT-later", func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, pemOf(p.leaf(-time.Hour, time.Hour, signerName), p.between.cert))
	})
	for range 50 {
		if got := reasonOf(p.taken("CERT-later")); got != core.RejectCertificate {
			t.Fatalf("a certificate that can't be had: %s", got)
		}
	}
	if p.times() != 1 {
		t.Errorf("one that can't be had was asked for %d times", p.times())
	}
	if err := p.taken("CERT-good"); err != nil {
		t.Fatal(err)
	}
	busy := 0
	for n := range 2000 {
		if reasonOf(p.taken(fmt.Sprintf("CERT-guess-%d", n))) == core.RejectCertificate {
			busy++
		}
	}
	if got := p.times(); got != fetchBurst || busy != 2000-(fetchBurst-2) {
		t.Errorf("2000 addresses made %d calls, and %d were told to come again", got, busy)
	}
	if err := p.taken("CERT-good"); err != nil {
		t.Errorf("beside the flood, one that is known: %v", err)
	}
	away.Store(false)
	later := p.clock.Load().Add(forgetAway)
	p.clock.Store(&later)
	if err := p.taken("CERT-later"); err != nil {
		t.Errorf("one that can be had again: %v", err)
	}
}

// One sender who names new addresses for as long as he likes doesn't keep a certificate that nobody has seen yet from
// being fetched for another one.
func TestOneSenderDoesNotUseUpWhatIsFetched(t *testing.T) {
	p := newProvider(t)
	hostile, provider := NewFetches(), NewFetches()
	for n := range 5000 {
		now := p.clock.Load().Add(20 * time.Millisecond)
		p.clock.Store(&now)
		req := p.request(fmt.Sprintf("https://certs.provider.example/certs/CERT-guess-%d", n))
		req.Fetches = hostile
		_ = p.take(req)
	}
	if got := p.times(); got > burstOfOne+100*fetchesOfOne {
		t.Errorf("one sender had %d calls made in 100 seconds", got)
	}
	good := p.request("https://certs.provider.example/certs/CERT-good")
	good.Fetches = hostile
	if got := reasonOf(p.take(good)); got != core.RejectCertificate {
		t.Errorf("one more of the same sender: %s", got)
	}
	good.Fetches = provider
	if err := p.take(good); err != nil {
		t.Errorf("the provider's own: %v", err)
	}
	good.Fetches = hostile
	if err := p.take(good); err != nil {
		t.Errorf("what is known costs nobody a call: %v", err)
	}
}

// What is remembered is bounded, and certificates are kept when failures go.
func TestFailuresAreForgottenBeforeCertificates(t *testing.T) {
	p := newProvider(t)
	if err := p.taken("CERT-good"); err != nil {
		t.Fatal(err)
	}
	p.certs.limit.SetLimit(1e9)
	p.certs.limit.SetBurst(1e9)
	for n := range maxKnown + 50 {
		now := p.clock.Load().Add(time.Millisecond)
		p.clock.Store(&now)
		_ = p.taken(fmt.Sprintf("CERT-guess-%d", n))
	}
	before := p.times()
	if err := p.taken("CERT-good"); err != nil || p.times() != before || len(p.certs.known) > maxKnown {
		t.Errorf("%v, after %d more calls, with %d known", err, p.times()-before, len(p.certs.known))
	}
}

// A certificate's server that hangs holds few requests; the others, and those whose certificate is known, wait for nothing.
func TestHangingServerStallsNobodyElse(t *testing.T) {
	p := newProvider(t)
	if err := p.taken("CERT-good"); err != nil {
		t.Fatal(err)
	}
	arrived, release := make(chan string, 100), make(chan struct{})
	hang := func(_ http.ResponseWriter, r *http.Request) {
		arrived <- r.URL.Path
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	for n := range maxFetches + 1 {
		p.answer(fmt.Sprintf("CERT-slow-%d", n), hang)
	}
	var waiting sync.WaitGroup
	results := make(chan error, maxWaiting)
	begin := func(name string) {
		req := p.request("https://certs.provider.example/certs/" + name)
		waiting.Go(func() { results <- p.take(req) })
	}
	for n := range maxFetches {
		begin(fmt.Sprintf("CERT-slow-%d", n))
		<-arrived
	}
	if got := reasonOf(p.taken(fmt.Sprintf("CERT-slow-%d", maxFetches))); got != core.RejectCertificate || p.asked[fmt.Sprintf("/certs/CERT-slow-%d", maxFetches)] != 0 {
		t.Errorf("one fetch more than may run: %s", got)
	}
	// Those who name the same address wait for one call, as long as there is room.
	gone, leave := context.WithCancel(context.Background())
	leave()
	err := p.src.Certify(gone, p.certs, p.request("https://certs.provider.example/certs/CERT-slow-0"))
	if reasonOf(err) != core.RejectCertificate {
		t.Errorf("a sender that went away: %v", err)
	}
	for range maxWaiting - maxFetches {
		begin("CERT-slow-0")
	}
	for full := false; !full; {
		p.certs.mu.Lock()
		full = p.certs.waiting == maxWaiting
		p.certs.mu.Unlock()
	}
	if got := reasonOf(p.taken("CERT-slow-0")); got != core.RejectCertificate {
		t.Errorf("one request more than may wait: %s", got)
	}
	if err := p.taken("CERT-good"); err != nil {
		t.Errorf("one whose certificate is known: %v", err)
	}
	close(release)
	waiting.Wait()
	for range maxWaiting {
		if err := <-results; reasonOf(err) != core.RejectCertificate {
			t.Errorf("after an empty answer: %v", err)
		}
	}
	if p.certs.waiting != 0 || p.certs.fetching != 0 || p.times() != 1+maxFetches {
		t.Errorf("left: %d wait, %d calls; made: %d calls", p.certs.waiting, p.certs.fetching, p.times())
	}
}

func TestCertificateURLThatLeavesAChoiceIsRefused(t *testing.T) {
	whole := func(change func(m map[string]any)) map[string]any {
		m := map[string]any{"header": "X-Cert", "hosts": []string{"a.example"}, "path": "/x", "names": []string{"b.example"}}
		change(m)
		return map[string]any{"scheme": "rsa-sha256", "header": "X-Signature", "certificate_url": m}
	}
	for what, verify := range map[string]map[string]any{
		"no place":     whole(func(m map[string]any) { delete(m, "header") }),
		"two places":   whole(func(m map[string]any) { m["json"] = "a" }),
		"no hosts":     whole(func(m map[string]any) { delete(m, "hosts") }),
		"no path":      whole(func(m map[string]any) { delete(m, "path") }),
		"a wrong path": whole(func(m map[string]any) { m["path"] = "/(" }),
		"no names":     whole(func(m map[string]any) { delete(m, "names") }),
		"any name":     whole(func(m map[string]any) { m["names"] = []string{"*.example"} }),
		"any host":     whole(func(m map[string]any) { m["hosts"] = []string{"*"} }),
		"any end":      whole(func(m map[string]any) { m["hosts"] = []string{"sns.*"} }),
		"a scheme":     whole(func(m map[string]any) { m["hosts"] = []string{"https://a.example"} }),
		"an unknown":   whole(func(m map[string]any) { m["host"] = "a.example" }),
		"an HMAC": {"scheme": "hmac-sha256", "header": "X-Signature", "certificate_url": map[string]any{
			"header": "X-Cert", "hosts": []string{"a.example"}, "path": "/x", "names": []string{"b.example"}}},
	} {
		_, err := Compile(config.Source{Name: "x", Verify: verify}, Embedded())
		var fault *core.Error
		if !errors.As(err, &fault) || !strings.HasPrefix(fault.Field, "verify") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Compile(config.Source{Name: "x", Verify: whole(func(map[string]any) {})}, Embedded()); err != nil {
		t.Error(err)
	}
}

// FuzzCertificateAddress: whatever is written there, what is called is https, one of the hosts and the path's own.
func FuzzCertificateAddress(f *testing.F) {
	preset, err := Embedded().Load("paypal")
	if err != nil {
		f.Fatal(err)
	}
	rule, err := preset.Verify.CertificateURL.compile()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-5a11")
	f.Add("https://api.paypal.com:443@evil.example/v1/notifications/certs/CERT-1")
	f.Add("https://api.paypal.com/v1/notifications/certs/CERT-1?x#y")
	f.Fuzz(func(t *testing.T, text string) {
		if !rule.allows(text) {
			return
		}
		id, ok := strings.CutPrefix(text, "https://api.paypal.com/v1/notifications/certs/CERT-")
		if !ok {
			id, ok = strings.CutPrefix(text, "https://api-m.paypal.com/v1/notifications/certs/CERT-")
		}
		if !ok || id == "" || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("%q would be called", text)
		}
	})
}
