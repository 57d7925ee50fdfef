package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

const (
	// mergeAt is how many fresh keys there are before they are merged: enough for a page of the table
	// to get several of them, and few enough to be read at a start.
	mergeAt = 32_768
	// mergePart is the least number of keys in one part of a merge, about a millisecond of the writer's
	// time. While events pour in, a part takes twice as many as have come since the one before: a merge
	// keeps up with any flood, and fresh keys are never many more than two merges' worth.
	mergePart   = 256
	merging     = claiming // parts share transactions with what else waits
	mergeRetry  = time.Second
	forgetEvery = int64(time.Minute / time.Microsecond)
)

// freshKeys are the newest dedup keys. Keys are random: put into the table one by one, each would write
// a page of its own, which is most of what an event costs. So they stand in their events' rows, which
// are written anyway, and in memory, until there are enough to go into the table in its order.
//
// If the process dies at any line of a merge, tally.keys_merged still names the last event before it:
// the keys of all later events are read again, and put where they may stand already.
type freshKeys struct {
	newest  map[keyPlace]keySeen
	merging *keyRun
	inTable map[int64]*tableBucket
	// forgot is when lapsed keys were last looked for, in microseconds.
	forgot int64
}

type keyPlace struct {
	bucket int64
	key    [16]byte
}

func (p keyPlace) compare(q keyPlace) int {
	return cmp.Or(cmp.Compare(p.bucket, q.bucket), bytes.Compare(p.key[:], q.key[:]))
}

// keySeen is when a key was seen, in milliseconds, and with which event.
type keySeen struct{ event, at int64 }

// keyRun is the keys that are being merged. It doesn't change.
type keyRun struct {
	keys    map[keyPlace]keySeen
	upTo    int64 // the last event whose key may be among them
	filters map[int64]keyFilter
}

// partOf is how many keys the next part takes, when there were before fresh keys at the last one.
func partOf(fresh, before int) int { return max(mergePart, 2*(fresh-before)) }

func (f *freshKeys) find(p keyPlace) (keySeen, bool) {
	if at, ok := f.newest[p]; ok || f.merging == nil {
		return at, ok
	}
	at, ok := f.merging.keys[p]
	return at, ok
}

func (m *memory) rememberKey(p keyPlace, at keySeen) {
	newest := m.keys.newest
	before, had := newest[p]
	newest[p] = at
	m.onUndo(func() {
		if had {
			newest[p] = before
		} else {
			delete(newest, p)
		}
	})
}

// forgetKeys drops the fresh keys of buckets whose time has passed. Their events' rows go with the events.
func (m *memory) forgetKeys(now int64) (n int) {
	if now-m.keys.forgot < forgetEvery {
		return 0
	}
	m.keys.forgot = now
	newest := m.keys.newest
	for p, at := range newest {
		if p.bucket < now/1e6 {
			n++
			delete(newest, p)
			m.onUndo(func() { newest[p] = at })
		}
	}
	return n
}

// loadKeys reads the keys that the table doesn't have yet.
func (m *memory) loadKeys(c *conn) error {
	m.keys = freshKeys{newest: map[keyPlace]keySeen{}, inTable: map[int64]*tableBucket{}}
	s := c.q("SELECT seq, key_bucket, key_at, key FROM event WHERE seq > ? AND key_bucket IS NOT NULL").int(m.keysMerged)
	for s.next() {
		p := keyPlace{bucket: s.colInt(1)}
		copy(p.key[:], s.view(3))
		m.keys.newest[p] = keySeen{event: s.colInt(0), at: s.colInt(2)}
	}
	if err := s.end(); err != nil {
		return err
	}
	for bucket, found := int64(-1), true; found; {
		s := c.q("SELECT bucket FROM dedup WHERE bucket > ? ORDER BY bucket LIMIT 1").int(bucket)
		if found = s.next(); found {
			bucket = s.colInt(0)
			m.keys.inTable[bucket] = &tableBucket{unknown: true}
		}
		if err := s.end(); err != nil {
			return err
		}
	}
	return nil
}

// considerKeys asks for a merge when there are enough fresh keys. The writer calls it between transactions.
func (w *writer) considerKeys() {
	if w.memory == nil || len(w.memory.keys.newest) < mergeAt {
		return
	}
	w.askMerge()
}

// mergeKeys merges fresh keys into the table whenever it is asked to, until the store closes.
func (s *Store) mergeKeys() {
	for {
		select {
		case <-s.writer.merge:
		case <-s.closing.Done():
			return
		}
		if err := s.mergeOnce(s.closing); err != nil {
			select {
			case <-s.closing.Done():
				return
			case <-time.After(mergeRetry):
				s.writer.askMerge()
			}
		}
	}
}

func (w *writer) askMerge() {
	select {
	case w.merge <- struct{}{}:
	default:
	}
}

// errOtherRun says that the writer's memory was read again, and knows nothing of the run.
var errOtherRun = errors.New("the merge of dedup keys starts again")

func (s *Store) mergeOnce(ctx context.Context) error {
	var run *keyRun
	err := s.do(ctx, merging, func(t *tx) error {
		run = t.m.startMerge()
		return nil
	})
	if err != nil {
		return err
	}
	places := slices.SortedFunc(maps.Keys(run.keys), keyPlace.compare)
	run.filters = filtersOf(places)
	for before := 0; len(places) > 0; {
		done, fresh := 0, 0
		err := s.do(ctx, merging, func(t *tx) error {
			fresh = len(t.m.keys.newest)
			done = min(partOf(fresh, before), len(places))
			return t.mergeKeys(run, places[:done])
		})
		if err != nil {
			return err
		}
		places, before = places[done:], fresh
	}
	return s.do(ctx, merging, func(t *tx) error { return t.m.endMerge(run) })
}

// startMerge sets the fresh keys aside to be merged, or returns those that a merge was interrupted at.
func (m *memory) startMerge() *keyRun {
	if m.keys.merging != nil {
		return m.keys.merging
	}
	newest := m.keys.newest
	m.keys.merging = &keyRun{keys: newest, upTo: m.event}
	m.keys.newest = make(map[keyPlace]keySeen, mergeAt)
	m.onUndo(func() { m.keys.merging, m.keys.newest = nil, newest })
	return m.keys.merging
}

func (t *tx) mergeKeys(run *keyRun, places []keyPlace) error {
	if t.m.keys.merging != run {
		return errOtherRun
	}
	for _, p := range places {
		if p.bucket < t.now/1e6 {
			continue // nobody asks for it any more
		}
		at := run.keys[p]
		if err := t.c.q("INSERT OR REPLACE INTO dedup (bucket, key, event, at) VALUES (?, ?, ?, ?)").
			int(p.bucket).blob(p.key[:]).int(at.event).int(at.at).exec(); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) endMerge(run *keyRun) error {
	if m.keys.merging != run {
		return errOtherRun
	}
	m.keys.merging = nil
	m.keysMerged = run.upTo
	// A filter that stays after an undo only lets a look through that finds nothing.
	for bucket, filter := range run.filters {
		m.keys.inTable[bucket] = m.keys.inTable[bucket].with(filter)
	}
	m.onUndo(func() { m.keys.merging = run })
	return nil
}
