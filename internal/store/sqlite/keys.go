package sqlite

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

const (
	// mergeAt is how many fresh keys there are before they are merged: enough for a row of the table to get
	// several of them, and few enough to be read at a start.
	mergeAt = 32_768
	// mergeSlice is the least number of keys in one operation of a merge, about half a millisecond of the
	// writer's time. While events pour in, an operation takes twice as many as have come since the one
	// before: a merge keeps up with any flood, and fresh keys are never many more than two merges' worth.
	mergeSlice  = 2048
	merging     = claiming // slices share transactions with what else waits
	mergeRetry  = time.Second
	forgetEvery = int64(time.Minute / time.Microsecond)
)

// freshKeys are the newest dedup keys. They stand in their events' rows, which are written anyway, and in
// memory, until there are enough to go into the table together.
//
// If the process dies at any line of a merge, tally.keys_merged still names the last event before it:
// the keys of all later events are read again, and the next merge writes the same rows again, with these
// keys and those that have come since.
type freshKeys struct {
	newest  map[[16]byte]keySeen
	merging *keyRun
	inTable map[int64]*tableBucket
	// forgot is when lapsed keys were last looked for, in microseconds.
	forgot int64
}

// keySeen is with which event a key was seen, when in milliseconds, and the bucket that keeps it.
type keySeen struct{ event, at, bucket int64 }

// keyRun is the keys that are being merged. It doesn't change.
type keyRun struct {
	keys map[[16]byte]keySeen
	// id numbers the run's rows: a merge that starts again after a kill has the same one.
	id   int64
	upTo int64 // the last event whose key may be among them
}

// keyRow is what a run brings for one part of a bucket.
type keyRow struct {
	bucket, part int64
	keys         []byte
}

// rows puts the run's keys into the order of the table. Lapsed ones stay out: nobody asks for them.
func (r *keyRun) rows(now int64) []keyRow {
	places := map[int64]*[parts]int{} // by bucket and part, the row's place and one
	var rows []keyRow
	for key, seen := range r.keys {
		if seen.bucket < now/1e6 {
			continue
		}
		of := places[seen.bucket]
		if of == nil {
			of = &[parts]int{}
			places[seen.bucket] = of
		}
		part := partOf(&key)
		if of[part] == 0 {
			rows = append(rows, keyRow{bucket: seen.bucket, part: part, keys: make([]byte, 0, 2*mergeAt/parts*entrySize)})
			of[part] = len(rows)
		}
		row := &rows[of[part]-1]
		row.keys = appendEntry(row.keys, &key, seen)
	}
	slices.SortFunc(rows, func(a, b keyRow) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.part, b.part))
	})
	return rows
}

// sliceOf is how many keys the next operation takes, when there were before fresh keys at the last one.
func sliceOf(fresh, before int) int { return max(mergeSlice, 2*(fresh-before)) }

func (f *freshKeys) find(key *[16]byte) (keySeen, bool) {
	if seen, ok := f.newest[*key]; ok || f.merging == nil {
		return seen, ok
	}
	seen, ok := f.merging.keys[*key]
	return seen, ok
}

func (m *memory) rememberKey(key [16]byte, seen keySeen) {
	newest := m.keys.newest
	before, had := newest[key]
	newest[key] = seen
	m.onUndo(func() {
		if had {
			newest[key] = before
		} else {
			delete(newest, key)
		}
	})
}

// forgetKeys drops the keys of buckets whose time has passed. Their events' rows go with the events.
func (m *memory) forgetKeys(now int64) (n int) {
	if now-m.keys.forgot < forgetEvery {
		return 0
	}
	m.keys.forgot = now
	newest := m.keys.newest
	for key, seen := range newest {
		if seen.bucket < now/1e6 {
			n++
			delete(newest, key)
			m.onUndo(func() { newest[key] = seen })
		}
	}
	// What is known of a bucket in the table only spares looks into it, and nobody looks any more.
	maps.DeleteFunc(m.keys.inTable, func(bucket int64, _ *tableBucket) bool { return bucket < now/1e6 })
	return n
}

// loadKeys reads the keys that the table doesn't have yet.
func (m *memory) loadKeys(c *conn) error {
	m.keys = freshKeys{newest: map[[16]byte]keySeen{}, inTable: map[int64]*tableBucket{}}
	s := c.q("SELECT seq, key_bucket, key_at, key FROM event WHERE seq > ? AND key_bucket IS NOT NULL").int(m.keysMerged)
	for s.next() {
		var key [16]byte
		copy(key[:], s.view(3))
		m.keys.newest[key] = keySeen{event: s.colInt(0), bucket: s.colInt(1), at: s.colInt(2)}
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
	if w.memory != nil && w.memory.mergeDue() {
		w.askMerge()
	}
}

// mergeKeys tends the keys whenever it is asked to, until the store closes.
func (s *Store) mergeKeys() {
	failing := false
	for {
		select {
		case <-s.writer.merge:
		case <-s.closing.Done():
			return
		}
		err := s.tendKeys(s.closing)
		if err == nil {
			failing = false
			continue
		}
		if s.closing.Err() == nil && !failing && !errors.Is(err, errOtherRun) {
			failing = true
			s.log.Warn("dedup keys can't be merged; they stay in memory, and it is tried again each second", "error", err)
		}
		select {
		case <-s.closing.Done():
			return
		case <-time.After(mergeRetry):
			s.writer.askMerge()
		}
	}
}

// tendKeys reads the filters that are missing, and merges the fresh keys once there are enough.
func (s *Store) tendKeys(ctx context.Context) error {
	var m *memory
	var unknown []int64
	enough := false
	err := s.do(ctx, merging, func(t *tx) error {
		m, unknown = t.m, nil
		for bucket, b := range t.m.keys.inTable {
			if b.unknown {
				unknown = append(unknown, bucket)
			}
		}
		enough = t.m.mergeDue() || t.m.keys.merging != nil
		return nil
	})
	if err == nil {
		err = s.readFilters(ctx, m, unknown)
	}
	if err == nil && enough {
		err = s.mergeOnce(ctx)
	}
	return err
}

// mergeDue also when few of the events had keys, or theirs have lapsed: a start reads what came since the
// last merge.
func (m *memory) mergeDue() bool {
	return len(m.keys.newest) >= mergeAt || m.keys.merging == nil && m.event-m.keysMerged >= 4*mergeAt
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
	rows := run.rows(s.now().UnixMicro())
	left := rows
	for before := 0; len(left) > 0; {
		done, fresh := 0, 0
		err := s.do(ctx, merging, func(t *tx) error {
			fresh = len(t.m.keys.newest)
			done = 0
			for bytes := sliceOf(fresh, before) * entrySize; done < len(left) && bytes > 0; done++ {
				bytes -= len(left[done].keys)
			}
			return t.mergeKeys(run, left[:done])
		})
		if err != nil {
			return err
		}
		left, before = left[done:], fresh
	}
	return s.do(ctx, merging, func(t *tx) error { return t.m.endMerge(run, rows) })
}

// startMerge sets the fresh keys aside to be merged, or returns those that a merge was interrupted at.
func (m *memory) startMerge() *keyRun {
	if m.keys.merging != nil {
		return m.keys.merging
	}
	newest := m.keys.newest
	m.keys.merging = &keyRun{keys: newest, id: m.keysMerged, upTo: m.event}
	m.keys.newest = make(map[[16]byte]keySeen, mergeAt)
	m.onUndo(func() { m.keys.merging, m.keys.newest = nil, newest })
	return m.keys.merging
}

func (t *tx) mergeKeys(run *keyRun, rows []keyRow) error {
	if t.m.keys.merging != run {
		return errOtherRun
	}
	for i := range rows {
		if err := t.c.q("INSERT OR REPLACE INTO dedup (bucket, part, run, keys) VALUES (?, ?, ?, ?)").
			int(rows[i].bucket).int(rows[i].part).int(run.id).blob(rows[i].keys).exec(); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) endMerge(run *keyRun, rows []keyRow) error {
	if m.keys.merging != run {
		return errOtherRun
	}
	m.keys.merging = nil
	m.keysMerged = run.upTo
	// What stays in a filter after an undo only lets a look through that finds nothing.
	for len(rows) > 0 {
		bucket := rows[0].bucket
		b := m.keys.inTable[bucket]
		if b == nil {
			b = &tableBucket{}
			m.keys.inTable[bucket] = b
		}
		b.beginRun(run.id)
		for ; len(rows) > 0 && rows[0].bucket == bucket; rows = rows[1:] {
			b.add(run.id, rows[0].keys)
		}
	}
	m.onUndo(func() { m.keys.merging = run })
	return nil
}
