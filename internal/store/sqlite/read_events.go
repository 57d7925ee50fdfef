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
// or the reader's time is over, and reads the whole of those that it returns.
func (s *Store) Events(ctx context.Context, f store.EventFilter) ([]core.Event, error) {
	var events []core.Event
	err := s.search(ctx, func(c *conn, pace *pace) (err error) {
		events, err = findEvents(c, pace, f)
		return err
	})
	return events, err
}

// readEvents reads events that were found in this snapshot.
func readEvents(c *conn, seqs []int64, body bool) (events []core.Event, err error) {
	sql := selectEventSlim
	if body {
		sql = selectEvent
	}
	for _, seq := range seqs {
		q := c.q(sql + " WHERE e.seq = ?").int(seq)
		if q.next() {
			events = append(events, scanEvent(q, body))
		}
		if err := q.end(); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// findEvents returns a page of events. It looks at a slice of them at a time, each in a snapshot of its own.
func findEvents(c *conn, pace *pace, f store.EventFilter) (events []core.Event, err error) {
	before, err := startOf(c, "event", "seq", "at", f.Before, f.Until)
	if err != nil {
		return nil, err
	}
	tenant, err := nameID(c, f.Tenant)
	if err != nil {
		return nil, err
	}
	source, err := nameID(c, f.Source)
	if err != nil {
		return nil, err
	}
	var typ string // of the event before: the next one mostly has the same
	wanted := f.Type.Match(typ)
	since, until := micros(f.Since), micros(f.Until)
	for {
		seen := 0
		var found []int64
		q := c.q("SELECT seq, at, type, tenant, source, repeat_of IS NULL FROM event WHERE seq < ? ORDER BY seq DESC LIMIT ?").
			int(before).int(readSlice)
		for int64(len(events)+len(found)) < pageOf(f.Limit) && q.next() {
			seen++
			before = q.colInt(0)
			at := q.colInt(1)
			if at < since-clockSlack.Microseconds() {
				break
			}
			if next := q.view(2); string(next) != typ {
				typ = string(next)
				wanted = f.Type.Match(typ)
			}
			switch {
			case at < since, until != 0 && at > until, !wanted, !f.Repeats && q.colInt(5) == 0,
				tenant != anyName && q.colInt(3) != tenant, source != anyName && q.colInt(4) != source:
			default:
				found = append(found, before)
			}
		}
		if err := q.end(); err != nil {
			return nil, err
		}
		read, err := readEvents(c, found, f.Body)
		if events = append(events, read...); err != nil || seen < readSlice {
			return events, err
		}
		if err := pace.rest(); err != nil {
			return nil, err
		}
	}
}

const anyName = -1

// nameID returns the number of a name, 0 for one that nobody has, and anyName for "".
func nameID(c *conn, text string) (id int64, err error) {
	if text == "" {
		return anyName, nil
	}
	q := c.q("SELECT id FROM name WHERE text = ?").text(text)
	if q.next() {
		id = q.colInt(0)
	}
	return id, q.end()
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
