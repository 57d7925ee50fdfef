package step

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

func TestStepsRunInOrderAndEachIsKeptBeforeTheNext(t *testing.T) {
	b := newBench(t)
	b.acts["test/b"] = func(_ context.Context, call *Call) (Result, error) {
		if len(b.memory.saved) != 1 {
			t.Errorf("step b started with %d results kept", len(b.memory.saved))
		}
		return Result{"said": call.With["text"]}, nil
	}
	p := b.compile(config.Route{Steps: []config.Step{
		{Use: "test/a", With: map[string]any{"text": "devis ${{ event.data.relatedid }}"}},
		{Use: "test/b", When: "steps.a.status == 'done'", With: map[string]any{"text": "${{ steps.a.said }}!"}},
		{Use: "test/c", When: "steps.b.said == 'no'"},
	}})
	out := p.Run(t.Context(), claimed(`{"relatedid": 52437688}`))
	if out.Verdict != store.VerdictSucceeded || strings.Join(b.calls, "") != "ab" {
		t.Fatalf("%+v, calls %v", out, b.calls)
	}
	if got := string(b.memory.saved[1].Result); got != `{"said":"devis 52437688!","status":"done"}` {
		t.Errorf("b's result is %s", got)
	}
	if len(out.Steps) != 1 || string(out.Steps[0].Result) != `{"status":"skipped"}` {
		t.Errorf("with the outcome go %+v", out.Steps)
	}
	var trace struct{ Steps []struct{ ID, Status string } }
	if err := json.Unmarshal(out.Attempt.Trace, &trace); err != nil || len(trace.Steps) != 3 || trace.Steps[2].Status != "skipped" {
		t.Errorf("trace %s: %v", out.Attempt.Trace, err)
	}
	if strings.Contains(string(out.Attempt.Trace), "52437688") {
		t.Error("the trace holds parameters")
	}
}

// TestResultsAreKeptInTheStepsOrder: a skipped step's result isn't kept at once, and must still stand
// before those of the steps after it.
func TestResultsAreKeptInTheStepsOrder(t *testing.T) {
	b := newBench(t)
	out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a"}, {Use: "test/b", When: "false"}, {Use: "test/c"}, {Use: "test/a"}}}).Run(t.Context(), claimed(`{}`))
	var order string
	for _, s := range append(b.memory.saved, out.Steps...) {
		order += s.Step
	}
	if order != "abcd" || len(out.Steps) != 1 {
		t.Errorf("kept in the order %s, %d with the outcome", order, len(out.Steps))
	}
}

func TestRetryGoesOnFromTheStepThatFailed(t *testing.T) {
	b := newBench(t)
	fail := true
	b.acts["test/b"] = func(context.Context, *Call) (Result, error) {
		if fail {
			return nil, &Failure{Disposition: Retry, Reason: core.ReasonStatus, Message: "503", After: time.Minute}
		}
		return nil, nil
	}
	steps := []config.Step{{Use: "test/a"}, {Use: "test/b"}}
	p := b.compile(config.Route{Steps: steps})
	out := p.Run(t.Context(), claimed(`{}`))
	if out.Verdict != store.VerdictRetry || out.Delay != time.Minute || out.Reason != core.ReasonStatus {
		t.Fatalf("%+v", out)
	}
	fail = false
	if out = p.Run(t.Context(), claimed(`{}`, b.memory.saved...)); out.Verdict != store.VerdictSucceeded || strings.Join(b.calls, "") != "abb" {
		t.Errorf("%+v, calls %v", out, b.calls)
	}
	// Another definition of the first step runs it again; another timeout doesn't.
	steps[0].Timeout = time.Second
	b.compile(config.Route{Steps: steps}).Run(t.Context(), claimed(`{}`, b.memory.saved...))
	steps[0].With = map[string]any{"text": "other"}
	b.compile(config.Route{Steps: steps}).Run(t.Context(), claimed(`{}`, b.memory.saved...))
	if got := strings.Join(b.calls, ""); got != "abb"+"b"+"ab" {
		t.Errorf("calls %s", got)
	}
}

func TestWhatAFailureMeansForTheDelivery(t *testing.T) {
	failure := func(d Disposition, after time.Duration) error {
		return &Failure{Disposition: d, Reason: core.ReasonStatus, Message: "said", After: after}
	}
	for _, c := range []struct {
		name      string
		err       error
		class     Class
		onUnknown string
		want      store.Verdict
		reason    core.Reason
		delay     time.Duration
	}{
		{"retry", failure(Retry, 0), ClassExact, "", store.VerdictRetry, core.ReasonStatus, 0},
		{"final", failure(Final, time.Hour), ClassExact, "", store.VerdictDead, core.ReasonStatus, 0},
		{"wait", failure(Wait, time.Minute), ClassExact, "", store.VerdictDefer, core.ReasonStatus, time.Minute},
		{"unknown, retried", failure(Unknown, 0), ClassAtLeastOnce, "retry", store.VerdictRetry, core.ReasonUnknown, 0},
		{"unknown, stopped", failure(Unknown, 0), ClassAtLeastOnce, "stop", store.VerdictDead, core.ReasonUnknown, 0},
		{"unknown, keyed", failure(Unknown, 0), ClassKeyed, "", store.VerdictRetry, core.ReasonStatus, 0},
		{"any other error", errors.New("password=hunter2"), ClassKeyed, "", store.VerdictRetry, core.ReasonInternal, 0},
		{"lost claim", store.ErrLostClaim, ClassExact, "", store.VerdictReturn, core.ReasonInterrupted, 0},
		{"store away", store.ErrUnavailable, ClassExact, "", store.VerdictDefer, core.ReasonInternal, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.classes["test/a"] = c.class
			b.acts["test/a"] = func(context.Context, *Call) (Result, error) { return nil, c.err }
			out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a", OnUnknown: c.onUnknown}}}).Run(t.Context(), claimed(`{}`))
			if out.Verdict != c.want || out.Reason != c.reason || out.Delay != c.delay {
				t.Errorf("%+v", out)
			}
			if strings.Contains(out.Message+string(out.Attempt.Trace), "hunter2") {
				t.Error("an unforeseen error's text is shown")
			}
		})
	}
}

func TestPanicInAStepIsItsOwn(t *testing.T) {
	b := newBench(t)
	b.acts["test/a"] = func(context.Context, *Call) (Result, error) { panic("broken") }
	out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a"}}}).Run(t.Context(), claimed(`{}`))
	if out.Verdict != store.VerdictRetry || out.Reason != core.ReasonInternal {
		t.Errorf("%+v", out)
	}
}

func TestStopHandsBackOnlyWhatWasNotSent(t *testing.T) {
	for _, c := range []struct {
		name      string
		act       func(context.Context, *Call) (Result, error)
		onUnknown string
		want      store.Verdict
	}{
		{"nothing was sent", func(ctx context.Context, _ *Call) (Result, error) { return nil, ctx.Err() }, "", store.VerdictReturn},
		{"an effect was sent", func(ctx context.Context, call *Call) (Result, error) {
			return nil, errors.Join(ctx.Err(), errors.New("the answer was lost"))
		}, "", store.VerdictDefer},
		{"a mail may have left", func(context.Context, *Call) (Result, error) {
			return nil, &Failure{Disposition: Unknown, Message: "no answer"}
		}, "", store.VerdictDefer},
		{"a mail may have left and must not twice", func(context.Context, *Call) (Result, error) {
			return nil, &Failure{Disposition: Unknown, Message: "no answer"}
		}, "stop", store.VerdictDead},
		{"it ended just before", func(context.Context, *Call) (Result, error) { return Result{}, nil }, "", store.VerdictReturn},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			ctx, stop := context.WithCancel(t.Context())
			b.acts["test/a"] = func(ctx context.Context, call *Call) (Result, error) {
				if c.name == "an effect was sent" {
					if _, err := call.Effects.Open(ctx, "invoice", "invoice/1"); err != nil {
						t.Fatal(err)
					}
					if _, err := call.Effects.Sent(ctx, "invoice/1"); err != nil {
						t.Fatal(err)
					}
				}
				stop()
				return c.act(ctx, call)
			}
			out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a", OnUnknown: c.onUnknown}, {Use: "test/b"}}}).Run(ctx, claimed(`{}`))
			if out.Verdict != c.want || len(b.calls) != 1 {
				t.Errorf("%+v", out)
			}
			if c.name == "an effect was sent" && out.Reason != core.ReasonSettling {
				t.Errorf("for the reason %s, by which the lanes may end it for its age before anybody looked", out.Reason)
			}
			if kept := len(out.Steps) == 1; kept != (c.name == "it ended just before") {
				t.Errorf("results with the outcome: %+v", out.Steps)
			}
		})
	}
}

// A ledger that is slow when the end of a sent effect is to be noted says nothing of the effect: a delivery
// that was ended for its age then would leave an effect that nobody looks up.
func TestASentEffectIsTheReasonWhateverFailed(t *testing.T) {
	for _, failed := range []error{context.DeadlineExceeded, errors.New("broken"),
		&Failure{Disposition: Retry, Reason: core.ReasonStatus}, &Failure{Disposition: Wait, Reason: core.ReasonHeld}} {
		b := newBench(t)
		b.acts["test/a"] = func(ctx context.Context, call *Call) (Result, error) {
			if _, err := call.Effects.Open(ctx, "invoice", "invoice/1"); err != nil {
				t.Fatal(err)
			}
			if _, err := call.Effects.Sent(ctx, "invoice/1"); err != nil {
				t.Fatal(err)
			}
			return nil, failed
		}
		out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a"}}}).Run(t.Context(), claimed(`{}`))
		if out.Reason != core.ReasonUnknown {
			t.Errorf("%v: the delivery comes back for the reason %s", failed, out.Reason)
		}
	}
}

func TestEffectsCarryTenantAndConnectionAndSettleDespiteAStop(t *testing.T) {
	b := newBench(t)
	ctx, stop := context.WithCancel(t.Context())
	b.acts["test/a"] = func(ctx context.Context, call *Call) (Result, error) {
		const key = "invoice/estimate/52437688"
		for _, err := range []error{
			second(call.Effects.Open(ctx, "invoice", key)),
			second(call.Effects.Sent(ctx, key)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		stop()
		if second(call.Effects.Sent(ctx, key)) == nil {
			t.Error("an effect was marked sent after the stop")
		}
		return Result{}, call.Effects.Done(ctx, key, json.RawMessage(`{"id":1}`))
	}
	out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a"}}}).Run(ctx, claimed(`{}`))
	if e := b.memory.effects["default/front/invoice/estimate/52437688"]; e.State != store.EffectDone {
		t.Errorf("effects: %+v", b.memory.effects)
	}
	if out.Verdict != store.VerdictSucceeded {
		t.Errorf("%+v", out)
	}
}

func second(_ store.Effect, err error) error { return err }

func TestOnErrorContinueKeepsTheFailureAndGoesOn(t *testing.T) {
	b := newBench(t)
	b.acts["test/a"] = func(context.Context, *Call) (Result, error) {
		return nil, &Failure{Disposition: Final, Reason: core.ReasonStatus, Message: "404"}
	}
	out := b.compile(config.Route{Steps: []config.Step{{Use: "test/a", OnError: "continue"},
		{Use: "test/b", With: map[string]any{"text": "${{ steps.a.status }} ${{ steps.a.reason }} ${{ steps.a.message }}"}}}}).Run(t.Context(), claimed(`{}`))
	if out.Verdict != store.VerdictSucceeded || !strings.Contains(string(out.Steps[0].Result), `"failed status 404"`) {
		t.Errorf("%+v %s", out, out.Steps)
	}
}

func TestDeliveryWithNothingToDoIsSkipped(t *testing.T) {
	b := newBench(t)
	b.acts["test/a"] = func(context.Context, *Call) (Result, error) {
		return Result{"status": "skipped", "message": "the estimate is not accepted"}, nil
	}
	steps := []config.Step{{Use: "test/a"}, {Use: "test/b", When: "steps.a.status == 'created'"}}
	out := b.compile(config.Route{Steps: steps}).Run(t.Context(), claimed(`{}`))
	if out.Verdict != store.VerdictSkipped || out.Message != "the estimate is not accepted" {
		t.Errorf("%+v", out)
	}
	b.calls = nil
	out = b.compile(config.Route{When: "event.data.step == 'accepted'", Steps: steps}).Run(t.Context(), claimed(`{"step":"refused"}`))
	if out.Verdict != store.VerdictSkipped || len(b.calls) != 0 {
		t.Errorf("%+v", out)
	}
}
