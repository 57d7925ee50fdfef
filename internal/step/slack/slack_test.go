package slack

import (
	"bytes"
	"context"
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

const path = "/services/T000/B000/hiddenhidden"

// workspace imitates an incoming webhook as its document describes it: POST only, JSON only, text
// required, unknown channels refused, one word in plain text as the answer.
type workspace struct {
	*httptest.Server
	messages []map[string]string
	status   int // when set, the answer to everything
	word     string
	retry    string
}

func open(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{}
	w.Server = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.Close)
	return w
}

func (s *workspace) serve(w http.ResponseWriter, r *http.Request) {
	answer := func(status int, word string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, word)
	}
	if s.retry != "" {
		w.Header().Set("Retry-After", s.retry)
	}
	raw, err := io.ReadAll(r.Body)
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var message struct{ Text, Channel string }
	switch {
	case s.status != 0:
		answer(s.status, s.word)
	case r.URL.Path != path:
		answer(http.StatusNotFound, "no_service")
	case r.Method != http.MethodPost:
		answer(http.StatusMethodNotAllowed, "")
	case err != nil, r.Header.Get("Content-Type") != "application/json", decoder.Decode(&message) != nil:
		answer(http.StatusBadRequest, "invalid_payload")
	case message.Text == "":
		answer(http.StatusBadRequest, "no_text")
	case message.Channel != "" && message.Channel != "#compta":
		answer(http.StatusNotFound, "channel_not_found")
	default:
		s.messages = append(s.messages, map[string]string{"text": message.Text, "channel": message.Channel})
		answer(http.StatusOK, "ok")
	}
}

func run(t *testing.T, url string, s config.Step, data any) store.Outcome {
	t.Helper()
	return runWithin(t, 0, url, s, data)
}

// keeps is a store that keeps steps.
type keeps struct{ step.Store }

func (keeps) SaveStep(context.Context, store.Holder, store.StepResult) error { return nil }

func runWithin(t *testing.T, timeout time.Duration, url string, s config.Step, data any) store.Outcome {
	t.Helper()
	s.ID, s.Use = "tell", "slack/post"
	connections := []config.Connection{{Name: "equipe", Kind: "slack", Settings: map[string]any{"webhook_url": config.NewSecret(url)}}}
	hosts := step.NewRegistry([]step.Kind{Post(nil)}, []step.ConnectionKind{Connection(nil)}).TrustedHosts(connections, nil)
	e, err := egress.New(egress.Options{Trusted: hosts, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	registry := step.NewRegistry([]step.Kind{Post(e)}, []step.ConnectionKind{Connection(e)})
	opened, err := registry.Open(connections)
	if err != nil {
		t.Fatal(err)
	}
	p, err := step.Compile(config.Route{Name: "r", Steps: []config.Step{s}}, registry, opened, step.Options{Store: keeps{}})
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(data)
	out := p.Run(t.Context(), &store.Claimed{
		Delivery: core.Delivery{ID: 1, Claim: 1, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "r"}},
		Event:    core.Event{Format: core.FormatJSON, Body: body},
	})
	if strings.Contains(out.Message+string(out.Attempt.Trace), "hidden") {
		t.Errorf("the webhook's address is shown: %s %s", out.Message, out.Attempt.Trace)
	}
	return out
}

func TestMessageArrivesWithInsertedValuesEscaped(t *testing.T) {
	w := open(t)
	out := run(t, w.URL+path, config.Step{With: map[string]any{
		"text": "<https://app.test|Facture> ${{ event.data.v }} & ok", "channel": "#compta",
	}}, map[string]any{"v": "<!channel> A&B <https://evil.test|click>"})
	if out.Verdict != store.VerdictSucceeded || len(w.messages) != 1 {
		t.Fatalf("%+v", out)
	}
	want := "<https://app.test|Facture> &lt;!channel&gt; A&amp;B &lt;https://evil.test|click&gt; & ok"
	if w.messages[0]["text"] != want || w.messages[0]["channel"] != "#compta" {
		t.Errorf("%v", w.messages[0])
	}
}

func TestWhatSlacksAnswerMeansForTheDelivery(t *testing.T) {
	for _, c := range []struct {
		status int
		word   string
		retry  string
		want   store.Verdict
		reason core.Reason
		delay  time.Duration
	}{
		{400, "invalid_payload", "", store.VerdictDead, core.ReasonStatus, 0},
		{403, "action_prohibited", "", store.VerdictDead, core.ReasonStatus, 0},
		{404, "no_service", "", store.VerdictDead, core.ReasonStatus, 0},
		{410, "channel_is_archived", "", store.VerdictDead, core.ReasonStatus, 0},
		{429, "rate_limited", "7", store.VerdictRetry, core.ReasonRateLimited, 7 * time.Second},
		{500, "rollup_error", "", store.VerdictRetry, core.ReasonStatus, 0},
		{302, "", "", store.VerdictDead, core.ReasonRedirect, 0},
	} {
		w := open(t)
		w.status, w.word, w.retry = c.status, c.word, c.retry
		out := run(t, w.URL+path, config.Step{With: map[string]any{"text": "x"}}, nil)
		if out.Verdict != c.want || out.Reason != c.reason || out.Delay != c.delay || !strings.Contains(out.Message, c.word) {
			t.Errorf("%d: %+v", c.status, out)
		}
	}
	w := open(t)
	if out := run(t, w.URL+path, config.Step{With: map[string]any{"text": "x", "channel": "#nowhere"}}, nil); !strings.Contains(out.Message, "channel_not_found") {
		t.Errorf("%+v", out)
	}
}

func TestLostAnswerIsUnknownAndRefusedConnectionIsNot(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer silent.Close()
	step := config.Step{OnUnknown: "stop", With: map[string]any{"text": "x"}}
	if out := runWithin(t, 100*time.Millisecond, silent.URL+path, step, nil); out.Verdict != store.VerdictDead || out.Reason != core.ReasonUnknown {
		t.Errorf("%+v", out)
	}
	step.OnUnknown = "retry"
	if out := runWithin(t, 100*time.Millisecond, silent.URL+path, step, nil); out.Verdict != store.VerdictRetry || out.Reason != core.ReasonUnknown {
		t.Errorf("%+v", out)
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	step.OnUnknown = "stop"
	if out := run(t, closed.URL+path, step, nil); out.Verdict != store.VerdictRetry || out.Reason != core.ReasonRefused {
		t.Errorf("%+v", out)
	}
}

func TestUnusableWebhookAddressIsRefusedWithoutShowingIt(t *testing.T) {
	for _, text := range []string{"", "hooks.slack.com/hidden", "https://", "file:///hidden", "https://u:hidden@hooks.slack.com/", "https://hidden\x7f"} {
		_, err := Connection(nil).Open(map[string]any{"webhook_url": config.NewSecret(text)})
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
