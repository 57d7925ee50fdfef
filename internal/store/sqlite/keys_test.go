package sqlite

import (
	"crypto/md5"
	"encoding/binary"
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
		half := make([]keyPlace, 0, len(run.keys)/2)
		for p := range run.keys {
			if len(half) < cap(half) {
				half = append(half, p)
			}
		}
		return tx.mergeKeys(run, half)
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
	if err := s.mergeOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
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

func TestFilterKnowsItsKeysAndFewOthers(t *testing.T) {
	places := make([]keyPlace, mergeAt)
	for i := range places {
		places[i] = keyPlace{bucket: 1, key: numberedKey(i)}
	}
	var b *tableBucket
	b = b.with(filtersOf(places)[1])
	wrong := 0
	for i := range mergeAt {
		known, other := numberedKey(i), numberedKey(mergeAt+i)
		if !b.mayHold(&known) {
			t.Fatalf("key %d is not known", i)
		}
		if b.mayHold(&other) {
			wrong++
		}
	}
	if wrong > mergeAt/50 {
		t.Errorf("%d of %d other keys are taken for known", wrong, mergeAt)
	}
	if b = b.with(nil); len(b.filters) != 2 {
		t.Errorf("%d filters", len(b.filters))
	}
	for range maxFilters {
		b = b.with(nil)
	}
	if other := numberedKey(-1); !b.unknown || !b.mayHold(&other) {
		t.Error("a bucket with too many filters doesn't ask the table")
	}
}
