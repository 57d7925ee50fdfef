package sqlite

import (
	"context"
	"math"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// clockSlack is how far the order of arrival and the order of times may differ.
const clockSlack = time.Hour

// Event implements store.Reader.
func (s *Store) Event(ctx context.Context, id core.EventID) (core.Event, error) {
	var e core.Event
	err := s.read(ctx, func(c *conn) error {
		q := c.q(selectEvent + " WHERE e.id = ?").blob(id[:])
		found := q.next()
		if found {
			e = scanEvent(q, true)
		}
		if err := q.end(); err != nil || found {
			return err
		}
		return core.Errorf(core.CodeNotFound, "there is no event %s", id)
	})
	return e, err
}

// Events implements store.Reader. It goes through the events from the newest on, until the page is full
// or the reader's time is over.
func (s *Store) Events(ctx context.Context, f store.EventFilter) ([]core.Event, error) {
	var events []core.Event
	err := s.read(ctx, func(c *conn) error {
		before, err := startOf(c, "event", "seq", "at", f.Before, f.Until)
		if err != nil {
			return err
		}
		sql := selectEventSlim
		if f.Body {
			sql = selectEvent
		}
		sql += ` WHERE e.seq < ?1 AND (?2 = '' OR e.tenant = (SELECT id FROM name WHERE text = ?2))
			AND (?3 = '' OR e.source = (SELECT id FROM name WHERE text = ?3)) AND (?4 OR e.repeat_of IS NULL)
			ORDER BY e.seq DESC`
		q := c.q(sql).int(before).text(f.Tenant).text(f.Source).bool(f.Repeats)
		since, until := micros(f.Since), micros(f.Until)
		for int64(len(events)) < pageOf(f.Limit) && q.next() {
			at := q.colInt(6)
			if at < since-clockSlack.Microseconds() {
				break
			}
			if at < since || (until != 0 && at > until) || !f.Type.Match(q.colText(4)) {
				continue
			}
			events = append(events, scanEvent(q, f.Body))
		}
		return q.end()
	})
	return events, err
}

// startOf returns the number below which a page starts: what the page before ended with, or, by
// bisection, what came up to a while after until.
func startOf(c *conn, table, number, at string, before int64, until time.Time) (int64, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	if until.IsZero() {
		return before, nil
	}
	limit := until.Add(clockSlack).UnixMicro()
	top, err := pragma(c, "SELECT ifnull(max("+number+"), 0) FROM "+table)
	if err != nil {
		return 0, err
	}
	low, high := int64(0), top+1
	for low < high {
		middle := low + (high-low)/2
		q := c.q("SELECT " + at + " FROM " + table + " WHERE " + number + " >= ? ORDER BY " + number + " LIMIT 1").int(middle)
		later := !q.next() || q.colInt(0) > limit
		if err := q.end(); err != nil {
			return 0, err
		}
		if later {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return min(before, low), nil
}
