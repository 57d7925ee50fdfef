package sqlite

import (
	"context"
	"math"

	"relais/internal/core"
	"relais/internal/store"
)

// rejectionsOver is how many rejections beyond the bounds one operation deletes on top of those that it
// adds: bounds that were lowered are reached in steps.
const rejectionsOver = 64

// AppendRejections implements store.Rejector.
func (s *Store) AppendRejections(ctx context.Context, batch []store.Rejection, bounds store.RejectionBounds) error {
	if len(batch) == 0 {
		return nil
	}
	return s.do(ctx, rejecting, func(t *tx) error {
		added := map[string]int64{}
		for i := range batch {
			if err := t.insertRejection(&batch[i]); err != nil {
				return err
			}
			added[batch[i].Source]++
		}
		for source, n := range added {
			if err := t.c.q(`INSERT INTO rejection_count (source, rows) VALUES (?, ?)
				ON CONFLICT (source) DO UPDATE SET rows = rows + excluded.rows`).text(source).int(n).exec(); err != nil {
				return err
			}
			if err := t.boundSource(source, n, bounds); err != nil {
				return err
			}
		}
		return t.boundRejections(int64(len(batch))+rejectionsOver, bounds)
	})
}

func (t *tx) insertRejection(r *store.Rejection) error {
	size := int64(len(r.Header) + len(r.Body) + len(r.Detail) + len(r.Path) + len(r.Query))
	id := t.m.rejection + 1
	q := t.c.q(`INSERT INTO rejection (id, tenant, source, at, reason, detail, status, address, method, path, query,
		body_size, complete, bytes, header, body, format, event) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`).
		int(id).text(tenantOr(r.Tenant)).text(r.Source).int(micros(r.At)).text(string(r.Reason)).text(r.Detail).
		int(int64(r.Status)).text(r.Address).text(r.Method).text(r.Path).text(r.Query).int(r.BodySize).
		bool(r.Complete).int(size).blob(r.Header).blob(r.Body).textOrNull(string(r.Format))
	if r.Event.IsZero() {
		q.null()
	} else {
		q.blob(r.Event[:])
	}
	if err := q.exec(); err != nil {
		return err
	}
	t.m.rejection = id
	t.m.rejectionBytes += size
	return nil
}

// boundSource deletes the oldest of a source beyond its bound.
func (t *tx) boundSource(source string, added int64, bounds store.RejectionBounds) error {
	if bounds.PerSource <= 0 {
		return nil
	}
	q := t.c.q("SELECT rows FROM rejection_count WHERE source = ?").text(source)
	rows := int64(0)
	if q.next() {
		rows = q.colInt(0)
	}
	if err := q.end(); err != nil {
		return err
	}
	over := min(rows-int64(bounds.PerSource), added+rejectionsOver)
	if over <= 0 {
		return nil
	}
	_, err := t.deleteRejections(t.c.q("SELECT id, source, bytes FROM rejection WHERE source = ? ORDER BY id LIMIT ?").
		text(source).int(over), math.MaxInt64)
	return err
}

// boundRejections deletes the oldest of all that are too many bytes.
func (t *tx) boundRejections(most int64, bounds store.RejectionBounds) error {
	over := t.m.rejectionBytes - bounds.Bytes
	if bounds.Bytes <= 0 || over <= 0 {
		return nil
	}
	_, err := t.deleteRejections(t.c.q("SELECT id, source, bytes FROM rejection ORDER BY id LIMIT ?").int(most), over)
	return err
}

// deleteRejections deletes the rows that q selects until they make that many bytes, and returns how many.
func (t *tx) deleteRejections(q *stmt, enough int64) (int, error) {
	var ids []int64
	freed := int64(0)
	gone := map[string]int64{}
	for freed < enough && q.next() {
		ids = append(ids, q.colInt(0))
		gone[q.colText(1)]++
		freed += q.colInt(2)
	}
	if err := q.end(); err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := t.c.q("DELETE FROM rejection WHERE id = ?").int(id).exec(); err != nil {
			return 0, err
		}
	}
	for source, n := range gone {
		if err := t.c.q("UPDATE rejection_count SET rows = rows - ? WHERE source = ?").int(n).text(source).exec(); err != nil {
			return 0, err
		}
		if err := t.c.q("DELETE FROM rejection_count WHERE source = ? AND rows <= 0").text(source).exec(); err != nil {
			return 0, err
		}
	}
	t.m.rejectionBytes -= freed
	if len(ids) == 0 {
		return 0, nil
	}
	return len(ids), t.saveFloors()
}

// MarkRejectionAccepted implements store.Rejector.
func (s *Store) MarkRejectionAccepted(ctx context.Context, id int64, event core.EventID) error {
	return s.do(ctx, rejecting, func(t *tx) error {
		if err := t.c.q("UPDATE rejection SET event = ? WHERE id = ?").blob(event[:]).int(id).exec(); err != nil {
			return err
		}
		if t.c.changes() == 0 {
			return core.Errorf(core.CodeNotFound, "there is no rejection %d", id)
		}
		return nil
	})
}
