package postgres

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// stepColumns are steps' results as a statement takes them: of counts from 1 which outcome a step is of.
type stepColumns struct {
	of                 []int32
	names, definitions []string
	places             []int32
	results            [][]byte
}

// add takes an outcome's steps. Of two results of one step the last counts.
func (c *stepColumns) add(outcome int, steps []store.StepResult) {
	at := make(map[string]int, len(steps))
	for i := range steps {
		name := clean(steps[i].Step)
		n, twice := at[name]
		if !twice {
			n = len(c.of)
			at[name] = n
			c.of, c.names, c.places = append(c.of, int32(outcome)+1), append(c.names, name), append(c.places, int32(i)) //nolint:gosec // 256 outcomes at most
			c.definitions, c.results = append(c.definitions, ""), append(c.results, nil)
		}
		c.definitions[n], c.results[n] = clean(steps[i].Definition), steps[i].Result
	}
}

// SaveStep implements store.Lanes. The delivery is locked, so that nobody takes it over before the step is
// there for whoever does.
func (s *Store) SaveStep(ctx context.Context, holder store.Holder, step store.StepResult) error {
	saved := false
	err := s.exchange(ctx, func(b *pgx.Batch) {
		b.Queue(steadyPlans)
		b.Queue(`WITH held AS (`+holding+`)
			INSERT INTO step (delivery, step, definition, ordinal, result)
			SELECT id, $4, $5, coalesce((SELECT max(ordinal) + 1 FROM step WHERE delivery = $1), 0), $6 FROM held
			ON CONFLICT (delivery, step) DO UPDATE SET definition = excluded.definition, result = excluded.result`,
			int64(holder.Delivery), holder.Claim, clean(holder.Node), clean(step.Step), clean(step.Definition), []byte(step.Result))
	}, func(answers pgx.BatchResults) error {
		if err := skip(answers, 1); err != nil {
			return err
		}
		tag, err := answers.Exec()
		saved = tag.RowsAffected() == 1
		return err
	})
	if err == nil && !saved {
		return store.ErrLostClaim
	}
	return err
}

// holding finds the delivery $1 if the claim $2 of the node $3 is its newest and still runs, and keeps it so
// until the transaction ends.
const holding = "SELECT id FROM delivery WHERE id = $1 AND claim = $2 AND node = $3 AND state + 0 = 1 FOR NO KEY UPDATE"

// doneStep is a step's result as it stands in delivery_done.steps.
type doneStep struct {
	Step       string          `json:"step"`
	Definition string          `json:"definition"`
	Result     json.RawMessage `json:"result"`
}

// encodeSteps writes steps as delivery_done holds them, each result as it is: nil where there are none. What is not
// JSON can't stand there.
func encodeSteps(steps []store.StepResult) (encoded []byte, ok bool) {
	for i := range steps {
		step := &steps[i]
		name, nameErr := json.Marshal(clean(step.Step))
		definition, definitionErr := json.Marshal(clean(step.Definition))
		if nameErr != nil || definitionErr != nil || !json.Valid(step.Result) {
			return nil, false
		}
		encoded = append(append(encoded, `,{"step":`...), name...)
		encoded = append(append(encoded, `,"definition":`...), definition...)
		encoded = append(append(append(encoded, `,"result":`...), step.Result...), '}')
	}
	if encoded == nil {
		return nil, true
	}
	encoded[0] = '[' // in the first comma's place
	return append(encoded, ']'), true
}

// stepsOf reads the steps of deliveries in the order of their results, from where they stand while a delivery lives and
// from where those stand that came with the outcome of one that succeeded.
func (t *tx) stepsOf(ids []int64) (map[int64][]store.StepResult, error) {
	rows, err := t.query("SELECT delivery, step, definition, result FROM step WHERE delivery = ANY($1::bigint[]) ORDER BY delivery, ordinal", ids)
	if err != nil {
		return nil, err
	}
	steps := make(map[int64][]store.StepResult, len(ids))
	var id int64
	var step store.StepResult
	if _, err := pgx.ForEachRow(rows, []any{&id, &step.Step, &step.Definition, (*[]byte)(&step.Result)}, func() error {
		steps[id] = append(steps[id], step)
		step.Result = nil
		return nil
	}); err != nil {
		return nil, err
	}
	if rows, err = t.query("SELECT id, steps FROM delivery_done WHERE id = ANY($1::bigint[]) AND steps IS NOT NULL", ids); err != nil {
		return nil, err
	}
	var encoded []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &encoded}, func() error {
		var done []doneStep
		if err := json.Unmarshal(encoded, &done); err != nil {
			return err
		}
		for _, d := range done {
			steps[id] = putStep(steps[id], store.StepResult(d))
		}
		return nil
	})
	return steps, err
}

// putStep adds a step's result, in the place of one that it had before.
func putStep(steps []store.StepResult, step store.StepResult) []store.StepResult {
	at := slices.IndexFunc(steps, func(s store.StepResult) bool { return s.Step == step.Step })
	if at < 0 {
		return append(steps, step)
	}
	steps[at] = step
	return steps
}

// Steps implements store.Reader.
func (s *Store) Steps(ctx context.Context, id core.DeliveryID) ([]store.StepResult, error) {
	var steps map[int64][]store.StepResult
	err := s.read(ctx, func(t *tx) (err error) {
		steps, err = t.stepsOf([]int64{int64(id)})
		return err
	})
	return steps[int64(id)], err
}
