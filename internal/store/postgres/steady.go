package postgres

import "github.com/jackc/pgx/v5"

// steadyPlans keeps the plans of the lanes' statements the same whatever the tables hold at the moment. A
// queue is empty when its statement is planned and a million rows long a minute later; the server would
// keep the plan that reads it whole until it has analyzed the table. They hold for one transaction.
//
// There, rows are joined by d.id = ANY (ARRAY[o.id]). By d.id = o.id the planner may go through the whole index in its
// order and look each row's id up among the others: the least work while a table has a page, and the most a burst later.
const (
	steadyPlans    = "SELECT " + steadySettings
	steadySettings = `set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
		set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true)`
)

// send runs several statements of a transaction in one round trip. read gets their results, in order.
func (t *tx) send(queue func(*pgx.Batch), read func(pgx.BatchResults) error) error {
	batch := &pgx.Batch{}
	queue(batch)
	results := t.conn.SendBatch(t.ctx, batch)
	err := read(results)
	if closed := results.Close(); err == nil {
		err = closed
	}
	return err
}

// skip passes over the results of statements whose success is all that matters.
func skip(results pgx.BatchResults, n int) error {
	for range n {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	return nil
}
