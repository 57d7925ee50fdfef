package sqlite

import (
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// exportAll reads a table in pieces, each by a reader that starts where the one before ended.
func exportAll(t *testing.T, x *Export, table string, rows int, now time.Time) [][]any {
	t.Helper()
	var all [][]any
	for place := (store.CopyPlace{}); ; {
		r, err := x.Rows(t.Context(), table, place, now)
		if err != nil {
			t.Fatal(err)
		}
		some, next, err := r.Next(rows, 1<<20)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			return all
		}
		if next == place {
			t.Fatalf("%s doesn't get on from %+v", table, place)
		}
		all, place = append(all, some...), next
	}
}

func TestExportGoesOnAfterAnyRow(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir, Sync: SyncOff})
	appendNumbered(t, s, 0, 100)
	for _, p := range []store.Pause{{Scope: store.PauseAll}, {Scope: store.PauseRoute, Name: "a"}, {Scope: store.PauseRoute, Name: "b:c"}} {
		if err := s.SetPause(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	s.onWriter(t, `INSERT INTO attempt VALUES (7, 9, 0, 0, 0, 'v', NULL, NULL, NULL), (7, 10, 0, 0, 0, 'v', NULL, NULL, NULL), (8, 1, 0, 0, 0, 'v', NULL, NULL, NULL);
		INSERT INTO step VALUES (7, 'a', 'd', 0, NULL), (7, 'b', 'd', 1, NULL), (8, 'a', 'd', 0, NULL);
		INSERT INTO effect VALUES ('a', 'k', 'open', 1, 1, 'n', 0, 0, 0, 0, NULL, '', ''), ('b', 'k', 'open', 1, 1, 'n', 0, 0, 0, 0, NULL, '', '');`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	x, err := OpenExport(t.Context(), ExportOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	counts, err := x.Counts(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]int64{"event": 100, "pause": 3, "attempt": 3, "step": 3, "effect": 2, "dedup": 100, "audit": 3} {
		for _, rows := range []int{1, 2, 1000} {
			if got := exportAll(t, x, table, rows, time.Now()); int64(len(got)) != want || counts[table] != want {
				t.Errorf("%s by %d: %d rows, counted %d, want %d", table, rows, len(got), counts[table], want)
			}
		}
	}
	for _, table := range store.CopyTables {
		if read := exportedTables[table.Name]; table.Name != dedupTable && len(read.kinds) != len(table.Columns) {
			t.Errorf("%s is read with %d columns, and has %d", table.Name, len(read.kinds), len(table.Columns))
		}
	}
}

// A table that a later migration adds has to be copied, or to be named here.
func TestNoTableIsForgottenByTheExport(t *testing.T) {
	known := map[string]bool{
		"name": true, "payload": true, // part of the rows that name them
		"tally": true, "rejection_count": true, // counted anew
		"signature_place": true, // noted anew by the next start
		"life":            true, // a node that is gone has nothing but what ran under its name
	}
	for _, table := range store.CopyTables {
		known[table.Name] = true
	}
	s := openTest(t, Options{})
	if err := s.read(t.Context(), func(c *conn) error {
		q := c.q("SELECT name FROM sqlite_master WHERE type = 'table'")
		for q.next() {
			if !known[q.colText(0)] {
				t.Errorf("%s isn't copied", q.colText(0))
			}
		}
		return q.end()
	}); err != nil {
		t.Fatal(err)
	}
}

// A key lapses in the copy when it would have in the folder, whatever merge brought it.
func TestExportedKeysLapseWhenTheyWould(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 5, 4, 8, 0, 0, 123_000_000, time.UTC)
	s := openTest(t, Options{Dir: dir, Sync: SyncOff, Now: func() time.Time { return now }})
	want := map[[16]byte]time.Time{}
	send := func(key byte, window time.Duration, force bool) {
		t.Helper()
		k := [16]byte{key}
		if _, err := s.Append(t.Context(), []store.Accepted{{
			Event: core.Event{ID: core.NewEventID(), Source: "s", Type: "t", ReceivedAt: now}, DedupKey: k, DedupWindow: window, Force: force,
		}}); err != nil {
			t.Fatal(err)
		}
		want[k] = now.Add(window)
	}
	for i, window := range []time.Duration{72 * time.Hour, 10 * time.Minute, 48 * time.Hour, 90 * time.Minute, 7 * 24 * time.Hour, time.Second} {
		send(byte(i+1), window, false)
	}
	send(20, time.Hour, false)
	merge := func() {
		t.Helper()
		mergeKeys(t, s)
	}
	merge()
	now = now.Add(7 * time.Minute)
	send(20, time.Hour, true)
	merge()
	now = now.Add(time.Minute)
	send(21, time.Hour, false)
	delete(want, [16]byte{6}) // it has lapsed
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	x, err := OpenExport(t.Context(), ExportOptions{Dir: dir, Windows: []time.Duration{72 * time.Hour, 10 * time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	rows := exportAll(t, x, dedupTable, 2, now)
	for _, row := range rows {
		key := [16]byte(row[0].([]byte))
		if got := time.UnixMicro(row[2].(int64)); !got.Equal(want[key]) {
			t.Errorf("key %d lapses at %s, want %s", key[0], got, want[key])
		}
	}
	if len(rows) != len(want) {
		t.Errorf("%d keys, want %d: %v", len(rows), len(want), rows)
	}
}

func TestExportRefusesWhatItCantRead(t *testing.T) {
	if _, err := OpenExport(t.Context(), ExportOptions{Dir: t.TempDir()}); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("a folder without a store: %v", err)
	}
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir})
	if _, err := OpenExport(t.Context(), ExportOptions{Dir: dir}); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("a folder that is in use: %v", err)
	}
	s.onWriter(t, "PRAGMA user_version = 1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenExport(t.Context(), ExportOptions{Dir: dir}); core.CodeOf(err) != core.CodeInvalid {
		t.Errorf("tables of another version: %v", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		t.Fatalf("a refused folder stays locked: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
}
