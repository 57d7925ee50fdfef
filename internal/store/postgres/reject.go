package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// rejectionsOver is how many rejections beyond the bounds one operation deletes on top of those that it
// adds: bounds that were lowered are reached in steps.
const rejectionsOver = 64

// AppendRejections implements store.Rejector. One node at a time adds some, which is how they give way: what
// they take of the database doesn't grow with the number of nodes.
func (s *Store) AppendRejections(ctx context.Context, batch []store.Rejection, bounds store.RejectionBounds) error {
	if len(batch) == 0 {
		return nil
	}
	return s.transact(ctx, func(t *tx) error {
		if err := t.exec("SELECT pg_advisory_xact_lock(hashtextextended('relais rejections', 0))"); err != nil {
			return err
		}
		if err := t.insertRejections(batch); err != nil {
			return err
		}
		if err := t.boundSources(batch, bounds); err != nil {
			return err
		}
		return t.boundRejections(int64(len(batch))+rejectionsOver, bounds)
	})
}

func (t *tx) insertRejections(batch []store.Rejection) error {
	columns := []string{
		"tenant", "source", "at", "reason", "detail", "status", "address", "method", "path", "query",
		"body_size", "complete", "event", "bytes", "header", "body", "format",
	}
	_, err := t.conn.CopyFrom(t.ctx, pgx.Identifier{"rejection"}, columns, pgx.CopyFromSlice(len(batch), func(i int) ([]any, error) {
		r := &batch[i]
		size := int64(len(r.Header) + len(r.Body) + len(r.Detail) + len(r.Path) + len(r.Query))
		var event []byte
		if !r.Event.IsZero() {
			event = r.Event[:]
		}
		return []any{
			clean(tenantOr(r.Tenant)), clean(r.Source), micros(r.At), clean(string(r.Reason)), []byte(r.Detail), r.Status,
			[]byte(r.Address), []byte(r.Method), []byte(r.Path), []byte(r.Query), r.BodySize, r.Complete, event, size, r.Header, r.Body, textOrNull(string(r.Format)),
		}, nil
	}))
	return err
}

// boundSources deletes the oldest of the sources that were added to, beyond their bound.
func (t *tx) boundSources(batch []store.Rejection, bounds store.RejectionBounds) error {
	if bounds.PerSource <= 0 {
		return nil
	}
	sources := make([]string, len(batch))
	for i := range batch {
		sources[i] = clean(batch[i].Source)
	}
	return t.exec(`DELETE FROM rejection WHERE id IN (
		SELECT o.id FROM (SELECT source, rows FROM rejection_tally WHERE source = ANY ($1) AND rows > $2) s
		CROSS JOIN LATERAL (SELECT r.id FROM rejection r WHERE r.source = s.source ORDER BY r.id
			LIMIT least(s.rows - $2, $3)) o)`, sources, int64(bounds.PerSource), int64(len(batch))+rejectionsOver)
}

// boundRejections deletes the oldest of all that are too many bytes.
func (t *tx) boundRejections(most int64, bounds store.RejectionBounds) error {
	if bounds.Bytes <= 0 {
		return nil
	}
	// The oldest, as long as those before them aren't enough.
	return t.exec(`WITH over AS MATERIALIZED (SELECT coalesce(sum(bytes), 0) - $2 AS bytes FROM rejection_tally)
		DELETE FROM rejection WHERE id IN (
			SELECT o.id FROM (
				SELECT r.id, sum(r.bytes) OVER (ORDER BY r.id) - r.bytes AS before
				FROM (SELECT id, bytes FROM rejection WHERE (SELECT bytes FROM over) > 0 ORDER BY id LIMIT $1) r) o
			WHERE o.before < (SELECT bytes FROM over))`, most, bounds.Bytes)
}

// MarkRejectionAccepted implements store.Rejector.
func (s *Store) MarkRejectionAccepted(ctx context.Context, id int64, event core.EventID) error {
	return s.transact(ctx, func(t *tx) error {
		n, err := t.affect("UPDATE rejection SET event = $2 WHERE id = $1", id, [16]byte(event))
		if err == nil && n == 0 {
			return core.Errorf(core.CodeNotFound, "there is no rejection %d", id)
		}
		return err
	})
}
