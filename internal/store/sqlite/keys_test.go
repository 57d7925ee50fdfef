package sqlite

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

func numberedKey(n int) [16]byte {
	return md5.Sum(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func appendNumbered(t *testing.T, s *Store, from, to int) []store.Appended {
	t.Helper()
	var out []store.Appended
	for n := from; n < to; {
		var batch []store.Accepted
		for ; n < to && len(batch) < 512; n++ {
			batch = append(batch, store.Accepted{
				Event:    core.Event{ID: core.NewEventID(), Source: "s", Type: "t", ReceivedAt: time.Now()},
				DedupKey: numberedKey(n), DedupWindow: time.Hour,
			})
		}
		got, err := s.Append(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, got...)
	}
	return out
}

// A repeat is known wherever its key stands: among the newest, in a merge, in the table, and after the
// folder was opened again.
func TestRepeatsAreKnownBeforeWhileAndAfterTheirKeysAreMerged(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Dir: dir, Sync: SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	const keys = mergeAt + 1000
	firsts := appendNumbered(t, s, 0, keys)
	check := func(when string) {
		t.Helper()
		for _, span := range [][2]int{{0, 700}, {keys / 2, keys/2 + 700}, {keys - 700, keys}} {
			for i, again := range appendNumbered(t, s, span[0], span[1]) {
				first := firsts[span[0]+i]
				if again.RepeatOf.IsZero() || !first.RepeatOf.IsZero() {
					t.Fatalf("%s: key %d was not known: %+v", when, span[0]+i, again)
				}
			}
		}
	}
	check("while or before they are merged")
	merged := func() (n int64) {
		if err := s.do(t.Context(), housekeeping, func(tx *tx) error { n = tx.m.keysMerged; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for deadline := time.After(20 * time.Second); merged() < mergeAt; {
		select {
		case <-deadline:
			t.Fatalf("the keys were not merged: up to %d", merged())
		case <-time.After(5 * time.Millisecond):
		}
	}
	check("merged")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), Options{Dir: dir, Sync: SyncOff}); err != nil {
		t.Fatal(err)
	}
	check("opened again")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A merge that was cut off is begun again from the events' rows: nothing is forgotten, nothing stands twice.
func TestMergeThatWasCutOffStartsAgain(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Dir: dir, Sync: SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	appendNumbered(t, s, 0, 3000)
	// Half a merge, and then the writer's memory is gone.
	err = s.do(t.Context(), housekeeping, func(tx *tx) error {
		run := tx.m.startMerge()
		rows := run.rows(0)
		return tx.mergeKeys(run, rows[:len(rows)/2])
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), Options{Dir: dir, Sync: SyncOff}); err != nil {
		t.Fatal(err)
	}
	mergeKeys(t, s)
	for i, again := range appendNumbered(t, s, 0, 3000) {
		if again.RepeatOf.IsZero() {
			t.Fatalf("key %d was forgotten", i)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// However many events one transaction brings, what is left to be read at a start stays bounded.
func TestMergeKeepsUpWithAFlood(t *testing.T) {
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Sync: SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	appendNumbered(t, s, 0, 4*mergeAt)
	var fresh int
	err = s.do(t.Context(), housekeeping, func(tx *tx) error {
		fresh = int(tx.m.event - tx.m.keysMerged)
		return nil
	})
	if err != nil || fresh > 5*mergeAt/2 {
		t.Errorf("%d keys are fresh after %d events (%v)", fresh, 4*mergeAt, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func rowOfKeys(from, to int) (row []byte) {
	for i := from; i < to; i++ {
		key := numberedKey(i)
		row = appendEntry(row, &key, keySeen{event: 1, at: 1})
	}
	return row
}

func TestFilterKnowsItsKeysAndFewOthers(t *testing.T) {
	const runs = groupRuns + 2 // two groups
	b := &tableBucket{}
	for run := range runs {
		b.beginRun(int64(run + 1))
		b.add(int64(run+1), rowOfKeys(run*mergeAt, (run+1)*mergeAt))
	}
	wrong := 0
	for i := range runs * mergeAt {
		known, other := numberedKey(i), numberedKey(runs*mergeAt+i)
		if runs, _, _ := b.holders(&known, nil); !slices.Contains(runs, int64(i/mergeAt+1)) {
			t.Fatalf("key %d is thought to be in runs %v", i, runs)
		}
		runs, _, _ := b.holders(&other, nil)
		wrong += len(runs)
	}
	if wrong > runs*mergeAt/500 {
		t.Errorf("%d of %d other keys are taken for known", wrong, runs*mergeAt)
	}
}

func TestRunsBeyondTheBoundAreLookedUp(t *testing.T) {
	b := &tableBucket{unknown: true}
	b.beginRun(9000)
	read := &tableBucket{}
	for run := range int64(maxGroups*groupRuns + 2) {
		read.beginRun(run)
		read.add(run, nil)
	}
	b.join(read)
	other := numberedKey(-1)
	runs, beyond, more := b.holders(&other, nil)
	if len(runs) > 0 || !more || beyond != (maxGroups-1)*groupRuns || len(b.groups) != maxGroups {
		t.Errorf("%d groups, and another key may be in runs %v, and from %d on (%t)", len(b.groups), runs, beyond, more)
	}
}

// The filters of an earlier life are read again, and those of runs since are kept beside them.
func TestFiltersAreReadAgainAfterAStart(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Dir: dir, Sync: SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	appendNumbered(t, s, 0, 3000)
	mergeKeys(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), Options{Dir: dir, Sync: SyncOff}); err != nil {
		t.Fatal(err)
	}
	appendNumbered(t, s, 3000, 6000)
	mergeKeys(t, s)
	if err := s.tendKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = s.do(t.Context(), housekeeping, func(tx *tx) error {
		known, wrong := 0, 0
		for _, b := range tx.m.keys.inTable {
			if b.unknown {
				t.Error("a bucket is unknown still")
			}
			for i := range 6000 {
				key, other := numberedKey(i), numberedKey(6000+i)
				if runs, _, more := b.holders(&key, nil); len(runs) > 0 && !more {
					known++
				}
				runs, _, _ := b.holders(&other, nil)
				wrong += len(runs)
			}
		}
		if known < 6000 || wrong > 10 {
			t.Errorf("of 6000 keys %d are known, and of 6000 others %d", known, wrong)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, again := range appendNumbered(t, s, 0, 6000) {
		if again.RepeatOf.IsZero() {
			t.Fatalf("key %d was forgotten", i)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A window that isn't whole seconds finds its repeats, also in the table.
func TestWindowsOfPartsOfASecond(t *testing.T) {
	clock := newClock()
	s := openTest(t, Options{Sync: SyncOff, Now: clock.now})
	for i := range 40 {
		clock.add(700 * time.Millisecond)
		batch := func() []store.Accepted {
			return []store.Accepted{{
				Event:    core.Event{ID: core.NewEventID(), Source: "s", Type: "t", ReceivedAt: clock.now()},
				DedupKey: numberedKey(i), DedupWindow: 2500 * time.Millisecond,
			}}
		}
		if _, err := s.Append(t.Context(), batch()); err != nil {
			t.Fatal(err)
		}
		mergeKeys(t, s)
		clock.add(1100 * time.Millisecond)
		again, err := s.Append(t.Context(), batch())
		if err != nil || again[0].RepeatOf.IsZero() {
			t.Fatalf("key %d was forgotten within its window: %v, %v", i, again, err)
		}
	}
}

// mergeKeys merges the fresh keys. The store's own goroutine, which looks at the keys after a start, may find the
// merge begun and end it first: then it is begun again, for what it left.
func mergeKeys(t *testing.T, s *Store) {
	t.Helper()
	err := s.mergeOnce(t.Context())
	for errors.Is(err, errOtherRun) {
		err = s.mergeOnce(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a time that a test sets while the store reads it.
type clock struct{ micros atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.micros.Store(1_800_000_000_000_000)
	return c
}

func (c *clock) now() time.Time { return time.UnixMicro(c.micros.Load()) }

func (c *clock) add(d time.Duration) { c.micros.Add(d.Microseconds()) }
