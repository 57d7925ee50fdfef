package sqlite

import (
	"context"
	"math"

	"relais/internal/core"
	"relais/internal/store"
)

const selectRejection = `SELECT id, tenant, source, at, reason, detail, status, address, method, path, query,
	body_size, complete, event, header, body, format FROM rejection`

func scanRejection(q *stmt, body bool) store.Rejection {
	r := store.Rejection{
		ID: q.colInt(0), Tenant: q.colText(1), Source: q.colText(2), At: moment(q.colInt(3)),
		Reason: core.RejectReason(q.colText(4)), Detail: q.colText(5), Status: int(q.colInt(6)), Address: q.colText(7),
		Method: q.colText(8), Path: q.colText(9), Query: q.colText(10), BodySize: q.colInt(11), Complete: q.colInt(12) != 0,
		Header: q.colBytes(14), Format: core.DataFormat(q.colText(16)),
	}
	copy(r.Event[:], q.view(13))
	if body {
		r.Body = q.colBytes(15)
	}
	return r
}

// Rejection implements store.Reader.
func (s *Store) Rejection(ctx context.Context, id int64) (store.Rejection, error) {
	var r store.Rejection
	err := s.read(ctx, func(c *conn) error {
		q := c.q(selectRejection + " WHERE id = ?").int(id)
		found := q.next()
		if found {
			r = scanRejection(q, true)
		}
		if err := q.end(); err != nil || found {
			return err
		}
		return core.Errorf(core.CodeNotFound, "there is no rejection %d", id)
	})
	return r, err
}

// Rejections implements store.Reader.
func (s *Store) Rejections(ctx context.Context, f store.RejectionFilter) ([]store.Rejection, error) {
	before := f.Before
	if before <= 0 {
		before = math.MaxInt64
	}
	sql := selectRejection + " WHERE id < ?1 AND (?2 = '' OR reason = ?2) AND at >= ?3"
	if f.Source != "" {
		sql += " AND source = ?5"
	}
	var rejections []store.Rejection
	err := s.read(ctx, func(c *conn) error {
		q := c.q(sql + " ORDER BY id DESC LIMIT ?4").int(before).text(string(f.Reason)).int(micros(f.Since)).int(pageOf(f.Limit))
		if f.Source != "" {
			q.text(f.Source)
		}
		for q.next() {
			rejections = append(rejections, scanRejection(q, f.Body))
		}
		return q.end()
	})
	return rejections, err
}
