package sqlite

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
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
	// This many sources are looked at for rejections, and of each this many of them.
	rejectionSources = 16
	rejectionSlice   = 64
)

// retention is how far a pass over the events, and one over the attempts, has come.
type retention struct {
	scans []scan
	scan  int // the one at work
	// general and own are the ages that the scans are for.
	general  time.Duration
	own      map[string]store.SourceAges
	oldest   int64 // as far as the pass over the oldest has come, which go while the file is too large
	delivery int64
	source   string // whose rejections were looked at last
	newest   int64  // the newest event when the last slice was done
	// passed says that the events were gone through: what comes after them is finished before they are
	// gone through again.
	passed bool
}

// scan goes through the events of the sources that have one age, in order of arrival, up to the first that is young.
// There it goes on the next time; once an hour it starts again, for those that something needed when it
// passed. With one scan for each age, it never passes what is to be old later.
type scan struct {
	age   time.Duration
	event int64
	again int64 // when it starts again
}

const scanAgain = time.Hour

// plan makes the scans anew when there are other ages than before.
func (r *retention) plan(p store.RetainParams) {
	if r.scans != nil && r.general == p.Events && maps.Equal(r.own, p.Sources) {
		return
	}
	r.general, r.own, r.scan, r.passed = p.Events, maps.Clone(p.Sources), 0, false
	ages := map[time.Duration]bool{p.Events: true}
	for _, own := range p.Sources {
		ages[cmp.Or(own.Events, p.Events)] = true
	}
	delete(ages, 0)
	r.scans = []scan{}
	for _, age := range slices.Sorted(maps.Keys(ages)) {
		r.scans = append(r.scans, scan{age: age})
	}
}

// Retain implements store.Keeper.
func (s *Store) Retain(ctx context.Context, p store.RetainParams) (store.Retained, error) {
	var done store.Retained
	err := s.do(ctx, housekeeping, func(t *tx) (err error) {
		done = store.Retained{}
		pass := &t.s.writer.retention
		pass.plan(p)
		if !pass.passed {
			through, err := t.retainEvents(p, time.Now().Add(retainSlice), &done)
			if err != nil {
				return err
			}
			if done.Events > 0 {
				if err := t.saveFloors(); err != nil {
					return err
				}
			}
			if !through {
				done.More = true
				return nil
			}
			pass.passed = true
		}
		// What comes after it is bounded by counts and not by the slice's time: on a machine on which the
		// pass takes all of that, retention would never end.
		if err := t.retainRejections(p, &done); err != nil {
			return err
		}
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

// retainEvents does the scans, and tells whether they are through. Then come the oldest, whoever sent them, as long as
// the file is too large.
func (t *tx) retainEvents(p store.RetainParams, end time.Time, done *store.Retained) (through bool, err error) {
	pass := &t.s.writer.retention
	slice := retainedSlice{tx: t, p: p, done: done, end: end, most: max(retainEvents, 2*(t.m.event-pass.newest)), own: t.ownAges(p)}
	pass.newest = t.m.event
	for ; pass.scan < len(pass.scans); pass.scan++ {
		s := &pass.scans[pass.scan]
		if t.now >= s.again {
			s.event, s.again = 0, t.now+scanAgain.Microseconds()
		}
		if through, err := slice.scan(s); err != nil || !through {
			return false, err
		}
	}
	if through, err := slice.shrink(&pass.oldest); err != nil || !through {
		return false, err
	}
	pass.scan, pass.oldest = 0, 0
	return true, nil
}

// ownAges are the ages of the sources that have their own, by the numbers of their names.
func (t *tx) ownAges(p store.RetainParams) map[int64]time.Duration {
	ages := map[int64]time.Duration{}
	for source, own := range p.Sources {
		if id, known := t.m.names[source]; known && own.Events > 0 {
			ages[id] = own.Events
		}
	}
	return ages
}

// retainedSlice is what one transaction deletes of the events.
type retainedSlice struct {
	*tx
	p      store.RetainParams
	done   *store.Retained
	own    map[int64]time.Duration
	end    time.Time
	most   int64
	looked int
}

// full tells whether others are waiting for long enough. A slice looks at one event at least.
func (s *retainedSlice) full() bool {
	s.looked++
	return int64(s.done.Events) >= s.most || s.looked > 1 && !time.Now().Before(s.end)
}

func (s *retainedSlice) next(after int64) (seq, at, source int64, err error) {
	q := s.c.q("SELECT seq, at, source FROM event WHERE seq > ? ORDER BY seq LIMIT 1").int(after)
	if q.next() {
		seq, at, source = q.colInt(0), q.colInt(1), q.colInt(2)
	}
	return seq, at, source, q.end()
}

func (s *retainedSlice) delete(seq int64, tooLarge bool) error {
	deleted, err := s.retainEvent(seq, s.p, tooLarge)
	if deleted {
		s.done.Events++
	}
	return err
}

func (s *retainedSlice) scan(of *scan) (through bool, err error) {
	for !s.full() {
		seq, at, source, err := s.next(of.event)
		if err != nil || seq == 0 || at >= s.now-of.age.Microseconds() {
			return true, err
		}
		age, isOwn := s.own[source]
		if !isOwn {
			age = s.p.Events
		}
		if age == of.age {
			if err := s.delete(seq, false); err != nil {
				return false, err
			}
		}
		of.event = seq
	}
	return false, nil
}

// shrink deletes the oldest of all while the file is too large.
func (s *retainedSlice) shrink(oldest *int64) (through bool, err error) {
	for n := 0; s.p.SizeBytes > 0; n++ {
		if n%16 == 0 {
			used, err := usedPages(s.c)
			if err != nil || used*pageSize <= s.p.SizeBytes {
				return true, err
			}
		}
		if s.full() {
			return false, nil
		}
		seq, _, _, err := s.next(*oldest)
		if err != nil || seq == 0 {
			return true, err
		}
		if err := s.delete(seq, true); err != nil {
			return false, err
		}
		*oldest = seq
	}
	return true, nil
}

// retainRejections deletes old refused requests, of one source after the other.
func (t *tx) retainRejections(p store.RetainParams, done *store.Retained) (err error) {
	pass := &t.s.writer.retention
	for range rejectionSources {
		q := t.c.q("SELECT source FROM rejection_count WHERE source >= ? ORDER BY source LIMIT 1").text(pass.source)
		found := q.next()
		source := q.colText(0)
		if err := q.end(); err != nil {
			return err
		}
		if !found {
			pass.source = ""
			return nil
		}
		gone := 0
		if age := cmp.Or(p.Sources[source].Rejections, p.Rejections); age > 0 {
			if gone, err = t.deleteRejections(t.c.q(`SELECT id, source, bytes FROM rejection WHERE id IN
				(SELECT id FROM rejection WHERE source = ? ORDER BY id LIMIT ?) AND at < ? ORDER BY id`).
				text(source).int(rejectionSlice).int(t.now-age.Microseconds()), math.MaxInt64); err != nil {
				return err
			}
		}
		done.Rejections += gone
		// The next source is the first after its name; one that has more to delete is looked at again.
		if pass.source = source; gone < rejectionSlice {
			pass.source += "\x00"
		}
	}
	done.More = true
	return nil
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
