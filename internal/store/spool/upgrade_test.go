package spool

import (
	"database/sql"
	"path/filepath"
	"testing"

	"relais/internal/store"
)

// older makes the spool of a folder one of schema 1: it had no column flags. The last event stands aside.
func older(t *testing.T, dir string) {
	t.Helper()
	database(t, filepath.Join(dir, databaseName), `ALTER TABLE waiting DROP COLUMN flags; ALTER TABLE aside DROP COLUMN flags;
		INSERT INTO aside SELECT *, 'no such column', 1 FROM waiting WHERE seq = (SELECT max(seq) FROM waiting);
		DELETE FROM waiting WHERE seq = (SELECT max(seq) FROM waiting);
		PRAGMA user_version = 1`)
}

// A node that was upgraded, or whoever rescues the spool of one that wasn't, moves what an older relais kept: in line and
// aside, with the marks that it had.
func TestSpoolOfSchemaOneIsBroughtUpToDate(t *testing.T) {
	for name, move := range map[string]func(t *testing.T, dir string, remote *fickle){
		"by a start": func(t *testing.T, dir string, remote *fickle) {
			s := start(t, Options{Store: remote, Dir: dir})
			until(t, s, "all to be moved", func(st Status) bool { return st.Events == 0 && st.Aside == 0 })
			end(s)
		},
		"by a start during an outage, where new events join": func(t *testing.T, dir string, remote *fickle) {
			remote.away()
			s := start(t, Options{Store: remote, Dir: dir})
			if st := s.Status(); st.Events != 6 || st.Aside != 1 {
				t.Errorf("after the upgrade: %+v", st)
			}
			late := event(7, "late")
			late.Event.Verified, late.Event.Answered = true, 202
			mustAppend(t, s, []store.Accepted{late})
			end(s)
			remote.back()
			s = start(t, Options{Store: remote, Dir: dir})
			until(t, s, "all to be moved", func(st Status) bool { return st.Events == 0 && st.Aside == 0 })
			got, err := remote.store.Event(t.Context(), late.Event.ID)
			if err != nil || !got.Verified || got.Answered != 202 {
				t.Errorf("what came after the upgrade: %+v, %v", got, err)
			}
			end(s)
		},
		"by a drain": func(t *testing.T, dir string, remote *fickle) {
			if done, err := Drain(t.Context(), dir, remote, toRoute, nil); err != nil || done.Moved != 7 || done.Aside != 0 {
				t.Errorf("drained %+v, %v", done, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			remote, dir := newFickle(t), t.TempDir()
			remote.away()
			s := start(t, Options{Store: remote, Dir: dir})
			batch := events(0, 7)
			mustAppend(t, s, batch)
			end(s)
			remote.back()
			older(t, dir)
			move(t, dir, remote)
			// What stood aside comes when it comes; each is there, with its marks.
			for i := range batch {
				wantStored(t, remote.store, batch[i:i+1])
			}
			if version := versionOf(t, dir); version != schemaVersion {
				t.Errorf("the spool has schema %d", version)
			}
		})
	}
}

func versionOf(t *testing.T, dir string) (version int) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, databaseName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(t.Context(), "PRAGMA user_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	return version
}
