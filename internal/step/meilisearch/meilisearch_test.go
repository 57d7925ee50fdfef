package meilisearch

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
	"relais/internal/step/meilisearch/meilitest"
	"relais/internal/store"
)

const key = "a-key"

func compile(url, apiKey string, with map[string]any, timeout time.Duration) (*step.Program, error) {
	settings := map[string]any{"url": url}
	if apiKey != "" {
		settings["api_key"] = config.NewSecret(apiKey)
	}
	connections := []config.Connection{{Name: "search", Kind: "meilisearch", Settings: settings}}
	route := config.Route{Name: "catalog", Steps: []config.Step{{ID: "i", Use: "meilisearch/index", With: with, Timeout: timeout}}}
	kinds := func(e *egress.Egress) *step.Registry {
		return step.NewRegistry([]step.Kind{Index(e)}, []step.ConnectionKind{Connection()})
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

func attempt(t *testing.T, url, apiKey string, with map[string]any, data any) store.Outcome {
	t.Helper()
	p, err := compile(url, apiKey, with, 0)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(data)
	return p.Run(t.Context(), &store.Claimed{
		Delivery: core.Delivery{ID: 1, Claim: 1, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "catalog"}},
		Event:    core.Event{Format: core.FormatJSON, Body: body},
	})
}

func TestDocumentsArePutAndDeleted(t *testing.T) {
	s := meilitest.Start(t, key)
	product := map[string]any{"id": "TD-1", "name": "Plaquette <avant>", "stock": 3}
	out := attempt(t, s.URL+"/", key, map[string]any{"index": "products", "documents": "${{ event.data }}", "primary_key": "id", "wait": true}, product)
	if out.Verdict != store.VerdictSucceeded || string(out.Steps[0].Result) != `{"documents":1,"status":"done","task":0}` {
		t.Fatalf("%+v", out)
	}
	if d := s.Document("products", "TD-1"); d["name"] != "Plaquette <avant>" {
		t.Errorf("%v", d)
	}
	attempt(t, s.URL, key, map[string]any{"index": "products", "documents": []any{map[string]any{"id": "${{ event.data.id }}", "stock": int64(7)}}, "partial": true}, product)
	if d := s.Document("products", "TD-1"); d["name"] != "Plaquette <avant>" || d["stock"] != json.Number("7") {
		t.Errorf("%v", d)
	}
	attempt(t, s.URL, key, map[string]any{"index": "products", "delete": "${{ event.data.id }}", "wait": true}, product)
	if s.Count("products") != 0 {
		t.Error("it is still there")
	}
	out = attempt(t, s.URL, key, map[string]any{"index": "products", "documents": []any{}}, nil)
	if out.Verdict != store.VerdictSkipped || s.Tasks() != 3 {
		t.Errorf("%+v", out)
	}
}

func TestFailedTasks(t *testing.T) {
	s := meilitest.Start(t, key)
	bad := map[string]any{"index": "products", "documents": map[string]any{"id": 1.0, "otherId": 2.0}}
	if out := attempt(t, s.URL, key, bad, nil); out.Verdict != store.VerdictSucceeded {
		t.Errorf("without wait nobody knows: %+v", out)
	}
	bad["wait"] = true
	out := attempt(t, s.URL, key, bad, nil)
	if out.Verdict != store.VerdictDead || out.Reason != core.ReasonInvalidData || !strings.Contains(out.Message, "task 1 failed: index_primary_key_multiple_candidates_found: ") {
		t.Errorf("%+v", out)
	}
	s.FailNext("system", "no_space_left_on_device")
	out = attempt(t, s.URL, key, map[string]any{"index": "products", "documents": map[string]any{"id": int64(1)}, "wait": true}, nil)
	if out.Verdict != store.VerdictRetry || !strings.Contains(out.Message, "no_space_left_on_device") {
		t.Errorf("%+v", out)
	}
}

func TestATaskIsWaitedForAndNotForEver(t *testing.T) {
	s := meilitest.Start(t, "")
	s.Hold()
	with := map[string]any{"index": "products", "documents": map[string]any{"id": int64(1)}, "wait": true}
	p, err := compile(s.URL, "", with, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	out := p.Run(t.Context(), &store.Claimed{})
	if out.Verdict != store.VerdictRetry || out.Reason != core.ReasonTimeout || !strings.Contains(out.Message, "task 0") {
		t.Errorf("%+v", out)
	}
	var looks int
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			if looks++; looks == 3 {
				s.Release()
			}
		}
		s.ServeHTTP(w, r)
	}))
	defer front.Close()
	if out := attempt(t, front.URL, "", with, nil); out.Verdict != store.VerdictSucceeded || looks != 3 {
		t.Errorf("%d looks: %+v", looks, out)
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	s := meilitest.Start(t, key)
	for _, c := range []struct {
		apiKey, code string
	}{{"", "missing_authorization_header"}, {"other", "invalid_api_key"}} {
		out := attempt(t, s.URL, c.apiKey, map[string]any{"index": "p", "delete": int64(1)}, nil)
		if out.Verdict != store.VerdictDead || out.Reason != core.ReasonAuth || !strings.Contains(out.Message, c.code) {
			t.Errorf("%+v", out)
		}
	}
	for _, c := range []struct {
		status int
		body   string
		want   store.Verdict
		reason core.Reason
	}{
		{413, `{"message":"too large","code":"payload_too_large","type":"invalid_request"}`, store.VerdictDead, core.ReasonStatus},
		{429, ``, store.VerdictRetry, core.ReasonRateLimited},
		{408, ``, store.VerdictRetry, core.ReasonStatus},
		{500, `{"message":"oh","code":"internal","type":"internal"}`, store.VerdictRetry, core.ReasonStatus},
		{503, `<html>`, store.VerdictRetry, core.ReasonStatus},
		{422, `{"message":"no space left on device","code":"no_space_left_on_device","type":"system"}`, store.VerdictRetry, core.ReasonStatus},
		{301, ``, store.VerdictDead, core.ReasonRedirect},
		{202, `<html>`, store.VerdictDead, core.ReasonInvalidData},
		{202, `{}`, store.VerdictDead, core.ReasonInvalidData},
		{0, ``, store.VerdictRetry, core.ReasonReset},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		out := attempt(t, server.URL, key, map[string]any{"index": "p", "delete": int64(1)}, nil)
		server.Close()
		if out.Verdict != c.want || out.Reason != c.reason || strings.Contains(out.Message, key) {
			t.Errorf("%d: %+v", c.status, out)
		}
	}
}

func TestWhatIsRefusedBeforeTheCall(t *testing.T) {
	s := meilitest.Start(t, "")
	for says, with := range map[string]map[string]any{
		"one of documents and delete":                  {"index": "p"},
		"document 2 is not an object":                  {"index": "p", "documents": []any{map[string]any{"id": int64(1)}, "x"}},
		"document 1: sku: it is missing":               {"index": "p", "documents": map[string]any{"id": int64(1)}, "primary_key": "sku"},
		"delete: id 1: an id is a whole number, or":    {"index": "p", "delete": "${{ '../x' }}"},
		"document 1: id: an id is a whole number or a": {"index": "p", "documents": map[string]any{"id": 1.5}, "primary_key": "id"},
	} {
		out := attempt(t, s.URL, "", with, nil)
		if out.Verdict != store.VerdictDead || out.Reason != core.ReasonParameter || !strings.Contains(out.Message, says) {
			t.Errorf("%+v, want %q", out, says)
		}
	}
	if s.Tasks() != 0 {
		t.Errorf("%d tasks were taken", s.Tasks())
	}
	for says, with := range map[string]map[string]any{
		"an index' uid has letters": {"index": "a/b", "documents": "${{ event.data }}"},
		"no ${{ }} may stand here":  {"index": "${{ event.data.i }}", "documents": "${{ event.data }}"},
	} {
		if _, err := compile(s.URL, "", with, 0); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	for _, url := range []string{"", "ftp://x", "https://", "https://u:p@h", "https://h?x=1"} {
		if _, err := compile(url, "", map[string]any{"index": "p", "delete": "x"}, 0); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
}
