package sqlite

import (
	"context"
	"time"

	"relais/internal/store"
)

const (
	// A slice deletes this many events, or twice as many as have come since the slice before: few enough
	// for an answer that waits behind it, and retention keeps up with any flood.
	retainEvents = 32
	// retainSlice is how long a slice holds the writer at most, its commit left out.
	retainSlice = 5 * time.Millisecond
	// Pages are given back to the file system once this many, and a tenth of the file, are free: the
	// rest serves the next events.
	vacuumLeast  = 1024
	vacuumSlice  = "16"
	dedupSlice   = 16
	attemptSlice = 100
)

// retention is how far a pass over the events, and one over the attempts, has come.
type retention struct {
	event    int64
	delivery int64
	newest   int64 // the newest event when the last slice was done
	// passed says that the events were gone through: what comes after them is finished before they are
	// gone through again.
	passed bool
}

// Retain implements store.Keeper.
func (s *Store) Retain(ctx context.Context, p store.RetainParams) (store.Retained, error) {
	var done store.Retained
	err := s.do(ctx, housekeeping, func(t *tx) (err error) {
		done = store.Retained{}
		pass := &t.s.writer.retention
		if !pass.passed {
			if err := t.retainEvents(p, time.Now().Add(retainSlice), &done); err != nil {
				return err
			}
		}
		if done.Events > 0 {
			if err := t.saveFloors(); err != nil {
				return err
			}
		}
		if pass.event != 0 {
			done.More = true // the pass over the events goes on
			return nil
		}
		pass.passed = true
		// What comes after it is bounded by counts and not by the slice's time: on a machine on which the
		// pass takes all of that, retention would never end.
		if p.Attempts > 0 {
			if err := t.retainAttempts(t.now-p.Attempts.Microseconds(), &done); err != nil {
				return err
			}
		}
		if err := t.retainDedup(&done); err != nil {
			return err
		}
		err = t.vacuum(&done)
		pass.passed = done.More
		return err
	})
	return done, err
}

// retainEvents deletes events in order of arrival until one is young enough to stay.
func (t *tx) retainEvents(p store.RetainParams, end time.Time, done *store.Retained) error {
	tooLarge := false
	if p.SizeBytes > 0 {
		used, err := usedPages(t.c)
		if err != nil {
			return err
		}
		tooLarge = used*pageSize > p.SizeBytes
	}
	pass := &t.s.writer.retention
	most := max(retainEvents, 2*(t.m.event-pass.newest))
	pass.newest = t.m.event
	for looked := 0; ; looked++ {
		if int64(done.Events) == most || looked > 0 && !time.Now().Before(end) {
			done.More = true
			return nil
		}
		q := t.c.q("SELECT seq, at FROM event WHERE seq > ? ORDER BY seq LIMIT 1").int(pass.event)
		found := q.next()
		seq, at := q.colInt(0), q.colInt(1)
		if err := q.end(); err != nil {
			return err
		}
		old := p.Events > 0 && at < t.now-p.Events.Microseconds()
		if !found || (!old && !tooLarge) {
			pass.event = 0
			return nil
		}
		pass.event = seq
		deleted, err := t.retainEvent(seq, p, tooLarge)
		if err != nil {
			return err
		}
		if deleted {
			done.Events++
		}
		if tooLarge && done.Events > 0 && done.Events%16 == 0 {
			used, err := usedPages(t.c)
			if err != nil {
				return err
			}
			tooLarge = used*pageSize > p.SizeBytes
		}
	}
}

// retainEvent deletes an event unless something still needs it.
func (t *tx) retainEvent(seq int64, p store.RetainParams, tooLarge bool) (bool, error) {
	q := t.c.q("SELECT 1 FROM fan_out WHERE event = ?").int(seq)
	needed := q.next()
	if err := q.end(); err != nil || needed {
		return false, err
	}
	deliveries, err := t.deliveriesOf(seq)
	if err != nil {
		return false, err
	}
	for _, d := range deliveries {
		live := d.state < stateSucceeded || d.stops
		replayable := d.state == stateDead && d.finished > t.now-p.Dead.Microseconds()
		if live || (replayable && !tooLarge) {
			return false, nil
		}
	}
	return true, t.deleteEvent(seq, deliveries)
}

type deliveryRow struct {
	id, state, finished int64
	stops               bool
}

func (t *tx) deliveriesOf(seq int64) ([]deliveryRow, error) {
	var rows []deliveryRow
	q := t.c.q("SELECT id, state, finished, stops FROM delivery WHERE event = ?").int(seq)
	for q.next() {
		rows = append(rows, deliveryRow{id: q.colInt(0), state: q.colInt(1), finished: q.colInt(2), stops: q.colInt(3) != 0})
	}
	return rows, q.end()
}

func (t *tx) deleteEvent(seq int64, deliveries []deliveryRow) error {
	for _, d := range deliveries {
		for _, sql := range [...]string{
			"DELETE FROM attempt WHERE delivery = ?", "DELETE FROM step WHERE delivery = ?", "DELETE FROM delivery WHERE id = ?",
		} {
			if err := t.c.q(sql).int(d.id).exec(); err != nil {
				return err
			}
		}
		if d.state == stateDead {
			t.m.dead--
		}
	}
	for _, sql := range [...]string{
		"DELETE FROM fan_out WHERE event = ?", "DELETE FROM payload WHERE seq = ?", "DELETE FROM event WHERE seq = ?",
	} {
		if err := t.c.q(sql).int(seq).exec(); err != nil {
			return err
		}
	}
	return nil
}

// saveFloors keeps numbers from being given again when the rows that had them are gone.
func (t *tx) saveFloors() error {
	return t.c.q("UPDATE tally SET event_floor = ?, delivery_floor = ?, rejection_floor = ?").
		int(t.m.event).int(t.m.delivery).int(t.m.rejection).exec()
}

// retainAttempts deletes old attempts of deliveries that are kept. It looks at a bounded number of them,
// in order of delivery, and goes on from there the next time.
func (t *tx) retainAttempts(before int64, done *store.Retained) error {
	pass := &t.s.writer.retention
	q := t.c.q("SELECT delivery, claim, started FROM attempt WHERE delivery > ? ORDER BY delivery LIMIT ?").
		int(pass.delivery).int(attemptSlice)
	type attempt struct{ delivery, claim int64 }
	var old []attempt
	seen, young, last := 0, 0, pass.delivery
	for q.next() {
		seen++
		if q.colInt(2) < before {
			old = append(old, attempt{q.colInt(0), q.colInt(1)})
		} else {
			young++
		}
		last = q.colInt(0)
	}
	if err := q.end(); err != nil {
		return err
	}
	for _, a := range old {
		if err := t.c.q("DELETE FROM attempt WHERE delivery = ? AND claim = ?").int(a.delivery).int(a.claim).exec(); err != nil {
			return err
		}
	}
	done.Attempts = len(old)
	// Attempts are nearly in order of time: a stretch of young ones ends the pass.
	if seen < attemptSlice || young == seen {
		pass.delivery = 0
		return nil
	}
	pass.delivery = last - 1
	done.More = true
	return nil
}

// retainDedup deletes keys of buckets whose time has passed.
func (t *tx) retainDedup(done *store.Retained) error {
	q := t.c.q("SELECT bucket, part, run, length(keys) FROM dedup WHERE bucket < ? ORDER BY bucket, part, run LIMIT ?").
		int(t.now / 1e6).int(dedupSlice)
	var lapsed [][3]int64
	for q.next() {
		lapsed = append(lapsed, [3]int64{q.colInt(0), q.colInt(1), q.colInt(2)})
		done.DedupKeys += int(q.colInt(3) / entrySize)
	}
	if err := q.end(); err != nil {
		return err
	}
	for _, row := range lapsed {
		if err := t.c.q("DELETE FROM dedup WHERE bucket = ? AND part = ? AND run = ?").
			int(row[0]).int(row[1]).int(row[2]).exec(); err != nil {
			return err
		}
	}
	if len(lapsed) == dedupSlice {
		done.More = true
		return nil
	}
	done.DedupKeys += t.m.forgetKeys(t.now)
	return nil
}

// vacuum gives free pages back to the file system when there are many.
func (t *tx) vacuum(done *store.Retained) error {
	free, err := pragma(t.c, "PRAGMA freelist_count")
	if err != nil {
		return err
	}
	all, err := pragma(t.c, "PRAGMA page_count")
	if err != nil || free < vacuumLeast || free < all/10 {
		return err
	}
	done.More = true
	return t.c.q("PRAGMA incremental_vacuum(" + vacuumSlice + ")").exec()
}

func pragma(c *conn, sql string) (int64, error) {
	q := c.q(sql)
	v := int64(0)
	if q.next() {
		v = q.colInt(0)
	}
	return v, q.end()
}

// usedPages is the size that counts: pages that hold something.
func usedPages(c *conn) (int64, error) {
	all, err := pragma(c, "PRAGMA page_count")
	if err != nil {
		return 0, err
	}
	free, err := pragma(c, "PRAGMA freelist_count")
	return all - free, err
}
