package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

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
