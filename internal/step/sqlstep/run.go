package sqlstep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/expr"
	"relais/internal/step"
)

// settle bounds a COMMIT or a ROLLBACK that a stop must not cut short: the answer would have to be found out
// again.
const settle = 10 * time.Second

// effectsTable is where exact steps note what they did.
const effectsTable = "relais_effects"

func run(ctx context.Context, call *step.Call, readOnly bool) (step.Result, error) {
	c, ok := call.Connection.(*Connection)
	if !ok {
		return nil, fmt.Errorf("an SQL step got a connection of type %T", call.Connection)
	}
	list, err := statements(call.With)
	if err != nil {
		return nil, parameter(err)
	}
	e := &execution{Connection: c, list: list, readOnly: readOnly, delivery: call.Delivery.ID.String(), step: call.StepID}
	for i := range list {
		args, err := bind(list[i].args)
		if err != nil {
			return nil, parameter(e.placed(i, err))
		}
		list[i].args = args
	}
	if c.effects && !readOnly {
		if e.key, err = effectKey(call); err != nil {
			return nil, parameter(err)
		}
	}
	return e.run(ctx)
}

func parameter(err error) *step.Failure {
	return &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: err.Error(), Cause: err}
}

// execution is one attempt at a step's transaction.
type execution struct {
	*Connection
	list     []statement
	readOnly bool
	delivery string
	step     string // its id
	key      string // of the effect; "" without one
}

// placed names the statement that an error is about, where there are several.
func (e *execution) placed(i int, err error) error {
	if len(e.list) == 1 {
		return err
	}
	return fmt.Errorf("statement %d: %w", i+1, err)
}

func (e *execution) run(ctx context.Context) (step.Result, error) {
	tx, err := e.begin(ctx, e.readOnly)
	if err != nil {
		return nil, e.failure(ctx, err, connecting)
	}
	defer tx.rollback()
	if e.key != "" {
		before, err := tx.mark(ctx, e.key, e.delivery)
		if err != nil {
			return nil, e.failure(ctx, err, marking)
		}
		if before != nil {
			return e.repeated(before)
		}
		if err := e.at(PointMarked); err != nil {
			return nil, err
		}
	}
	result, err := e.statements(ctx, tx)
	if err != nil {
		return nil, err
	}
	if e.key != "" {
		text, err := json.Marshal(e.withStep(result))
		if err != nil {
			return nil, fmt.Errorf("encode an effect's result: %w", err)
		}
		if err := tx.keep(ctx, e.key, string(text)); err != nil {
			return nil, e.failure(ctx, err, marking)
		}
	}
	if err := e.at(PointRan); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, e.failure(ctx, ctx.Err(), running)
	}
	if e.readOnly {
		return result, nil // there is nothing to commit
	}
	settled, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	if err := tx.commit(settled); err != nil {
		return nil, e.failure(settled, err, committing)
	}
	if err := e.at(PointCommitted); err != nil {
		return nil, err
	}
	return result, nil
}

// memberStep is the member of a kept result that says whose it is.
const memberStep = "step"

func (e *execution) withStep(result step.Result) map[string]any {
	out := maps.Clone(map[string]any(result))
	out[memberStep] = e.step
	return out
}

// repeated is the result of an effect that was found done.
func (e *execution) repeated(before *noted) (step.Result, error) {
	value, err := expr.DecodeJSON([]byte(before.result))
	result, ok := value.(map[string]any)
	if err != nil || !ok {
		// A person wrote the row: it says that it was done, and no more.
		result = map[string]any{}
	}
	if by, _ := result[memberStep].(string); by != "" && by != e.step && before.delivery == e.delivery {
		// Nothing was repeated: this step would do nothing at all, and say that it was done.
		return nil, parameter(fmt.Errorf("key: the step %s of this delivery has the same: what each step does is done once under a key of its own", by))
	}
	delete(result, memberStep)
	result["repeated"] = true
	return result, nil
}

func (e *execution) statements(ctx context.Context, tx transaction) (step.Result, error) {
	var total int64
	var affected []any
	var last *rows
	for i, s := range e.list {
		if err := e.check(s.text); err != nil {
			return nil, parameter(e.placed(i, err))
		}
		args, _ := s.args.([]any)
		got := &rows{stopAtLimit: e.readOnly}
		n, err := tx.run(ctx, s.text, args, got)
		if err != nil {
			var failure *step.Failure
			if errors.As(e.failure(ctx, err, running), &failure) {
				failure.Message = e.placed(i, errors.New(failure.Message)).Error()
				return nil, failure
			}
			return nil, err
		}
		if !s.expect.met(n, got.unread) {
			return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonRows,
				Message: e.placed(i, fmt.Errorf("%d rows, and the step expects %s: nothing was changed", n, s.expect)).Error()}
		}
		total += n
		affected = append(affected, n)
		if got.columns != nil {
			last = got
		}
	}
	result := step.Result{}
	if !e.readOnly {
		result["rows_affected"] = total
		if len(e.list) > 1 {
			result["affected"] = affected
		}
	}
	if last == nil && e.readOnly {
		last = &rows{}
	}
	if last != nil {
		last.write(result)
	}
	return result, nil
}

// stage is how far a transaction had come.
type stage int

const (
	connecting stage = iota
	marking
	running
	committing
)

// verdict is what a server's own error means.
type verdict struct {
	disposition step.Disposition
	reason      core.Reason
	said        string
	noTable     bool // there is no such table
	readsOnly   bool // nothing can be changed, by the server's word
	undecided   bool // what became of a COMMIT can't be told from it
}

// failure tells what an error means for the delivery. Before the COMMIT nothing was done, so that what may
// pass is tried again.
func (e *execution) failure(ctx context.Context, err error, at stage) error {
	var known *step.Failure
	if errors.As(err, &known) {
		return known
	}
	if v := e.judge(err); v != nil && ctx.Err() == nil && (at != committing || !v.undecided) {
		if v.readsOnly && !e.readOnly {
			// Not by this transaction's doing: a standby, or a server that is full. Either passes.
			v.disposition, v.reason = step.Retry, core.ReasonMaintenance
		}
		if v.noTable && at == marking {
			return &step.Failure{Disposition: step.Final, Reason: core.ReasonStatement, Cause: err,
				Message: fmt.Sprintf("effects: true needs the table %s, and %s has none (%s). Make it with: %s", effectsTable, e.name(), cut(v.said), e.ddl())}
		}
		return &step.Failure{Disposition: v.disposition, Reason: v.reason, Message: e.name() + ": " + cut(v.said), Cause: err}
	}
	if at == committing {
		return &step.Failure{Disposition: step.Unknown, Reason: core.ReasonUnknown, Cause: err,
			Message: e.name() + ": the connection broke during the commit, and it isn't known whether the transaction was done"}
	}
	failure := &step.Failure{Disposition: step.Retry, Reason: egress.Classify(err), Message: e.name() + ": " + egress.Explain(err), Cause: err}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		failure.Reason, failure.Message = core.ReasonInterrupted, "interrupted"
	case ctx.Err() != nil:
		failure.Reason, failure.Message = core.ReasonTimeout, e.name()+": no answer within the step's timeout; nothing was done"
	case failure.Reason == core.ReasonAddress:
		failure.Disposition = step.Final
	case failure.Reason == core.ReasonInternal && at == connecting:
		failure.Reason, failure.Message = core.ReasonReset, e.name()+": no connection could be made; look at the address, the user and the TLS settings"
	case failure.Reason == core.ReasonInternal:
		failure.Reason, failure.Message = core.ReasonReset, e.name()+": the connection broke; nothing was done"
	}
	return failure
}

// maxSaid bounds what is told of a server's words: they may quote a value.
const maxSaid = 300

func cut(text string) string {
	if runes := []rune(text); len(runes) > maxSaid {
		return string(runes[:maxSaid]) + "…"
	}
	return text
}
