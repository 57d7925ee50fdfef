package egress

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relais/internal/core"
)

func open(t *testing.T, o Options) *Egress {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.CloseIdle)
	return e
}

// call makes a whole call and returns its body.
func call(t *testing.T, e *Egress, method, target string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader("payload"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := e.Client().Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestTrustIsForTheLiteralHostOnly(t *testing.T) {
	var seen atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	at := func(host string) string { return "http://" + net.JoinHostPort(host, strconv.Itoa(port)) }
	loopback := [][]netip.Addr{{netip.MustParseAddr("127.0.0.1")}}
	resolver := serveNames(t, map[string][][]netip.Addr{"erp.internal.test": loopback, "evil.test": loopback})
	e := open(t, Options{Trusted: []string{at("erp.internal.test"), at("127.0.0.1")}, Resolver: resolver})

	for _, c := range []struct {
		target string
		want   Verdict
	}{
		{at("erp.internal.test"), VerdictAllowed},
		{at("ERP.internal.test."), VerdictAllowed},
		{at("127.0.0.1"), VerdictAllowed},
		{at("evil.test"), VerdictLoopback},
		{at("localhost"), VerdictLoopback},
		{at("127.0.0.2"), VerdictLoopback},
		{at("::ffff:127.0.0.1"), VerdictLoopback},
		{"https://erp.internal.test:" + strconv.Itoa(port), VerdictLoopback}, // another scheme is another trust
		{"http://erp.internal.test:1", VerdictPort},
		{"http://93.184.215.14:25/", VerdictPort},
		{"http://169.254.169.254/latest/meta-data/", VerdictLinkLocal},
		{"http://2130706433:" + strconv.Itoa(port), VerdictLoopback}, // a number for an address, where the system reads it
	} {
		before := seen.Load()
		_, err := call(t, e, http.MethodPost, c.target)
		if c.want == VerdictAllowed {
			if err != nil || seen.Load() != before+1 {
				t.Errorf("%s: %v", c.target, err)
			}
			continue
		}
		if seen.Load() != before {
			t.Errorf("%s reached the server", c.target)
		}
		if MayHaveSent(err) {
			t.Errorf("%s: a refused call counts as sent", c.target)
		}
		var refused *AddressError
		if errors.As(err, &refused) {
			if refused.Verdict != c.want || Classify(err) != core.ReasonAddress {
				t.Errorf("%s: verdict %s, reason %s", c.target, refused.Verdict, Classify(err))
			}
		} else if Classify(err) != core.ReasonDNS || !strings.Contains(c.target, "2130706433") {
			t.Errorf("%s: %v", c.target, err)
		}
	}
}

func TestNameThatChangesItsAddressIsJudgedAtEachConnection(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	resolver := serveNames(t, map[string][][]netip.Addr{
		"rebind.test": {{netip.MustParseAddr("192.168.7.7")}, {netip.MustParseAddr("127.0.0.1")}},
	})
	e := open(t, Options{Resolver: resolver})
	u, _ := url.Parse(server.URL)
	for _, want := range []Verdict{VerdictPrivate, VerdictLoopback} {
		_, err := call(t, e, http.MethodGet, "http://rebind.test:"+u.Port())
		var refused *AddressError
		if !errors.As(err, &refused) || refused.Verdict != want || refused.Host != "rebind.test" {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestDevReachesLoopbackButNotMetadata(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	e := open(t, Options{Dev: true})
	if _, err := call(t, e, http.MethodGet, server.URL); err != nil {
		t.Error(err)
	}
	if _, err := call(t, e, http.MethodGet, "http://169.254.169.254/"); Classify(err) != core.ReasonAddress {
		t.Error(err)
	}
}

func TestProxyFromTheEnvironmentIsIgnored(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "direct") }))
	defer server.Close()
	body, err := call(t, open(t, Options{Trusted: []string{server.URL}}), http.MethodGet, server.URL)
	if err != nil || body != "direct" {
		t.Errorf("%q, %v", body, err)
	}
}

// TestFailuresHaveAReasonAndSayWhetherTheyMayHaveBeenSent plays each way a call can end over a real socket.
func TestFailuresHaveAReasonAndSayWhetherTheyMayHaveBeenSent(t *testing.T) {
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("/exact", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1000)) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1001)) })
	mux.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = io.WriteString(w, strings.Repeat("x", 100))
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(make([]byte, 1<<20))
		_ = z.Close()
	})
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/stalls", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		<-release
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	defer close(release)
	secure := httptest.NewTLSServer(mux)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer secure.Close()
	resets := listen(t, func(c net.Conn) {
		_, _ = bufio.NewReader(c).ReadString('\n')
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	garbage := listen(t, func(c net.Conn) {
		_, _ = bufio.NewReader(c).ReadString('\n')
		_, _ = io.WriteString(c, "this is not HTTP\r\n\r\n")
	})
	old := listen(t, func(c net.Conn) {
		_ = tls.Server(c, &tls.Config{MaxVersion: tls.VersionTLS11, Certificates: secure.TLS.Certificates}).Handshake()
	})
	closed := listen(t, func(net.Conn) {})
	_ = closed.Close()
	at := func(scheme string, l net.Listener) string { return scheme + "://" + l.Addr().String() }

	o := Options{
		Trusted: []string{server.URL, secure.URL, at("http", resets), at("http", garbage), at("https", old), at("http", closed),
			at("https", garbage), "http://nowhere.test"},
		MaxResponse: 1000,
		Resolver:    serveNames(t, map[string][][]netip.Addr{}),
	}
	patient := open(t, o)
	o.Timeout = 100 * time.Millisecond
	hasty := open(t, o)
	for _, c := range []struct {
		name, target string
		want         core.Reason
		sent         bool
	}{
		{"answer at the cap", server.URL + "/exact", core.ReasonNone, false},
		{"answer past the cap", server.URL + "/large", core.ReasonTooLarge, true},
		{"stream past the cap", server.URL + "/stream", core.ReasonTooLarge, true},
		{"compressed past the cap", server.URL + "/bomb", core.ReasonTooLarge, true},
		{"redirect", server.URL + "/redirect", core.ReasonRedirect, true},
		{"no answer", server.URL + "/silent", core.ReasonTimeout, true},
		{"answer that stops", server.URL + "/stalls", core.ReasonTimeout, true},
		{"refused", at("http", closed), core.ReasonRefused, false},
		{"reset", at("http", resets), core.ReasonReset, true},
		{"not HTTP", at("http", garbage), core.ReasonReset, true},
		{"not TLS", at("https", garbage), core.ReasonTLS, false},
		{"unknown authority", secure.URL + "/ok", core.ReasonTLS, false},
		{"old TLS", at("https", old), core.ReasonTLS, false},
		{"no such name", "http://nowhere.test/?token=hidden", core.ReasonDNS, false},
	} {
		through := patient
		if c.want == core.ReasonTimeout {
			through = hasty
		}
		_, err := call(t, through, http.MethodPost, c.target)
		if got := Classify(err); got != c.want {
			t.Errorf("%s: reason %q, want %q (%v)", c.name, got, c.want, err)
		}
		if got := MayHaveSent(err); got != c.sent {
			t.Errorf("%s: may have been sent: %v (%v)", c.name, got, err)
		}
		if err != nil && (strings.Contains(Explain(err), "hidden") || strings.Contains(Explain(err), "/")) {
			t.Errorf("%s: the explanation shows the URL: %s", c.name, Explain(err))
		}
	}
}

func listen(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				serve(c)
			}()
		}
	}()
	return l
}

func TestTLSIsVerifiedAndSpeaksHTTP2(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	roots := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	body, err := call(t, open(t, Options{Trusted: []string{secure.URL}, RootCAs: roots}), http.MethodGet, secure.URL)
	if err != nil || body != "HTTP/2.0" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestInterruptedCallIsToldFromATimeout(t *testing.T) {
	arrived := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
	resp, err := open(t, Options{Dev: true}).Client().Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if Classify(err) != core.ReasonInterrupted || !MayHaveSent(err) {
		t.Error(err)
	}
}

// TestConnectionClosedWhileKeptCountsAsUnsent: the server closes a kept connection, and is gone when the
// transport connects again. Nobody saw the second request.
func TestConnectionClosedWhileKeptCountsAsUnsent(t *testing.T) {
	closed := make(chan struct{})
	l := listen(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		<-closed
	})
	target := "http://" + l.Addr().String()
	e := open(t, Options{Trusted: []string{target}})
	if _, err := call(t, e, http.MethodPost, target); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	close(closed)
	// Whether the transport noticed the close yet decides between refused and reset; both are honest.
	_, err := call(t, e, http.MethodPost, target)
	switch Classify(err) {
	case core.ReasonRefused:
		if MayHaveSent(err) {
			t.Error("a refused connection counts as sent")
		}
	case core.ReasonReset:
	default:
		t.Error(err)
	}
}

func TestMailGoesWhereTheFileSays(t *testing.T) {
	l := listen(t, func(c net.Conn) { _, _ = io.WriteString(c, "220 hello\r\n") })
	e := open(t, Options{Trusted: []string{"smtp://" + l.Addr().String()}})
	conn, err := e.DialMail(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "220 hello\r\n" {
		t.Errorf("%q, %v", line, err)
	}
	_ = conn.Close()
	for address, want := range map[string]Verdict{"127.0.0.1:25": VerdictLoopback, "10.0.0.1:587": VerdictPrivate, "93.184.215.14:80": VerdictPort} {
		_, err := e.DialMail(t.Context(), "tcp", address)
		var refused *AddressError
		if !errors.As(err, &refused) || refused.Verdict != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestUnreadableTrustIsRefused(t *testing.T) {
	for _, entry := range []string{"", "example.com", "ftp://example.com", "http://", "https://exa mple.com"} {
		if _, err := New(Options{Trusted: []string{entry}}); err == nil {
			t.Errorf("%q was accepted", entry)
		}
	}
}

func TestADialIsTrustedForItsProtocolOnly(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	e := open(t, Options{Trusted: []string{"postgres://" + l.Addr().String()}})
	conn, err := e.Dial(t.Context(), "postgres", "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	for _, scheme := range []string{"mysql", "http", ""} {
		if _, err := e.Dial(t.Context(), scheme, "tcp", l.Addr().String()); Classify(err) != core.ReasonAddress || MayHaveSent(err) {
			t.Errorf("%q: %v", scheme, err)
		}
	}
}
