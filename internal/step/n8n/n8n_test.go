package n8n

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
	"relais/internal/store"
)

// workflow is an n8n with one workflow: it answers as n8n does, or as the test says.
type workflow struct {
	*httptest.Server
	got    []*http.Request
	bodies []string
	answer http.HandlerFunc
}

// notRegistered is what n8n 1.x answers where no workflow is active: the stack names its files.
const notRegistered = `{"code":404,"message":"The requested webhook \"POST nowhere\" is not registered.","hint":"The workflow must be active",` +
	`"stacktrace":"Error: hidden at /usr/local/lib/node_modules/n8n/dist/webhooks.js:1"}`

func serve(t *testing.T, answer http.HandlerFunc) *workflow {
	t.Helper()
	w := &workflow{answer: answer}
	w.Server = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.got, w.bodies = append(w.got, r), append(w.bodies, string(body))
		if w.answer != nil {
			w.answer(out, r)
			return
		}
		out.Header().Set("Content-Type", "application/json; charset=utf-8")
		if r.Method != http.MethodPost || r.URL.Path != "/webhook/order-fulfillment-v2" || r.Header.Get("Content-Type") != "application/json" {
			out.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(out, notRegistered)
			return
		}
		_, _ = io.WriteString(out, `{"message":"Workflow was started"}`)
	}))
	t.Cleanup(w.Close)
	return w
}

func compile(settings, with map[string]any) (*step.Program, error) {
	connections := []config.Connection{{Name: "flows", Kind: "n8n", Settings: settings}}
	route := config.Route{Name: "orders", Steps: []config.Step{{ID: "t", Use: "n8n/trigger", With: with}}}
	kinds := func(e *egress.Egress) *step.Registry {
		return step.NewRegistry([]step.Kind{Trigger(e)}, []step.ConnectionKind{Connection()})
	}
	e, err := egress.New(egress.Options{Trusted: kinds(nil).TrustedHosts(connections, nil)})
	if err != nil {
		return nil, err
	}
	opened, err := kinds(e).Open(connections)
	if err != nil {
		return nil, err
	}
	return step.Compile(route, kinds(e), opened, step.Options{})
}

func attempt(t *testing.T, settings, with map[string]any, data any) store.Outcome {
	t.Helper()
	p, err := compile(settings, with)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(data)
	return p.Run(t.Context(), &store.Claimed{
		Delivery: core.Delivery{ID: 1, Claim: 1, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "orders"}},
		Event:    core.Event{Format: core.FormatJSON, Body: body},
	})
}

func TestWorkflowIsStarted(t *testing.T) {
	w := serve(t, nil)
	with := map[string]any{"path": "order-fulfillment-v2", "json": map[string]any{"event": "order.validated", "data": map[string]any{"orderId": "${{ event.data.id }}"}}}
	out := attempt(t, map[string]any{"url": w.URL + "/"}, with, map[string]any{"id": "ORD-<5>"})
	if out.Verdict != store.VerdictSucceeded || string(out.Steps[0].Result) != `{"code":200,"json":{"message":"Workflow was started"},"status":"done"}` {
		t.Fatalf("%+v", out)
	}
	if w.bodies[0] != `{"data":{"orderId":"ORD-<5>"},"event":"order.validated"}` || w.got[0].Header.Get("Authorization") != "" {
		t.Errorf("%s", w.bodies[0])
	}
	attempt(t, map[string]any{"url": w.URL}, with, map[string]any{"id": "ORD-<5>"})
	if first := w.got[0].Header.Get("Idempotency-Key"); first == "" || first != w.got[1].Header.Get("Idempotency-Key") {
		t.Error("two attempts of one step have different keys")
	}
}

func TestCredentials(t *testing.T) {
	for name, settings := range map[string]map[string]any{
		"X-Flow-Key: s3cret":                {"header": "X-Flow-Key", "value": config.NewSecret("s3cret")},
		"Authorization: Basic dTpzM2NyZXQ=": {"user": "u", "pass": config.NewSecret("s3cret")},
		"Authorization: Bearer s3cret":      {"token": config.NewSecret("s3cret")},
	} {
		w := serve(t, nil)
		settings["url"] = w.URL + "/n8n"
		attempt(t, settings, map[string]any{"path": "a/b", "json": "${{ event.data }}"}, map[string]any{})
		header, value, _ := strings.Cut(name, ": ")
		if len(w.got) != 1 || w.got[0].Header.Get(header) != value || w.got[0].URL.Path != "/n8n/webhook/a/b" {
			t.Errorf("%s: %+v", name, w.got)
		}
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	w := serve(t, nil)
	out := attempt(t, map[string]any{"url": w.URL}, map[string]any{"path": "nowhere", "json": map[string]any{}}, nil)
	if out.Verdict != store.VerdictRetry || !strings.Contains(out.Message, `The requested webhook "POST nowhere" is not registered. (the workflow may be switched off`) ||
		strings.Contains(out.Message, "hidden") {
		t.Errorf("%+v", out)
	}
	for _, c := range []struct {
		status       int
		header, body string
		want         store.Verdict
		reason       core.Reason
		delay        time.Duration
	}{
		{201, "", ``, store.VerdictSucceeded, "", 0},
		{400, "", `{"message":"bad"}`, store.VerdictDead, core.ReasonStatus, 0},
		{401, "", ``, store.VerdictDead, core.ReasonAuth, 0},
		{403, "", `Authorization data is wrong!`, store.VerdictDead, core.ReasonAuth, 0},
		{422, "", `{"code":422,"message":"Failed to parse request body","stacktrace":"hidden"}`, store.VerdictDead, core.ReasonStatus, 0},
		{429, "7", ``, store.VerdictRetry, core.ReasonRateLimited, 7 * time.Second},
		{500, "", `{"code":0,"message":"Error in workflow\nhidden","stacktrace":"hidden"}`, store.VerdictRetry, core.ReasonStatus, 0},
		{503, "60", `hidden`, store.VerdictRetry, core.ReasonStatus, time.Minute},
		{302, "", ``, store.VerdictDead, core.ReasonRedirect, 0},
	} {
		w := serve(t, func(out http.ResponseWriter, _ *http.Request) {
			if c.header != "" {
				out.Header().Set("Retry-After", c.header)
			}
			out.WriteHeader(c.status)
			_, _ = io.WriteString(out, c.body)
		})
		out := attempt(t, map[string]any{"url": w.URL}, map[string]any{"path": "x", "json": map[string]any{}}, nil)
		if out.Verdict != c.want || out.Reason != c.reason || out.Delay != c.delay || strings.Contains(out.Message, "hidden") {
			t.Errorf("%d: %+v", c.status, out)
		}
	}
	silent := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if out := attempt(t, map[string]any{"url": silent.URL}, map[string]any{"path": "x", "json": map[string]any{}}, nil); out.Verdict != store.VerdictRetry || out.Reason != core.ReasonReset {
		t.Errorf("%+v", out)
	}
}

func TestPathsStayWhereTheyAre(t *testing.T) {
	w := serve(t, func(http.ResponseWriter, *http.Request) {})
	for value, want := range map[string]string{"ORD 1?x=#": "/webhook/orders/ORD%201%3Fx=%23/done", "é%2f": "/webhook/orders/%C3%A9%252f/done", "..": "", "a/b": "", `a\b`: "", "": "", "a\r\nb": "", ".": ""} {
		w.got = nil
		out := attempt(t, map[string]any{"url": w.URL}, map[string]any{"path": "orders/${{ event.data.v }}/done", "json": map[string]any{}}, map[string]any{"v": value})
		if want == "" && (out.Reason != core.ReasonParameter || len(w.got) != 0) {
			t.Errorf("%q: %+v", value, out)
		}
		if want != "" && (len(w.got) != 1 || w.got[0].URL.EscapedPath() != want) {
			t.Errorf("%q: %+v", value, w.got)
		}
	}
	for says, path := range map[string]any{
		"what stands after /webhook/ in the": "/webhook/x", "write only what stands after": "https://n8n.example.fr/webhook/x", "it may hold no ?": "x?secret=y",
		"it is empty": "", "a path may not have": "a/../b", "may not have an empty part": "a//${{ event.data.v }}", "it must be a text": []any{"a"},
	} {
		if _, err := compile(map[string]any{"url": w.URL}, map[string]any{"path": path, "json": "x"}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", path, err)
		}
	}
}

func TestUnusableConnections(t *testing.T) {
	secret := config.NewSecret("x")
	for says, settings := range map[string]map[string]any{
		"url is not an address":            {"url": "n8n.example.fr"},
		"url ends before /webhook":         {"url": "https://n8n.example.fr/webhook/"},
		"only one of header":               {"url": "https://h", "token": secret, "user": "u", "pass": secret},
		"header and value belong":          {"url": "https://h", "header": "X-A"},
		"user and pass belong":             {"url": "https://h", "pass": secret},
		"header is not a header's name":    {"url": "https://h", "header": "X A", "value": secret},
		"a header may not hold line":       {"url": "https://h", "token": config.NewSecret("a\nb")},
		"header is one that relais writes": {"url": "https://h", "header": "content-type", "value": secret},
	} {
		if _, err := Connection().Open(settings); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
