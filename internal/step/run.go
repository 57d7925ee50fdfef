package step

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/store"
)

// StepSaver keeps a finished step's result before the next step starts.
type StepSaver interface {
	SaveStep(ctx context.Context, holder store.Holder, step store.StepResult) error
}

// Run attempts one delivery: lane.Runner for a route.
func (p *Program) Run(ctx context.Context, claimed *store.Claimed) store.Outcome {
	started := p.o.Now()
	r := p.newRun(claimed)
	outcome := r.all(ctx)
	outcome.Message = readable(outcome.Message, maxMessage)
	outcome.Steps = r.unsaved
	outcome.Attempt = store.Attempt{
		Delivery: claimed.Delivery.ID,
		Claim:    claimed.Delivery.Claim,
		Started:  started,
		Duration: p.o.Now().Sub(started),
		Verdict:  outcome.Verdict,
		Reason:   outcome.Reason,
		Message:  outcome.Message,
		Trace:    r.trace.encode(),
	}
	return outcome
}

// run is one attempt.
type run struct {
	*Program
	claimed *store.Claimed
	holder  store.Holder
	scope   expr.Vars // what expressions see; nil until one is evaluated
	dataErr error
	failure map[string]any     // on_dead only
	results map[string]any     // steps.<id>
	unsaved []store.StepResult // go with the outcome
	begun   bool               // the step that runs is noted as begun
	trace   trace
}

func (p *Program) newRun(claimed *store.Claimed) *run {
	d := &claimed.Delivery
	return &run{
		Program: p,
		claimed: claimed,
		holder:  store.Holder{Delivery: d.ID, Claim: d.Claim, Node: p.o.Node},
		results: map[string]any{},
	}
}

func (r *run) all(ctx context.Context) store.Outcome {
	if from := r.claimed.Delivery.FromStep; from != "" && !slices.ContainsFunc(r.steps, func(s compiled) bool { return s.ID == from }) {
		return store.Outcome{Verdict: store.VerdictDead, Reason: core.ReasonParameter,
			Message: fmt.Sprintf("the replay starts at step %q, and the route has no such step: replay it from another one", from)}
	}
	if r.when != nil {
		holds, err := r.when.Eval(ctx, r.vars())
		if err != nil {
			return r.end(ctx, nil, nil, r.expressionFailure(ctx, err))
		}
		if !holds {
			return store.Outcome{Verdict: store.VerdictSkipped, Reason: core.ReasonSkipped, Message: "the route's condition does not hold for this event"}
		}
	}
	for i := range r.steps {
		if end := r.one(ctx, &r.steps[i], i == len(r.steps)-1); end != nil {
			return *end
		}
	}
	return r.succeeded()
}

// succeeded ends a delivery whose steps all ended. When every one of them had nothing to do, so had it.
func (r *run) succeeded() store.Outcome {
	message := ""
	for i := range r.steps {
		result, _ := r.results[r.steps[i].ID].(map[string]any)
		if result["status"] != statusSkipped {
			return store.Outcome{Verdict: store.VerdictSucceeded}
		}
		if said, ok := result["message"].(string); ok && message == "" {
			message = said
		}
	}
	return store.Outcome{Verdict: store.VerdictSkipped, Reason: core.ReasonSkipped, Message: message}
}

// one runs a step, unless it ended in an earlier attempt. It returns the outcome when the attempt ends here.
func (r *run) one(ctx context.Context, s *compiled, last bool) *store.Outcome {
	if r.kept(s) {
		return nil
	}
	if ctx.Err() != nil {
		end := interrupted(ctx, "interrupted before step "+s.ID)
		return &end
	}
	began := r.o.Now()
	r.begun = false
	effects := newEffects(r.o.Store, r.holder, r.claimed.Delivery.Destination.Tenant, s.connectionName)
	result, err := r.attempt(ctx, s, effects)
	var failed core.Reason
	if err != nil && s.OnError == "continue" && continues(ctx, err, effects) {
		failure := r.asFailure(s, err)
		failed = failure.Reason
		result, err = Result{"status": statusFailed, "reason": string(failure.Reason), "message": readable(failure.Message, maxMessage)}, nil
	}
	var raw []byte
	var plain map[string]any
	if err == nil {
		raw, plain, err = encodeResult(result, last)
	}
	if err != nil {
		end := r.end(ctx, s, effects, err)
		if r.begun && end.Verdict != store.VerdictDead {
			r.unsaved = append(r.unsaved, notDone(s))
		}
		r.trace.add(s, statusOf(end.Verdict), end.Reason, end.Message, r.o.Now().Sub(began))
		return &end
	}
	r.results[s.ID] = plain
	r.traceResult(s, plain, failed, r.o.Now().Sub(began))
	return r.save(ctx, s, raw, plain, last)
}

// kept takes over the result of an earlier attempt that did the same.
func (r *run) kept(s *compiled) bool {
	for _, stored := range r.claimed.Steps {
		if stored.Step != s.ID || stored.Definition != s.definition {
			continue
		}
		plain, err := decodeResult(stored.Result)
		if err != nil {
			return false // not readable: not done
		}
		r.results[s.ID] = plain
		r.trace.add(s, "kept", "", "", 0)
		return true
	}
	return false
}

// attempt evaluates a step's condition and parameters, and runs it.
func (r *run) attempt(ctx context.Context, s *compiled, effects *heldEffects) (result Result, err error) {
	if s.when != nil {
		holds, err := s.when.Eval(ctx, r.vars())
		if err != nil {
			return nil, r.expressionFailure(ctx, err)
		}
		if !holds {
			return Result{"status": statusSkipped}, nil
		}
	}
	with, err := r.evaluate(ctx, s)
	if err != nil {
		return nil, err
	}
	if s.stopsOnUnknown() && r.failure == nil {
		if err := r.begin(ctx, s); err != nil {
			return nil, err
		}
	}
	d := &r.claimed.Delivery
	call := &Call{
		With: with, Connection: s.connection, ConnectionName: s.connectionName, StepID: s.ID,
		Delivery: *d, Event: &r.claimed.Event, IdempotencyKey: idempotencyKey(d, s.ID), Effects: effects, Now: r.o.Now,
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	defer func() {
		// A fault in one step must not take the process and everybody's deliveries with it.
		if fault := recover(); fault != nil {
			result, err = nil, fmt.Errorf("step %s panicked: %v\n%s", s.Use, fault, debug.Stack())
		}
	}()
	return s.kind.Run(ctx, call)
}

// evaluate computes a step's parameters.
func (r *run) evaluate(ctx context.Context, s *compiled) (map[string]any, error) {
	with := make(map[string]any, len(s.params))
	for _, p := range s.params {
		if p.template == nil {
			if p.Default != nil {
				with[p.Name] = p.Default
			}
			continue
		}
		value, err := r.value(ctx, p)
		if err != nil {
			return nil, err
		}
		if value == nil {
			if p.Required {
				return nil, parameterFailure(s, p.Name, errors.New("it is null, and must be given"))
			}
			if p.Default != nil {
				with[p.Name] = p.Default
			}
			continue
		}
		if with[p.Name], err = convert(p.Param, value); err != nil {
			return nil, parameterFailure(s, p.Name, err)
		}
	}
	return with, nil
}

func (r *run) value(ctx context.Context, p boundParam) (any, error) {
	if p.Encode == nil {
		value, err := p.template.Eval(ctx, r.vars())
		if err != nil {
			return nil, r.expressionFailure(ctx, err)
		}
		return value, nil
	}
	pieces, err := p.template.Pieces(ctx, r.vars())
	if err != nil {
		return nil, r.expressionFailure(ctx, err)
	}
	text, err := p.Encode(pieces)
	if err != nil {
		return nil, &Failure{Disposition: Final, Reason: core.ReasonParameter, Message: p.Name + ": " + err.Error(), Cause: err}
	}
	return text, nil
}

func parameterFailure(s *compiled, name string, err error) *Failure {
	return &Failure{Disposition: Final, Reason: core.ReasonParameter, Message: fmt.Sprintf("step %s, %s: %v", s.ID, name, err), Cause: err}
}

// expressionFailure is final: the event doesn't change, so neither does what the expression gives.
func (r *run) expressionFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.dataErr != nil {
		return &Failure{Disposition: Final, Reason: core.ReasonInvalidData,
			Message: fmt.Sprintf("the event's body can't be read: %v (%v)", r.dataErr, err), Cause: err}
	}
	return &Failure{Disposition: Final, Reason: core.ReasonExpression, Message: err.Error(), Cause: err}
}

// vars are what expressions see now. Reading the body is put off until one looks.
func (r *run) vars() expr.Vars {
	if r.scope != nil {
		return r.scope
	}
	var event map[string]any
	var normalized map[string]any
	if r.o.Normalized != nil {
		normalized = r.o.Normalized(&r.claimed.Event)
	}
	event, r.dataErr = eventVars(&r.claimed.Event, normalized)
	r.scope = expr.Vars{"event": event, "steps": r.results}
	if r.failure != nil {
		r.scope["failure"] = r.failure
	}
	return r.scope
}

// save keeps a finished step's result before the next step may start. What was only skipped would be
// skipped again, and the last step's result goes with the outcome: neither needs a commit of its own. But
// results are stored in the steps' order, by which a replay from a step knows what came before it.
func (r *run) save(ctx context.Context, s *compiled, raw []byte, plain map[string]any, last bool) *store.Outcome {
	r.unsaved = append(r.unsaved, store.StepResult{Step: s.ID, Definition: s.definition, Result: raw})
	if last || plain["status"] == statusSkipped {
		return nil
	}
	if ctx.Err() != nil {
		end := interrupted(ctx, "interrupted after step "+s.ID)
		return &end
	}
	err := r.flush(ctx)
	if errors.Is(err, store.ErrLostClaim) {
		end := lost()
		return &end
	}
	if err != nil {
		r.o.Log.Error("a step's result could not be kept; the delivery goes on later", "delivery", r.holder.Delivery.String(), "step", s.ID, "error", err)
		return &store.Outcome{Verdict: store.VerdictDefer, Delay: storeAway, Reason: core.ReasonInternal, Message: "the store was away after step " + s.ID}
	}
	return nil
}

// flush keeps what isn't kept yet, in order.
func (r *run) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWrite)
	defer cancel()
	for len(r.unsaved) > 0 {
		if err := r.o.Store.SaveStep(ctx, r.holder, r.unsaved[0]); err != nil {
			return err
		}
		r.unsaved = r.unsaved[1:]
	}
	return nil
}

func (r *run) traceResult(s *compiled, plain map[string]any, failed core.Reason, took time.Duration) {
	status, _ := plain["status"].(string)
	message, _ := plain["message"].(string)
	if status != statusSkipped && status != statusFailed {
		status = statusDone
	}
	r.trace.add(s, status, failed, message, took)
}
