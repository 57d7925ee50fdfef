package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	// eventSlimColumns are what scanEvent reads without the payload, and eventColumns with it, of a table e.
	eventSlimColumns = `e.seq, e.id, e.tenant, e.source, e.type, e.native, e.at, e.format, e.flags, e.repeat_of`
	eventColumns     = eventSlimColumns + `, e.header, e.query, e.path, e.body`

	// allEvents are the events of all days, and those that were kept when their day was dropped.
	allEvents = `(SELECT ` + eventFields + ` FROM event UNION ALL SELECT ` + eventFields + ` FROM event_kept)`
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
	store.SetEventFlags(&e, int64(flags))
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

const (
	// clockSlack is how far the order of arrival and the order of times may differ.
	clockSlack = time.Hour
	// searchFactor is how many times as long as another read one may take that no index leads.
	searchFactor = 5
	// A search looks at some numbers at a time, and at more while it finds nothing.
	firstSlice, lastSlice = 1 << 10, 1 << 16
)

// Events implements store.Reader. It goes through the events from the newest on, until the page is full or
// the reader's time is over. Each slice is a statement, and so a snapshot, of its own: nobody who searches
// keeps old versions of rows from being cleaned up.
func (s *Store) Events(ctx context.Context, f store.EventFilter) ([]core.Event, error) {
	var events []core.Event
	err := s.readWithin(ctx, searchFactor*s.readTime, func(t *tx) (err error) {
		events, err = t.findEvents(f)
		return err
	})
	return events, err
}

func (t *tx) findEvents(f store.EventFilter) ([]core.Event, error) {
	low, high, err := t.seqsBetween(f.Since, f.Until)
	if err != nil {
		return nil, err
	}
	if f.Before > 0 {
		high = min(high, f.Before)
	}
	columns := eventSlimColumns
	if f.Body {
		columns = eventColumns
	}
	sql := "SELECT " + columns + " FROM " + allEvents + ` e WHERE e.seq < $1 AND e.seq >= $2
		AND ($3::text = '' OR e.tenant = $3) AND ($4::text = '' OR e.source = $4) AND ($5::text = '' OR e.type ~ $5)
		AND e.at >= $6 AND ($7::bigint = 0 OR e.at <= $7) AND ($8 OR e.repeat_of IS NULL)
		ORDER BY e.seq DESC LIMIT $9`
	var events []core.Event
	for slice := int64(firstSlice); high > low; slice = min(2*slice, lastSlice) {
		from := max(low, high-slice)
		left := pageOf(f.Limit) - len(events)
		rows, err := t.query(sql, high, from, clean(f.Tenant), clean(f.Source), typeExpression(f.Type), micros(f.Since), micros(f.Until), f.Repeats, left)
		if err != nil {
			return nil, err
		}
		found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (core.Event, error) { return scanEvent(row, f.Body) })
		if err != nil {
			return nil, err
		}
		if events = append(events, found...); len(found) == left {
			break
		}
		high = from
	}
	return events, nil
}

// seqsBetween returns numbers such that whatever was received between the times has one of them, the second
// being the first that is too high. It halves: numbers are given in the order of arrival, nearly.
func (t *tx) seqsBetween(since, until time.Time) (low, high int64, err error) {
	if err := t.row("SELECT coalesce(min(e.seq), 0), coalesce(max(e.seq), -1) + 1 FROM "+allEvents+" e").Scan(&low, &high); err != nil {
		return 0, 0, err
	}
	if !until.IsZero() {
		if high, err = t.firstAfter(low, high, until.Add(clockSlack)); err != nil {
			return 0, 0, err
		}
	}
	if !since.IsZero() {
		if low, err = t.firstAfter(low, high, since.Add(-clockSlack)); err != nil {
			return 0, 0, err
		}
	}
	return low, high, nil
}

// firstAfter returns the first number, of low up to high, that came after that time.
func (t *tx) firstAfter(low, high int64, at time.Time) (int64, error) {
	for low < high {
		middle := low + (high-low)/2
		var next, received int64
		err := t.row("SELECT e.seq, e.at FROM "+allEvents+" e WHERE e.seq >= $1 ORDER BY e.seq LIMIT 1", middle).Scan(&next, &received)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			high = middle
		case err != nil:
			return 0, err
		case received > at.UnixMicro():
			high = middle
		default:
			low = next + 1
		}
	}
	return min(low, high), nil
}

// typeExpression is the pattern as a regular expression, "" when it matches all.
func typeExpression(p core.Pattern) string {
	segments := strings.Split(p.String(), ".")
	if !slices.ContainsFunc(segments, func(s string) bool { return s != "**" }) {
		return ""
	}
	// The dot that a segment needs stands before it, but for the first that must be there.
	out, dot := "^", ""
	for _, segment := range segments {
		switch {
		case segment == "**" && dot == "":
			out += `([^.]+\.)*`
		case segment == "**":
			out += `(\.[^.]+)*`
		case segment == "*":
			out, dot = out+dot+"[^.]+", `\.`
		default:
			out, dot = out+dot+segment, `\.`
		}
	}
	return out + "$"
}
