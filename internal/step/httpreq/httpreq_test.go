package httpreq

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
	"relais/internal/store"
)

// receiver keeps what reached it and answers as the test says.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []*http.Request
	bodies []string
	answer http.HandlerFunc
}

func receive(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.got, r.bodies = append(r.got, req), append(r.bodies, string(body))
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(w, req)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func compile(with map[string]any, timeout time.Duration) (*step.Program, error) {
	route := config.Route{Name: "r", Steps: []config.Step{{ID: "call", Use: "http/request", With: with}}}
	hosts := step.NewRegistry([]step.Kind{Request(nil)}, nil).TrustedHosts(nil, []config.Route{route})
	e, err := egress.New(egress.Options{Trusted: hosts, Timeout: timeout})
	if err != nil {
		return nil, err
	}
	return step.Compile(route, step.NewRegistry([]step.Kind{Request(e)}, nil), nil, step.Options{})
}

func delivery(data any) *store.Claimed {
	body, _ := json.Marshal(data)
	return &store.Claimed{
		Delivery: core.Delivery{ID: 1, Claim: 1, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "r"}},
		Event:    core.Event{Format: core.FormatJSON, Body: body},
	}
}

func attempt(t *testing.T, with map[string]any, data any) store.Outcome {
	t.Helper()
	p, err := compile(with, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p.Run(t.Context(), delivery(data))
}

func TestCallCarriesWhatTheFileSays(t *testing.T) {
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Set-Cookie", "session=hidden")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id": 9007199254740993}`)
	})
	out := attempt(t, map[string]any{
		"method": "PUT", "url": r.URL + "/orders/${{ event.data.id }}/lines?from=${{ event.data.name }}&v=1",
		"query":   map[string]any{"tag": []any{"a", "${{ event.data.name }}"}, "n": int64(3)},
		"headers": map[string]any{"Authorization": "Bearer t", "x-name": "${{ event.data.id }}"},
		"json":    map[string]any{"id": "${{ event.data.id }}", "text": "<${{ event.data.name }}>"},
	}, map[string]any{"id": 52437688, "name": "a&b=c"})
	if out.Verdict != store.VerdictSucceeded {
		t.Fatalf("%+v", out)
	}
	req := r.got[0]
	if req.Method != "PUT" || req.URL.Path != "/orders/52437688/lines" || req.URL.RawQuery != "from=a%26b%3Dc&v=1&n=3&tag=a&tag=a%26b%3Dc" {
		t.Errorf("%s %s", req.Method, req.URL)
	}
	if r.bodies[0] != `{"id":52437688,"text":"<a&b=c>"}` || req.Header.Get("Content-Type") != "application/json" {
		t.Errorf("body %s", r.bodies[0])
	}
	if req.Header.Get("Authorization") != "Bearer t" || req.Header.Get("X-Name") != "52437688" || req.Header.Get("Idempotency-Key") == "" {
		t.Errorf("header %v", req.Header)
	}
	got := string(out.Steps[0].Result)
	if !strings.Contains(got, `"json":{"id":9007199254740993}`) || !strings.Contains(got, `"status":201`) || strings.Contains(got, "hidden") {
		t.Errorf("result %s", got)
	}
}

func TestFormAndTextBodies(t *testing.T) {
	r := receive(t, nil)
	attempt(t, map[string]any{"url": r.URL, "form": map[string]any{"q": "${{ event.data.v }}"}}, map[string]any{"v": "a=1&b"})
	attempt(t, map[string]any{"url": r.URL, "body": "x ${{ event.data.v }}", "headers": map[string]any{"Content-Type": "text/csv"}}, map[string]any{"v": "y"})
	if len(r.bodies) != 2 || r.bodies[0] != "q=a%3D1%26b" || r.bodies[1] != "x y" || r.got[1].Header.Get("Content-Type") != "text/csv" {
		t.Errorf("%q", r.bodies)
	}
}

func TestAttemptsCarryOneKey(t *testing.T) {
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	p, err := compile(map[string]any{"url": r.URL}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		p.Run(t.Context(), delivery(nil))
	}
	first, second := r.got[0].Header.Get("Idempotency-Key"), r.got[1].Header.Get("Idempotency-Key")
	if first == "" || first != second {
		t.Errorf("keys %q and %q", first, second)
	}
}

func TestWhatAnAnswerMeansForTheDelivery(t *testing.T) {
	for _, c := range []struct {
		status int
		header string
		expect []any
		want   store.Verdict
		reason core.Reason
		delay  time.Duration
	}{
		{200, "", nil, store.VerdictSucceeded, "", 0},
		{204, "", nil, store.VerdictSucceeded, "", 0},
		{404, "", []any{"2xx", "404"}, store.VerdictSucceeded, "", 0},
		{202, "", []any{int64(200)}, store.VerdictDead, core.ReasonStatus, 0},
		{302, "", nil, store.VerdictDead, core.ReasonRedirect, 0},
		{400, "", nil, store.VerdictDead, core.ReasonStatus, 0},
		{401, "", nil, store.VerdictDead, core.ReasonAuth, 0},
		{408, "", nil, store.VerdictRetry, core.ReasonStatus, 0},
		{429, "30", nil, store.VerdictRetry, core.ReasonRateLimited, 30 * time.Second},
		{500, "", nil, store.VerdictRetry, core.ReasonStatus, 0},
		{503, "120", nil, store.VerdictRetry, core.ReasonStatus, 2 * time.Minute},
	} {
		r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.header != "" {
				w.Header().Set("Retry-After", c.header)
			}
			w.WriteHeader(c.status)
		})
		with := map[string]any{"url": r.URL + "/?token=hidden"}
		if c.expect != nil {
			with["expect_status"] = c.expect
		}
		out := attempt(t, with, nil)
		if out.Verdict != c.want || out.Reason != c.reason || out.Delay != c.delay {
			t.Errorf("%d: %+v", c.status, out)
		}
		if strings.Contains(out.Message, "hidden") {
			t.Errorf("%d: the message shows the query: %s", c.status, out.Message)
		}
	}
}

func TestFailedCallsAreRetriedUnderTheirReason(t *testing.T) {
	silent := receive(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	large := receive(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20+1)) })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for _, c := range []struct {
		url    string
		want   store.Verdict
		reason core.Reason
	}{
		{silent.URL, store.VerdictRetry, core.ReasonTimeout},
		{large.URL, store.VerdictDead, core.ReasonTooLarge},
		{"http://" + closed.Addr().String(), store.VerdictRetry, core.ReasonRefused},
	} {
		timeout := time.Duration(0)
		if c.reason == core.ReasonTimeout {
			timeout = 100 * time.Millisecond
		}
		p, err := compile(map[string]any{"url": c.url}, timeout)
		if err != nil {
			t.Fatal(err)
		}
		if out := p.Run(t.Context(), delivery(nil)); out.Verdict != c.want || out.Reason != c.reason {
			t.Errorf("%+v", out)
		}
	}
}

func TestLargeAnswerIsNotKept(t *testing.T) {
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", maxBody+1)) })
	out := attempt(t, map[string]any{"url": r.URL}, nil)
	if out.Verdict != store.VerdictSucceeded || !strings.Contains(string(out.Steps[0].Result), `"truncated":true`) {
		t.Errorf("%+v", out)
	}
}

func TestPathsThatWouldLeadElsewhereAreRefused(t *testing.T) {
	r := receive(t, nil)
	for _, value := range []string{"..", "../x", "a/b", `a\b`, "", "a\x00", "."} {
		out := attempt(t, map[string]any{"url": r.URL + "/a/${{ event.data.v }}"}, map[string]any{"v": value})
		if out.Verdict != store.VerdictDead || out.Reason != core.ReasonParameter || !strings.HasPrefix(out.Message, "url: ") {
			t.Errorf("%q: %+v", value, out)
		}
	}
	if out := attempt(t, map[string]any{"url": r.URL + "/a/.${{ event.data.v }}/b"}, map[string]any{"v": "."}); out.Reason != core.ReasonParameter {
		t.Errorf("two single dots: %+v", out)
	}
	if len(r.got) != 0 {
		t.Errorf("%d requests were made", len(r.got))
	}
}

func TestCheckRefusesWhatTheFileAloneShows(t *testing.T) {
	for says, with := range map[string]map[string]any{
		"written in the file":                {"url": "${{ event.data.url }}"},
		"no ${{ }} may stand in scheme":      {"url": "https://${{ event.data.host }}/x"},
		"write a / before":                   {"url": "https://api.test${{ event.data.x }}"},
		"credentials don't belong":           {"url": "https://user:pass@api.test/"},
		"must begin with http://":            {"url": "ftp://api.test/"},
		"is not a host":                      {"url": "http:///x"},
		"a fragment":                         {"url": "https://api.test/#x"},
		"must be one of GET":                 {"url": "https://api.test/", "method": "TRACE"},
		"no ${{ }} may stand here":           {"url": "https://api.test/", "method": "${{ event.data.m }}"},
		"a status is written":                {"url": "https://api.test/", "expect_status": []any{"ok"}},
		"url is missing":                     {},
		`there is no parameter "expectstat"`: {"url": "https://api.test/", "expectstat": "200"},
	} {
		if _, err := compile(with, 0); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", with, err, says)
		}
	}
}

func TestHeadersOfTheProtocolAreOurs(t *testing.T) {
	r := receive(t, nil)
	for _, name := range []string{"Host", "content-length", "Transfer-Encoding", "Idempotency-Key", "bad name", "a:b", ""} {
		out := attempt(t, map[string]any{"url": r.URL, "headers": map[string]any{name: "x"}}, nil)
		if out.Verdict != store.VerdictDead || out.Reason != core.ReasonParameter || len(r.got) != 0 {
			t.Errorf("%q: %+v", name, out)
		}
	}
}

func TestHostThatIsSent(t *testing.T) {
	for address, want := range map[string]string{
		"https://api.test/x": "api.test", "https://api.test:443/x": "api.test:443", "https://api.test:/x": "api.test", "https://[::1]:/x": "[::1]",
	} {
		req, err := build(t.Context(), &step.Call{With: map[string]any{"method": http.MethodPost, "url": address}})
		if err != nil {
			t.Fatal(err)
		}
		if req.Host != want || req.URL.Host != want {
			t.Errorf("%s is called as %q at %q, want %q", address, req.Host, req.URL.Host, want)
		}
	}
}
