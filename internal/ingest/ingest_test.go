package ingest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

func TestSignedQuoteIsStoredBeforeTheAnswer(t *testing.T) {
	h := open(t, nil)
	for i, tc := range []struct {
		contentType string
		body        []byte
	}{{form, quoteForm(1)}, {jsonType, quote(2)}} {
		got := h.send("POST", "/webhook/sellsy", h.signed(tc.contentType, tc.body), tc.body)
		if got.status != 200 || got.body != "" {
			t.Fatalf("answered %d %q", got.status, got.body)
		}
		events := h.store.stored()
		if len(events) != i+1 {
			t.Fatalf("%d events are stored, want %d", len(events), i+1)
		}
		e := events[i]
		if e.Source != "sellsy" || e.Type != "estimate.accepted" || e.NativeType != "estimate.step" || !bytes.Equal(e.Body, tc.body) {
			t.Errorf("stored %s/%s (%s) %q", e.Source, e.Type, e.NativeType, e.Body)
		}
		if core.DecodeHeader(e.Header).Get("X-Webhook-Signature") == "" {
			t.Error("the signature is not among the stored headers")
		}
	}
	if h.counted.get("requests sellsy") != 2 || h.counted.get("answered sellsy") != 2 || h.counted.get("events sellsy false") != 2 {
		t.Errorf("counted %v", h.counted.n)
	}
}

// TestBadInput sends everything that is wrong over a real connection: each has its clear answer, none is
// a 5xx, none repeats what it was sent, and nothing is stored.
func TestBadInput(t *testing.T) {
	h := open(t, func(o *Options) { o.Settings.Bounds.MaxBodyBytes = 64 << 10 })
	post := func(contentType, body string) func() reply {
		return func() reply {
			return h.send("POST", "/in/sellsy", h.signed(contentType, []byte(body)), []byte(body))
		}
	}
	for _, tc := range []struct {
		name   string
		do     func() reply
		status int
		says   string
	}{
		{"no signature", func() reply { return h.send("POST", "/in/sellsy", nil, quote(1)) }, 401, "no signature"},
		{"wrong signature", func() reply {
			return h.send("POST", "/in/sellsy", http.Header{"X-Webhook-Signature": {strings.Repeat("0", 40)}}, quote(1))
		}, 401, "does not match"},
		{"no hexadecimal signature", func() reply {
			return h.send("POST", "/in/sellsy", http.Header{"X-Webhook-Signature": {"zz"}}, quote(1))
		}, 401, "not written as"},
		{"the signature twice", func() reply {
			header := h.signed(jsonType, quote(1))
			header.Add("X-Webhook-Signature", "00")
			return h.send("POST", "/in/sellsy", header, quote(1))
		}, 401, "twice"},
		{"another body's signature", func() reply { return h.send("POST", "/in/sellsy", h.signed(jsonType, quote(1)), quote(2)) }, 401, "does not match"},
		{"empty body", post(form, ""), 400, "empty"},
		{"limit + 1", post(jsonType, `"`+strings.Repeat("x", 64<<10-1)+`"`), 413, "larger"},
		{"invalid UTF-8", post(jsonType, "{\"event\":\"\xff\"}"), 400, "UTF-8"},
		{"invalid UTF-8 in notif", post(form, "notif=%7B%22event%22%3A%22%FF%22%7D"), 400, "UTF-8"},
		{"JSON 10,000 levels deep", post(jsonType, deep(10_000)), 400, "deeply"},
		{"JSON 10,000 levels deep in notif", post(form, "notif="+deep(10_000)), 400, "deeply"},
		{"no JSON", post(jsonType, "{"), 400, "JSON"},
		{"two JSON values", post(jsonType, "{}{}"), 400, "JSON"},
		{"notif twice", post(form, "notif=%7B%7D&notif=%7B%7D"), 400, "twice"},
		{"notif twice, once in disguise", post(form, "notif=%7B%7D&%6Eotif=%7B%7D"), 400, "twice"},
		{"no notif", post(form, "other=1"), 400, "lacks"},
		{"broken percent", post(form, "notif=%7"), 400, "form"},
		{"NUL bytes", post(jsonType, "{}\x00"), 400, "NUL"},
		{"NUL bytes in notif", post(form, "notif=%7B%7D%00"), 400, "NUL"},
		{"padding of a longer body", post(form, "notif=%7B%7D\x80\x00\x00\x00\x00\x00\x01\x90&x=1"), 400, "NUL"},
		{"wrong method", func() reply { return h.send("PUT", "/in/sellsy", nil, quote(1)) }, 405, "method"},
		{"unknown source", func() reply { return h.send("POST", "/in/nobody", nil, quote(1)) }, 404, "no source"},
		{"unknown path", func() reply { return h.send("POST", "/webhook/sellsy/", nil, quote(1)) }, 404, "no source"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := tc.do()
			if got.status != tc.status || !strings.Contains(got.body, tc.says) {
				t.Errorf("answered %d %q, want %d and words on %q", got.status, got.body, tc.status, tc.says)
			}
			if got.header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
				t.Errorf("answered as %v", got.header)
			}
			if tc.status == 405 && got.header.Get("Allow") != "POST, GET" {
				t.Errorf("allows %q", got.header.Get("Allow"))
			}
		})
	}
	if n := len(h.store.stored()); n != 0 {
		t.Errorf("%d events are stored", n)
	}
	if h.counted.get("in flight") != 0 {
		t.Errorf("%d bytes are in flight still", h.counted.get("in flight"))
	}
}

func TestLimitIsInclusive(t *testing.T) {
	h := open(t, func(o *Options) { o.Settings.Bounds.MaxBodyBytes = 64 << 10 })
	body := []byte(`"` + strings.Repeat("x", 64<<10-2) + `"`)
	if got := h.send("POST", "/in/sellsy", h.signed(jsonType, body), body); got.status != 200 {
		t.Errorf("a body of just the limit: %d %s", got.status, got.body)
	}
	if got := h.sendRaw(chunked(h, body, true)); got != 200 {
		t.Errorf("a chunked body of just the limit: %d", got)
	}
	larger := append(body, ' ')
	if got := h.sendRaw(chunked(h, larger, true)); got != 413 {
		t.Errorf("a chunked body of one byte more: %d", got)
	}
}

// sendRaw writes bytes to a connection, closes its sending half, and returns the answer's status.
func (h *house) sendRaw(text string) int {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(text)); err != nil {
		h.t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		h.t.Fatal(err)
	}
	return readStatus(h.t, conn)
}

func readStatus(t *testing.T, conn net.Conn) int {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func chunked(h *house, body []byte, end bool) string {
	var b strings.Builder
	b.WriteString("POST /in/sellsy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n")
	for name, values := range h.signed(jsonType, body) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, values[0])
	}
	fmt.Fprintf(&b, "\r\n%x\r\n%s\r\n", len(body), body)
	if end {
		b.WriteString("0\r\n\r\n")
	}
	return b.String()
}

func TestTruncatedBodiesAreRefused(t *testing.T) {
	h := open(t, nil)
	for name, text := range map[string]string{
		"chunked without its end":   chunked(h, quote(1), false),
		"chunked inside a chunk":    strings.TrimSuffix(chunked(h, quote(1), false), "}}\r\n"),
		"a chunk of no length":      "POST /in/sellsy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"shorter than it announced": "POST /in/sellsy HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nnotif=",
	} {
		if got := h.sendRaw(text); got != 400 {
			t.Errorf("%s: answered %d, want 400", name, got)
		}
	}
	if n := len(h.store.stored()); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}

func TestSlowSenderIsEnded(t *testing.T) {
	h := open(t, func(o *Options) { o.Settings.Bounds.BodyTimeout = 200 * time.Millisecond })
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("POST /in/sellsy HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nno")); err != nil {
		t.Fatal(err)
	}
	if got := readStatus(t, conn); got != 408 {
		t.Errorf("answered %d, want 408", got)
	}
	if got := h.counted.get("failures sellsy body_timeout"); got != 1 {
		t.Errorf("%d body timeouts are counted", got)
	}
}

func TestTooLargeIsToldBeforeTheBodyIsSent(t *testing.T) {
	h := open(t, nil)
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("POST /in/sellsy HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\nExpect: 100-continue\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := readStatus(t, conn); got != 413 {
		t.Errorf("answered %d, want 413", got)
	}
}

func TestPingIsAnswered(t *testing.T) {
	h := open(t, nil)
	if got := h.send("GET", "/webhook/sellsy", nil, nil); got.status != 200 {
		t.Errorf("answered %d", got.status)
	}
	if n := len(h.store.stored()); n != 0 {
		t.Errorf("a ping is stored as %d events", n)
	}
}

func TestRepeatIsAnsweredLikeTheFirst(t *testing.T) {
	h := open(t, nil)
	body := quoteForm(1)
	first := h.send("POST", "/in/sellsy", h.signed(form, body), body)
	second := h.send("POST", "/in/sellsy", h.signed(form, body), body)
	first.header.Del("Date")
	second.header.Del("Date")
	if first.status != second.status || first.body != second.body || fmt.Sprint(first.header) != fmt.Sprint(second.header) {
		t.Errorf("the first was answered %v, the repeat %v", first, second)
	}
	events := h.store.stored()
	if len(events) != 2 || events[1].RepeatOf != events[0].ID {
		t.Errorf("stored %+v", events)
	}
	if h.counted.get("events sellsy true") != 1 {
		t.Error("the repeat is not counted")
	}
}

func TestAlways200CoversRefusalsOnly(t *testing.T) {
	src := sellsy()
	src.Answer = "always-200"
	h := open(t, func(o *Options) { o.Settings.Bounds.MaxBodyBytes = 1000 }, src)
	if got := h.send("POST", "/in/sellsy", nil, quote(1)); got.status != 200 || got.body != "" {
		t.Errorf("without a signature: %d %q", got.status, got.body)
	}
	broken := []byte("{")
	if got := h.send("POST", "/in/sellsy", h.signed(jsonType, broken), broken); got.status != 200 {
		t.Errorf("no JSON: %d", got.status)
	}
	if got := h.send("POST", "/in/sellsy", nil, make([]byte, 1001)); got.status != 200 {
		t.Errorf("too large: %d", got.status)
	}
	if got := h.send("DELETE", "/in/sellsy", nil, nil); got.status != 405 {
		t.Errorf("another method: %d", got.status)
	}
	if got := h.counted.get("failures sellsy signature_missing"); got != 1 {
		t.Errorf("the refusal is counted %d times", got)
	}
	h.store.failWith(func([]store.Accepted) error { return store.ErrUnavailable })
	got := h.send("POST", "/in/sellsy", h.signed(jsonType, quote(1)), quote(1))
	if got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("not stored: %d %v", got.status, got.header)
	}
	if n := len(h.store.stored()); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}

func TestStoreThatFailsIsAnswered503AndComesBack(t *testing.T) {
	h := open(t, nil)
	h.store.failWith(func([]store.Accepted) error { return fmt.Errorf("writing: %w", store.ErrUnavailable) })
	if got := h.send("POST", "/in/sellsy", h.signed(jsonType, quote(1)), quote(1)); got.status != 503 {
		t.Fatalf("answered %d", got.status)
	}
	h.store.failWith(nil)
	if got := h.send("POST", "/in/sellsy", h.signed(jsonType, quote(1)), quote(1)); got.status != 200 {
		t.Fatalf("answered %d", got.status)
	}
	if got := h.counted.get("failures sellsy store_unavailable"); got != 1 {
		t.Errorf("the failure is counted %d times", got)
	}
}

func TestClientThatGoesAwayLeavesItsEvent(t *testing.T) {
	h := open(t, nil)
	reached, leave := make(chan struct{}), make(chan struct{})
	h.store.failWith(func([]store.Accepted) error {
		reached <- struct{}{}
		<-leave
		return nil
	})
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(chunked(h, quote(1), true))); err != nil {
		t.Fatal(err)
	}
	<-reached
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	leave <- struct{}{}
	h.store.failWith(nil)
	if got := h.send("POST", "/in/sellsy", h.signed(jsonType, quote(2)), quote(2)); got.status != 200 {
		t.Fatalf("answered %d", got.status)
	}
	if n := len(h.store.stored()); n != 2 {
		t.Errorf("%d events are stored, want 2", n)
	}
}

func TestTwoSecretsAtOnce(t *testing.T) {
	src := sellsy()
	src.Secrets = append([]config.Secret{config.NewSecret("newer")}, src.Secrets...)
	h := open(t, nil, src)
	old := compileAll(t, sellsy())[0]
	for i, signer := range []*house{{t: t, sellsy: h.sellsy}, {t: t, sellsy: old}} {
		if got := h.send("POST", "/in/sellsy", signer.signed(jsonType, quote(i)), quote(i)); got.status != 200 {
			t.Errorf("secret %d: answered %d", i, got.status)
		}
	}
}

func TestAddressesThatMayNotSendAreRefused(t *testing.T) {
	src := sellsy()
	src.AllowIPs = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	trust := func(o *Options) { o.Settings.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	for _, tc := range []struct {
		name    string
		change  func(*Options)
		forward string
		status  int
	}{
		{"from elsewhere", nil, "", 403},
		{"claimed to nobody who is trusted", nil, "203.0.113.7", 403},
		{"through the proxy", trust, "203.0.113.7", 200},
		{"another one through the proxy", trust, "198.51.100.1", 403},
		{"claimed to the proxy", trust, "203.0.113.7, 198.51.100.1", 403},
	} {
		h := open(t, tc.change, src)
		header := h.signed(jsonType, quote(1))
		if tc.forward != "" {
			header.Set("X-Forwarded-For", tc.forward)
		}
		if got := h.send("POST", "/in/sellsy", header, quote(1)); got.status != tc.status {
			t.Errorf("%s: answered %d, want %d", tc.name, got.status, tc.status)
		}
	}
}

func TestRates(t *testing.T) {
	src := sellsy()
	src.Rate, src.Burst = 0.001, 1
	h := open(t, nil, src)
	for range 3 {
		// What isn't verified doesn't use the source's rate up.
		if got := h.send("POST", "/in/sellsy", nil, quote(1)); got.status != 401 {
			t.Fatalf("unsigned: answered %d", got.status)
		}
	}
	for i, want := range []int{200, 429} {
		got := h.send("POST", "/in/sellsy", h.signed(jsonType, quote(i)), quote(i))
		if got.status != want {
			t.Errorf("signed request %d: answered %d, want %d", i, got.status, want)
		}
	}
	byAddress := open(t, func(o *Options) { o.Settings.Bounds.AddressRate, o.Settings.Bounds.AddressBurst = 0.001, 2 })
	for i, want := range []int{404, 404, 429} {
		got := byAddress.send("POST", "/nowhere", nil, nil)
		if got.status != want || (want == 429) != (got.header.Get("Retry-After") != "") {
			t.Errorf("request %d of one address: answered %d, want %d", i, got.status, want)
		}
	}
}

func TestBytesInFlightAreBounded(t *testing.T) {
	h := open(t, func(o *Options) { o.Settings.Bounds.InFlightBytes = 100 << 10 })
	reached, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.store.failWith(func([]store.Accepted) error {
		once.Do(func() { reached <- struct{}{}; <-leave })
		return nil
	})
	large := []byte(`"` + strings.Repeat("x", 60<<10) + `"`)
	header := h.signed(jsonType, large)
	first := make(chan reply, 1)
	go func() { first <- h.send("POST", "/in/sellsy", header, large) }()
	<-reached
	got := h.send("POST", "/in/sellsy", header, large)
	if got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("a second large body: answered %d", got.status)
	}
	leave <- struct{}{}
	if got := <-first; got.status != 200 {
		t.Errorf("the first large body: answered %d", got.status)
	}
	if got := h.send("POST", "/in/sellsy", header, large); got.status != 200 {
		t.Errorf("after the first was answered: %d", got.status)
	}
}

func TestReplacedSettingsHoldForTheNextRequest(t *testing.T) {
	h := open(t, nil)
	other := config.Source{Name: "n8n", Path: "/n8n/{workflowId}", Preset: "generic", Secrets: []config.Secret{config.NewSecret("s3cret")}}
	if err := h.Replace(Settings{Sources: compileAll(t, other)}); err != nil {
		t.Fatal(err)
	}
	if got := h.send("POST", "/in/sellsy", nil, quote(1)); got.status != 404 {
		t.Errorf("a source that went: answered %d", got.status)
	}
	got := h.send("POST", "/n8n/stock-alerts", http.Header{"X-Api-Key": {"s3cret"}, "Content-Type": {jsonType}}, []byte(`{"event":"a"}`))
	if got.status != 200 {
		t.Fatalf("a source that came: answered %d %s", got.status, got.body)
	}
	if e := h.store.stored()[0]; e.Path != "workflowId=stock-alerts" || e.Type != "a" {
		t.Errorf("stored %+v", e)
	}
	twice := append(compileAll(t, other), compileAll(t, other)...)
	if err := h.Replace(Settings{Sources: twice}); err == nil {
		t.Error("two sources of one path were taken")
	}
	if got := h.send("POST", "/n8n/x", nil, quote(1)); got.status != 401 {
		t.Errorf("after refused settings: answered %d", got.status)
	}
}

func TestCredentialsAreNotStored(t *testing.T) {
	token := config.NewSecret("planted-token")
	h := open(t, nil,
		config.Source{Name: "header", Preset: "generic", Secrets: []config.Secret{token}},
		config.Source{Name: "query", Preset: "generic", Secrets: []config.Secret{token}, Verify: map[string]any{"query": "token"}},
		config.Source{Name: "basic", Preset: "generic", Secrets: []config.Secret{config.NewSecret("user:planted-token")},
			Verify: map[string]any{"scheme": "basic", "header": "Authorization"}})
	body := []byte(`{"event":"a"}`)
	for name, send := range map[string]func(token string) reply{
		"header": func(token string) reply {
			return h.send("POST", "/in/header", http.Header{"X-Api-Key": {token}, "Cookie": {"planted-cookie"}, "Authorization": {"planted-auth"}, "X-Other": {"1"}}, body)
		},
		"query": func(token string) reply { return h.send("POST", "/in/query?a=1&t%6Fken="+token, nil, body) },
		"basic": func(token string) reply {
			req := &http.Request{Header: http.Header{}}
			req.SetBasicAuth("user", token)
			return h.send("POST", "/in/basic", req.Header, body)
		},
	} {
		if got := send("planted-token"); got.status != 200 {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
		if got := send("planted-wrong"); got.status != 401 || (name == "basic") != (got.header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s with a wrong one: answered %d %v", name, got.status, got.header)
		}
	}
	var all strings.Builder
	for _, e := range h.store.stored() {
		fmt.Fprintln(&all, string(e.Header), e.Query, string(e.Body))
	}
	for _, r := range h.waitKept(3) {
		fmt.Fprintln(&all, string(r.Header), r.Query, string(r.Body))
	}
	for _, planted := range []string{"planted", "cGxhbnRl", "dXNlcjpwbGFudGVk"} {
		if strings.Contains(all.String(), planted) {
			t.Errorf("%q is stored:\n%s", planted, all.String())
		}
	}
	if !strings.Contains(all.String(), "X-Api-Key: sha256:") || !strings.Contains(all.String(), "a=1") {
		t.Errorf("nothing tells which credential it was:\n%s", all.String())
	}
}

func TestRedactedBeforeAnythingIsWritten(t *testing.T) {
	src := config.Source{Name: "dolibarr", Auth: "none", Redact: []string{"object.lines.*.db", "**.password"}}
	var matched []byte
	h := open(t, func(o *Options) {
		o.Match = func(e *core.Event) Matched {
			matched = bytes.Clone(e.Body)
			return Matched{}
		}
	}, src)
	body := []byte(`{"triggercode":"BILL_PAYED", "object":{"lines":[{"db":{"user":"x"},"id":1.10},{"id":2, "db" : 3}],"password":"p"}}`)
	if got := h.send("POST", "/in/dolibarr", http.Header{"Content-Type": {jsonType}}, body); got.status != 200 {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	want := `{"triggercode":"BILL_PAYED", "object":{"lines":[{"id":1.10},{"id":2}]}}`
	e := h.store.stored()[0]
	if string(e.Body) != want || string(matched) != want || !e.Redacted {
		t.Errorf("stored %s (redacted: %v), matched %s, want %s", e.Body, e.Redacted, matched, want)
	}
}

func TestStopCommitsWhatArrived(t *testing.T) {
	m := newMemory()
	c := newCommitter(m, nil, nil)
	stopped, stop := contextPair()
	stop()
	waiting := &pending{done: make(chan result, 1), accepted: store.Accepted{Event: core.Event{ID: core.NewEventID()}}}
	c.queue = append(c.queue, waiting)
	c.run(stopped)
	if got := <-waiting.done; got.err != nil {
		t.Errorf("what had arrived: %v", got.err)
	}
	if got := c.commit(&pending{done: make(chan result, 1)}); !errors.Is(got.err, errStopping) {
		t.Errorf("what comes later: %v", got.err)
	}
}

func TestHandlerWithoutAStoreAnswersAlike(t *testing.T) {
	h := open(t, nil)
	bare, err := NoStore(Options{Settings: Settings{Sources: compileAll(t, sellsy())}})
	if err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string]http.Header{"signed": h.signed(jsonType, quote(1)), "unsigned": {}} {
		want := h.send("POST", "/in/sellsy", header, quote(1))
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/in/sellsy", bytes.NewReader(quote(1)))
		r.Header = header
		bare.ServeHTTP(w, r)
		if w.Code != want.status || w.Body.String() != want.body {
			t.Errorf("%s: answered %d %q, want %d %q", name, w.Code, w.Body, want.status, want.body)
		}
	}
}

func TestTestSourcesTakeRequestsOfThisMachineOnly(t *testing.T) {
	src := sellsy()
	src.Test = true
	h := open(t, func(o *Options) { o.Settings.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} }, src)
	header := h.signed(jsonType, quote(1))
	if got := h.send("POST", "/in/sellsy", header, quote(1)); got.status != 200 {
		t.Fatalf("from here: answered %d", got.status)
	}
	if !h.store.stored()[0].Test {
		t.Error("the event is not marked as a test")
	}
	header.Set("X-Forwarded-For", "203.0.113.7")
	if got := h.send("POST", "/in/sellsy", header, quote(1)); got.status != 403 {
		t.Errorf("from elsewhere: answered %d", got.status)
	}
}

func TestHandlerThatPanicsGivesItsBytesBack(t *testing.T) {
	h := open(t, func(o *Options) { o.Match = func(*core.Event) Matched { panic(http.ErrAbortHandler) } })
	req, err := http.NewRequest("POST", "http://"+h.addr+"/in/sellsy", bytes.NewReader(quote(1)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = h.signed(jsonType, quote(1))
	if resp, err := h.client.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatalf("answered %d", resp.StatusCode)
	}
	if held := h.inFlight.Load(); held != 0 {
		t.Errorf("%d bytes are held", held)
	}
}
