package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// findBusy tells which of the chains $1, $2 somebody else holds. It takes the others for as long as its
// transaction lasts, which ends with it.
const findBusy = `SELECT c.lane, c.order_key FROM (SELECT DISTINCT lane, order_key FROM unnest($1::bigint[], $2::bytea[]) u(lane, order_key)) c
	WHERE NOT pg_try_advisory_xact_lock(` + chainLock + `)`

// busy finds the events of a batch whose chains kept it waiting for longer than it may. Nil says that none is
// held any more, or that nobody knows: the batch is tried once more.
func (p *appending) busy(ctx context.Context, s *Store, cause error) *store.BusyError {
	lanes, keys := chainArgs(p.rows.chains)
	held := map[chain]bool{}
	if err := s.exchange(ctx, func(b *pgx.Batch) { b.Queue(findBusy, lanes, keys) }, func(results pgx.BatchResults) error {
		rows, err := results.Query()
		if err != nil {
			return err
		}
		clear(held)
		var lane int64
		var key []byte
		_, err = pgx.ForEachRow(rows, []any{&lane, &key}, func() error {
			held[chain{lane, string(key)}] = true
			return nil
		})
		return err
	}); err != nil {
		clear(held)
	}
	var events []core.EventID
	for _, a := range p.events {
		for i := range a.Deliveries {
			if d := &a.Deliveries[i]; d.Ordered && held[chain{p.lanes[d.Destination], d.OrderKey}] {
				events = append(events, a.Event.ID)
				break
			}
		}
	}
	if len(events) == 0 {
		return nil
	}
	return &store.BusyError{Events: events, Cause: cause}
}
