package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"relais/internal/core"
)

const (
	// eventSlimColumns are what scanEvent reads without the payload, and eventColumns with it, of a table e.
	eventSlimColumns = `e.seq, e.id, e.tenant, e.source, e.type, e.native, e.at, e.format, e.flags, e.repeat_of`
	eventColumns     = eventSlimColumns + `, e.header, e.query, e.path, e.body`

	// allEvents are the events of all days, and those that were kept when their day was dropped.
	allEvents = `(SELECT * FROM event UNION ALL SELECT * FROM event_kept)`
)

const (
	flagRedacted = 1
	flagTest     = 2
)

// scanEvent reads eventColumns, or eventSlimColumns when body is false. What else the row has after them
// goes to more.
func scanEvent(row pgx.Row, body bool, more ...any) (core.Event, error) {
	var (
		e           core.Event
		native      []byte
		query, path []byte
		at          int64
		flags       int16
		repeatOf    pgtype.UUID
		format      string
	)
	into := make([]any, 0, 14+len(more))
	into = append(into, &e.Seq, (*[16]byte)(&e.ID), &e.Tenant, &e.Source, &e.Type, &native, &at, &format, &flags, &repeatOf)
	if body {
		into = append(into, &e.Header, &query, &path, &e.Body)
	}
	if err := row.Scan(append(into, more...)...); err != nil {
		return core.Event{}, err
	}
	e.NativeType = e.Type
	if native != nil {
		e.NativeType = string(native)
	}
	e.ReceivedAt, e.Format = moment(at), core.DataFormat(format)
	e.Redacted, e.Test = flags&flagRedacted != 0, flags&flagTest != 0
	e.Query, e.Path = string(query), string(path)
	if repeatOf.Valid {
		e.RepeatOf = repeatOf.Bytes
	}
	return e, nil
}

// eventOf finds where an event stands.
func (t *tx) eventOf(id core.EventID) (day int32, seq int64, source string, found bool, err error) {
	err = t.row("SELECT e.day, e.seq, e.source FROM "+allEvents+" e WHERE e.id = $1 LIMIT 1", [16]byte(id)).Scan(&day, &seq, &source)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, 0, "", false, nil
	}
	return day, seq, source, err == nil, err
}

// Event implements store.Reader.
func (s *Store) Event(ctx context.Context, id core.EventID) (core.Event, error) {
	var e core.Event
	err := s.read(ctx, func(t *tx) (err error) {
		e, err = scanEvent(t.row("SELECT "+eventColumns+" FROM "+allEvents+" e WHERE e.id = $1 LIMIT 1", [16]byte(id)), true)
		if errors.Is(err, pgx.ErrNoRows) {
			return core.Errorf(core.CodeNotFound, "there is no event %s", id)
		}
		return err
	})
	return e, err
}
