package spool

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
)

func opening(dir string) error {
	s, err := New(Options{Dir: dir, Store: &fickle{}, Rematch: toRoute})
	if err == nil {
		_ = s.Close()
	}
	return err
}

func TestFolderIsForOneSpool(t *testing.T) {
	remote, dir := newFickle(t), t.TempDir()
	remote.away()
	s := start(t, Options{Store: remote, Dir: dir})
	batch := events(0, 3)
	mustAppend(t, s, batch)
	for range 2 { // a refused opener leaves the lock as it is
		if err := opening(dir); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), "in use") {
			t.Errorf("the second opener got %v", err)
		}
		if _, err := Drain(t.Context(), dir, remote, toRoute, nil); core.CodeOf(err) != core.CodeConflict {
			t.Errorf("a drain of a living node's spool got %v", err)
		}
	}
	remote.back()
	untilDirect(t, s)
	wantStored(t, remote.store, batch)
	end(s)
	if err := opening(dir); err != nil {
		t.Error(err)
	}
}

func TestFolderIsPrivate(t *testing.T) {
	remote, dir := newFickle(t), filepath.Join(t.TempDir(), "a", "spool")
	remote.away()
	s := start(t, Options{Store: remote, Dir: dir})
	mustAppend(t, s, events(0, 3))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
}

// database makes a file with that script, as somebody else would.
func database(t *testing.T, path, script string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), script); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestForeignFilesAreRefusedAndLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		make func(path string)
		says string
	}{
		"text": {func(path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("not a database\n", 400)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a spool"},
		"another database": {func(path string) {
			database(t, path, "CREATE TABLE invoices (id INTEGER); INSERT INTO invoices VALUES (1)")
		}, "not a spool"},
		"another application's": {func(path string) {
			database(t, path, "PRAGMA application_id = 42; CREATE TABLE waiting (seq INTEGER)")
		}, "not a spool"},
		"a later version's": {func(path string) {
			database(t, path, "PRAGMA application_id = 1919710064; PRAGMA user_version = 99; CREATE TABLE waiting (seq INTEGER)")
		}, "later version"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, databaseName)
			c.make(path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := opening(dir); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("said %v", err)
			}
			after, err := os.ReadFile(path)
			if err != nil || string(after) != string(before) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
}

func TestDamagedSpoolIsTold(t *testing.T) {
	remote, dir := newFickle(t), t.TempDir()
	remote.away()
	s := start(t, Options{Store: remote, Dir: dir})
	for i := range 20 {
		mustAppend(t, s, []store.Accepted{event(i, strings.Repeat("x", 3000))})
	}
	end(s)
	path := filepath.Join(dir, databaseName)
	content, err := os.ReadFile(path)
	if err != nil || len(content) < 40_000 {
		t.Fatalf("%d bytes, %v", len(content), err)
	}
	for i := 4096; i < len(content); i++ { // all pages but the first
		content[i] = 0x5a
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := opening(dir); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("said %v", err)
	}
}

func TestNewFileWithoutItsTablesIsMadeOne(t *testing.T) {
	dir := t.TempDir() // killed right after the file was made
	if err := os.WriteFile(filepath.Join(dir, databaseName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	remote := newFickle(t)
	remote.away()
	s := start(t, Options{Store: remote, Dir: dir})
	mustAppend(t, s, events(0, 1))
}

func TestDrainRescuesADeadNodesSpool(t *testing.T) {
	remote, dir := newFickle(t), t.TempDir()
	remote.away()
	s := start(t, Options{Store: remote, Dir: dir})
	var all []store.Accepted
	for i := range 30 {
		batch := events(50*i, 50)
		mustAppend(t, s, batch)
		all = append(all, batch...)
	}
	id := s.Status().ID
	end(s)
	if _, err := Drain(t.Context(), dir, remote, toRoute, nil); core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("with the store away: %v", err)
	}
	remote.back()
	ctx, cancel := context.WithCancel(t.Context())
	done, err := Drain(ctx, dir, remote, toRoute, func(moved, waiting int) {
		if moved != maxBatch || waiting != 1500-maxBatch {
			t.Errorf("%d moved, %d waiting", moved, waiting)
		}
		cancel() // the operator presses ^C
	})
	if err == nil || done.Moved != maxBatch {
		t.Errorf("an ended drain: %+v, %v", done, err)
	}
	last := 0
	done, err = Drain(t.Context(), dir, remote, toRoute, func(_, waiting int) { last = waiting })
	if err != nil || done != (Drained{ID: id, Moved: 1500 - maxBatch}) || id == "" || last != 0 {
		t.Errorf("%+v, %d waiting, %v", done, last, err)
	}
	wantStored(t, remote.store, all)
	if done, err := Drain(t.Context(), dir, remote, toRoute, nil); err != nil || done != (Drained{ID: id}) {
		t.Errorf("an empty spool: %+v, %v", done, err)
	}
}

func TestAFolderKeepsItsNameInEachLife(t *testing.T) {
	dir := t.TempDir()
	life := func(dir string) string {
		t.Helper()
		s, err := New(Options{Dir: dir, Store: &fickle{}, Rematch: toRoute})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		return s.Status().ID
	}
	first := life(dir)
	if second := life(dir); first == "" || second != first {
		t.Errorf("the folder is %q, and then %q", first, second)
	}
	if other := life(t.TempDir()); other == first {
		t.Error("two folders have one name")
	}
	if err := os.WriteFile(filepath.Join(dir, idName), nil, 0o600); err != nil { // as a power cut leaves it
		t.Fatal(err)
	}
	if life(dir) == "" {
		t.Error("a folder whose name was lost got none")
	}
}

func TestDrainOfAFolderWithoutASpoolMakesNone(t *testing.T) {
	dir := t.TempDir()
	if _, err := Drain(t.Context(), dir, &fickle{}, toRoute, nil); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("error %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("it left %v", entries)
	}
}
