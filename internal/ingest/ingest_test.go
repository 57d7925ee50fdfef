package ingest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

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

// A provider sends what a night brought from one address: where the source names it, only the source's rate
// bounds it. Whoever comes through a proxy that nobody named has the proxy's address, and is nobody.
func TestAnAddressThatTheSourceNamesIsBoundedByTheSourceAlone(t *testing.T) {
	named := sellsy()
	named.AllowIPs = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	named.Rate, named.Burst = 0.001, 3
	h := open(t, func(o *Options) { o.Settings.Bounds.AddressRate, o.Settings.Bounds.AddressBurst = 0.001, 1 }, named)
	for i, want := range []int{200, 200, 200, 429} {
		if got := h.send("POST", "/in/sellsy", h.signed(jsonType, quote(i)), quote(i)); got.status != want {
			t.Errorf("request %d: answered %d, want %d", i, got.status, want)
		}
	}
	header := h.signed(jsonType, quote(9))
	header.Set("X-Forwarded-For", "198.51.100.7")
	for where, got := range map[string]reply{
		"elsewhere": h.send("POST", "/nowhere", nil, nil), "through a proxy": h.send("POST", "/in/sellsy", header, quote(9)),
	} {
		if got.status != 429 || !strings.Contains(got.body, "from this address") {
			t.Errorf("%s: answered %d %s", where, got.status, got.body)
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
	// Senders whose settings are wrong.
	h.send("POST", "/in/header", http.Header{"Api-Key": {"Token planted-token"}}, body)
	h.send("POST", "/in/query?a=1;token=planted-token", nil, body)
	h.send("POST", "/in/basic?auth="+base64.StdEncoding.EncodeToString([]byte("user:planted-token")),
		http.Header{"X-Password": {"planted-token"}}, []byte("token=planted-token&a=1"))
	var all strings.Builder
	for _, e := range h.store.stored() {
		fmt.Fprintln(&all, string(e.Header), e.Query, string(e.Body))
	}
	for _, r := range h.waitKept(6) {
		fmt.Fprintln(&all, string(r.Header), r.Query, r.Path, string(r.Body))
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
	waiting := &pending{done: make(chan result, 1), accepted: []store.Accepted{{Event: core.Event{ID: core.NewEventID()}}}}
	c.queue = append(c.queue, waiting)
	c.run(stopped, 1)
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
	// A proxy on this machine that nobody told relais of makes everybody local.
	unknown := open(t, nil, src)
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"} {
		header := unknown.signed(jsonType, quote(1))
		header.Set(name, "203.0.113.7")
		if got := unknown.send("POST", "/in/sellsy", header, quote(1)); got.status != 403 {
			t.Errorf("through a proxy that says %s: answered %d", name, got.status)
		}
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
