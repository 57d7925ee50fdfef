package step

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

// memory keeps steps and effects as a store does: an effect moves only from the state that is named, and
// only for the newest claim.
type memory struct {
	mu      sync.Mutex
	saved   []store.StepResult
	saveErr error
	claim   int
	effects map[string]store.Effect
}

func (m *memory) SaveStep(_ context.Context, h store.Holder, s store.StepResult) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saveErr != nil {
		return m.saveErr
	}
	if h.Claim != m.claim {
		return store.ErrLostClaim
	}
	m.saved = append(m.saved, s)
	return nil
}

func (m *memory) OpenEffect(_ context.Context, p store.OpenEffect) (store.Effect, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.effects[p.Key]
	if !ok {
		e = store.Effect{Key: p.Key, Kind: p.Kind, State: store.EffectOpen}
	}
	e.Holder = p.Holder
	m.effects[p.Key] = e
	return e, nil
}

func (m *memory) AdvanceEffect(ctx context.Context, p store.AdvanceEffect) (store.Effect, error) {
	if err := ctx.Err(); err != nil {
		return store.Effect{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.effects[p.Key]
	if p.Holder.Claim != m.claim || e.State != p.From {
		return e, store.ErrLostClaim
	}
	e.State, e.Result, e.Message = p.To, p.Result, p.Message
	m.effects[p.Key] = e
	return e, nil
}

func (m *memory) ResolveEffect(context.Context, store.ResolveEffect) (store.Effect, error) {
	return store.Effect{}, errors.New("not a matter of the engine")
}

// bench is a route over kinds whose behaviour the test says.
type bench struct {
	t       *testing.T
	memory  *memory
	acts    map[string]func(context.Context, *Call) (Result, error)
	calls   []string
	classes map[string]Class
}

func newBench(t *testing.T) *bench {
	return &bench{t: t, memory: &memory{claim: 1, effects: map[string]store.Effect{}},
		acts: map[string]func(context.Context, *Call) (Result, error){}, classes: map[string]Class{}}
}

func (b *bench) registry() *Registry {
	var kinds []Kind
	for _, name := range []string{"test/a", "test/b", "test/c"} {
		class := b.classes[name]
		if class == "" {
			class = ClassAtLeastOnce
		}
		kinds = append(kinds, Kind{Name: name, Class: class, Connection: "desk", Params: []Param{
			{Name: "text", Type: TypeString}, {Name: "count", Type: TypeInt}, {Name: "wait", Type: TypeDuration},
			{Name: "tags", Type: TypeList}, {Name: "flag", Type: TypeBool}, {Name: "any", Type: TypeAny},
		}, Run: func(ctx context.Context, call *Call) (Result, error) {
			b.calls = append(b.calls, call.StepID)
			if act := b.acts[name]; act != nil {
				return act(ctx, call)
			}
			return Result{"said": call.With["text"]}, nil
		}})
	}
	return NewRegistry(kinds, []ConnectionKind{{Name: "desk", Open: func(map[string]any) (any, error) { return "desk", nil }}})
}

func (b *bench) compile(route config.Route) *Program {
	b.t.Helper()
	route.Name = "r"
	for i := range route.Steps {
		if route.Steps[i].ID == "" {
			route.Steps[i].ID = string(rune('a' + i))
		}
	}
	p, err := Compile(route, b.registry(), Connections{"front": {Kind: "desk", Value: "desk"}}, Options{Node: "n1", Store: b.memory})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func claimed(body string, results ...store.StepResult) *store.Claimed {
	return &store.Claimed{
		Delivery: core.Delivery{ID: 7, Claim: 1, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "r"}},
		Event:    core.Event{Source: "sellsy", Type: "estimate.step", Format: core.FormatJSON, Body: []byte(body)},
		Steps:    results,
	}
}

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
		{"unknown, keyed", failure(Unknown, 0), ClassKeyed, "", store.VerdictRetry, core.ReasonUnknown, 0},
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
			if kept := len(out.Steps) == 1; kept != (c.name == "it ended just before") {
				t.Errorf("results with the outcome: %+v", out.Steps)
			}
		})
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
		if err := p.RunOnDead(t.Context(), c, out); err != nil {
			t.Error(err)
		}
		if len(said) != 3 || said[2] != "5: status, no such estimate, 1" {
			t.Errorf("%v", said)
		}
		b.acts["test/b"] = func(context.Context, *Call) (Result, error) { return nil, errors.New("gone") }
		if p.RunOnDead(t.Context(), c, out) == nil {
			t.Error("nobody was told and nobody knows")
		}
	})
}
