package postgres

import (
	"context"
	"errors"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"relais/internal/core"
	"relais/internal/store"
)

const rejectionColumns = `id, tenant, source, at, reason, detail, status, address, method, path, query, body_size, complete, event, header, coalesce(format, '')`

// scanRejection reads rejectionColumns, and the body where it follows them.
func scanRejection(row pgx.Row, body bool) (store.Rejection, error) {
	var r store.Rejection
	var at int64
	var detail, address, method, path, query []byte
	var event pgtype.UUID
	into := []any{
		&r.ID, &r.Tenant, &r.Source, &at, (*string)(&r.Reason), &detail, &r.Status, &address, &method, &path, &query,
		&r.BodySize, &r.Complete, &event, &r.Header, (*string)(&r.Format),
	}
	if body {
		into = append(into, &r.Body)
	}
	if err := row.Scan(into...); err != nil {
		return store.Rejection{}, err
	}
	r.At, r.Event = moment(at), event.Bytes
	r.Detail, r.Address, r.Method, r.Path, r.Query = string(detail), string(address), string(method), string(path), string(query)
	return r, nil
}

// Rejection implements store.Reader.
func (s *Store) Rejection(ctx context.Context, id int64) (store.Rejection, error) {
	var r store.Rejection
	err := s.read(ctx, func(t *tx) (err error) {
		r, err = scanRejection(t.row("SELECT "+rejectionColumns+", body FROM rejection WHERE id = $1", id), true)
		if errors.Is(err, pgx.ErrNoRows) {
			return core.Errorf(core.CodeNotFound, "there is no rejection %d", id)
		}
		return err
	})
	return r, err
}

// Rejections implements store.Reader.
func (s *Store) Rejections(ctx context.Context, f store.RejectionFilter) ([]store.Rejection, error) {
	before := f.Before
	if before <= 0 {
		before = math.MaxInt64
	}
	sql := "SELECT " + rejectionColumns
	if f.Body {
		sql += ", body"
	}
	sql += " FROM rejection WHERE id < $1 AND ($2 = '' OR reason = $2) AND at >= $3"
	args := []any{before, clean(string(f.Reason)), micros(f.Since), pageOf(f.Limit)}
	if f.Source != "" {
		sql += " AND source = $5"
		args = append(args, clean(f.Source))
	}
	var rejections []store.Rejection
	err := s.read(ctx, func(t *tx) error {
		rows, err := t.query(sql+" ORDER BY id DESC LIMIT $4", args...)
		if err != nil {
			return err
		}
		rejections, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Rejection, error) { return scanRejection(row, f.Body) })
		return err
	})
	return rejections, err
}
