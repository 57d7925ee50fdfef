package step

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

func TestFaultsOfTheEventAreFinalAndReadable(t *testing.T) {
	for _, c := range []struct {
		name, body string
		route      config.Route
		reason     core.Reason
		says       string
	}{
		{"missing key in the route's condition", `{}`, config.Route{When: "event.data.step == 'x'", Steps: []config.Step{{Use: "test/a"}}}, core.ReasonExpression, "step"},
		{"missing key in a step's condition", `{}`, config.Route{Steps: []config.Step{{Use: "test/a", When: "event.data.step == 'x'"}}}, core.ReasonExpression, "step"},
		{"missing key in a parameter", `{}`, config.Route{Steps: []config.Step{{Use: "test/a", With: map[string]any{"text": "${{ event.data.relatedid }}"}}}}, core.ReasonExpression, "relatedid"},
		{"a body that is not JSON", `{`, config.Route{Steps: []config.Step{{Use: "test/a", With: map[string]any{"text": "${{ event.data.relatedid }}"}}}}, core.ReasonInvalidData, "JSON"},
		{"a text for a number", `{"n":"x"}`, config.Route{Steps: []config.Step{{Use: "test/a", With: map[string]any{"count": "${{ event.data.n }}"}}}}, core.ReasonParameter, "step a, count: it must be a whole number"},
		{"a list for a text", `{"n":[1]}`, config.Route{Steps: []config.Step{{Use: "test/a", With: map[string]any{"text": "${{ event.data.n }}"}}}}, core.ReasonParameter, "it must be a text, and is a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			out := b.compile(c.route).Run(t.Context(), claimed(c.body))
			if out.Verdict != store.VerdictDead || out.Reason != c.reason || !strings.Contains(out.Message, c.says) || len(b.calls) != 0 {
				t.Errorf("%+v", out)
			}
		})
	}
	// A body that can't be read stops nobody who doesn't read it.
	b := newBench(t)
	out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a", With: map[string]any{"text": "${{ event.type }}"}}}}).Run(t.Context(), claimed(`{`))
	if out.Verdict != store.VerdictSucceeded {
		t.Errorf("%+v", out)
	}
}

func TestParametersBecomeTheirTypes(t *testing.T) {
	b := newBench(t)
	var with map[string]any
	b.acts["test/a"] = func(_ context.Context, call *Call) (Result, error) { with = call.With; return nil, nil }
	out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a", With: map[string]any{
		"text": "${{ event.data.id }}", "count": "${{ event.data.text }}", "wait": "90s", "tags": "${{ event.data.one }}",
		"flag": "${{ event.data.yes }}", "any": map[string]any{"id": "${{ event.data.id }}"},
	}}}}).Run(t.Context(), claimed(`{"id": 52437688, "text": "12", "one": "x", "yes": "true"}`))
	if out.Verdict != store.VerdictSucceeded {
		t.Fatalf("%+v", out)
	}
	if with["text"] != "52437688" || with["count"] != int64(12) || with["wait"] != 90*time.Second || with["flag"] != true ||
		with["tags"].([]any)[0] != "x" || with["any"].(map[string]any)["id"] != int64(52437688) {
		t.Errorf("%#v", with)
	}
}

func TestStepPastItsTimeoutIsUnknownWhenItMayHaveBeenDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.acts["test/a"] = func(ctx context.Context, _ *Call) (Result, error) { <-ctx.Done(); return nil, ctx.Err() }
		out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a", OnUnknown: "stop", Timeout: time.Second}}}).Run(t.Context(), claimed(`{}`))
		if out.Verdict != store.VerdictDead || out.Reason != core.ReasonUnknown || out.Attempt.Duration != time.Second {
			t.Errorf("%+v", out)
		}
	})
}

func TestStoreAwayAfterAStepKeepsItsResultWithTheOutcome(t *testing.T) {
	b := newBench(t)
	b.memory.saveErr = store.ErrUnavailable
	out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a"}, {Use: "test/b"}}}).Run(t.Context(), claimed(`{}`))
	if out.Verdict != store.VerdictDefer || len(out.Steps) != 1 || len(b.calls) != 1 {
		t.Errorf("%+v, calls %v", out, b.calls)
	}
	b.memory.saveErr, b.memory.claim = nil, 2
	out = b.compile(config.Route{Steps: []config.Step{{Use: "test/a"}, {Use: "test/b"}}}).Run(t.Context(), claimed(`{}`))
	if out.Verdict != store.VerdictReturn || len(b.calls) != 2 {
		t.Errorf("%+v, calls %v: the next step ran although the delivery was lost", out, b.calls)
	}
}

func TestResultPastItsBoundIsSaid(t *testing.T) {
	b := newBench(t)
	b.acts["test/a"] = func(context.Context, *Call) (Result, error) { return Result{"x": strings.Repeat("x", MaxResult)}, nil }
	out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a"}}}).Run(t.Context(), claimed(`{}`))
	if out.Verdict != store.VerdictDead || out.Reason != core.ReasonTooLarge {
		t.Errorf("%+v", out)
	}
}

func TestIdempotencyKeyIsOneForAllAttemptsAndOtherForAReplay(t *testing.T) {
	var keys []string
	b := newBench(t)
	b.acts["test/a"] = func(_ context.Context, call *Call) (Result, error) {
		keys = append(keys, call.IdempotencyKey)
		return nil, nil
	}
	p := b.compile(config.Route{Steps: []config.Step{{Use: "test/a"}}})
	first, again, replay, other := claimed(`{}`), claimed(`{}`), claimed(`{}`), claimed(`{}`)
	again.Delivery.Claim, again.Delivery.Attempts = 2, 1
	replay.Delivery.Replay = 3
	other.Delivery.Event = core.NewEventID()
	for _, c := range []*store.Claimed{first, again, replay, other} {
		p.Run(t.Context(), c)
	}
	if keys[0] != keys[1] || keys[0] == keys[2] || keys[0] == keys[3] || len(keys[0]) < 32 {
		t.Errorf("%v", keys)
	}
}

func TestReplayFromAStepThatIsGoneSaysSo(t *testing.T) {
	b := newBench(t)
	c := claimed(`{}`)
	c.Delivery.FromStep = "facture"
	out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a"}}}).Run(t.Context(), c)
	if out.Verdict != store.VerdictDead || !strings.Contains(out.Message, `"facture"`) || len(b.calls) != 0 {
		t.Errorf("%+v", out)
	}
}

func TestOnDeadTellsWhyAfterAFewTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var said []any
		b.acts["test/b"] = func(_ context.Context, call *Call) (Result, error) {
			said = append(said, call.With["text"])
			if len(said) < 3 {
				return nil, &Failure{Disposition: Retry, Message: "busy"}
			}
			return nil, nil
		}
		b.acts["test/a"] = func(context.Context, *Call) (Result, error) {
			return nil, &Failure{Disposition: Final, Reason: core.ReasonStatus, Message: "no such estimate"}
		}
		p := b.compile(config.Route{Steps: []config.Step{{Use: "test/a"}}, OnDead: &config.Step{Use: "test/b", With: map[string]any{
			"text": "${{ event.data.id }}: ${{ failure.reason }}, ${{ failure.message }}, ${{ failure.attempts }}"}}})
		c := claimed(`{"id":5}`)
		out := p.Run(t.Context(), c)
		has, err := p.RunOnDead(t.Context(), c, out)
		if !has || err != nil || len(said) != 3 || said[2] != "5: status, no such estimate, 1" {
			t.Errorf("%v", said)
		}
		b.acts["test/b"] = func(context.Context, *Call) (Result, error) { return nil, errors.New("gone") }
		if _, err := p.RunOnDead(t.Context(), c, out); err == nil || !strings.Contains(b.log.String(), "nobody could be told") {
			t.Errorf("nobody was told and nobody knows: %s", b.log.String())
		}
	})
}

// TestOnUnknownStopAsksAfterACrashToo kills the process inside a mail, and after a mail that the server
// refused.
func TestOnUnknownStopAsksAfterACrashToo(t *testing.T) {
	route := config.Route{Steps: []config.Step{
		{Use: "test/b", When: "false"}, {Use: "test/a", OnUnknown: "stop"}, {Use: "test/b"},
	}}
	b := newBench(t)
	crashed := false
	b.acts["test/a"] = func(context.Context, *Call) (Result, error) {
		// What a crash leaves is what is saved by now.
		next := claimed(`{}`, slices.Clone(b.memory.saved)...)
		if crashed {
			t.Error("a mail was sent again, though nobody knows whether the first one was")
			return nil, nil
		}
		crashed = true
		out := b.compile(route).Run(t.Context(), next)
		if out.Verdict != store.VerdictDead || out.Reason != core.ReasonUnknown || !strings.Contains(out.Message, "replay") {
			t.Errorf("after the crash: %+v", out)
		}
		return nil, &Failure{Disposition: Retry, Reason: core.ReasonStatus, Message: "the server is busy"}
	}
	out := b.compile(route).Run(t.Context(), claimed(`{}`))
	if out.Verdict != store.VerdictRetry {
		t.Fatalf("%+v", out)
	}
	// A refusal is no crash: with its outcome stored, the next attempt sends.
	b.acts["test/a"] = func(context.Context, *Call) (Result, error) { return nil, nil }
	saved := b.memory.saved
	for _, result := range out.Steps {
		saved = slices.DeleteFunc(saved, func(s store.StepResult) bool { return s.Step == result.Step })
		saved = append(saved, result)
	}
	if out = b.compile(route).Run(t.Context(), claimed(`{}`, saved...)); out.Verdict != store.VerdictSucceeded {
		t.Errorf("after a refusal: %+v", out)
	}
}
