//go:build unix

package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/storetest"
)

// filled opens a store with some megabytes: a copy of it takes several slices.
func filled(t *testing.T, o Options) (*Store, []store.Accepted) {
	t.Helper()
	o.Sync, o.ReaderTimeout = SyncOff, time.Minute
	s := openTest(t, o)
	var all []store.Accepted
	for n := range 16 {
		batch := benchBatch(50, 7)
		for i := range batch {
			batch[i].Event.Body = bytes.Repeat([]byte{byte(n), byte(i)}, 8<<10)
		}
		if _, err := s.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		all = append(all, batch...)
	}
	return s, all
}

// restore opens a copy as the database of a new data folder.
func restore(t *testing.T, file string) *Store {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, databaseName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return openTest(t, Options{Dir: dir, Sync: SyncOff, ReaderTimeout: time.Minute})
}

func wantEvents(t *testing.T, s *Store, events []store.Accepted) {
	t.Helper()
	for i := range events {
		want := &events[i].Event
		got, err := s.Event(t.Context(), want.ID)
		if err != nil {
			t.Fatalf("event %d of %d: %v", i, len(events), err)
		}
		if got.Source != want.Source || got.Type != want.Type || !bytes.Equal(got.Body, want.Body) || !bytes.Equal(got.Header, want.Header) {
			t.Fatalf("event %d of %d is another one", i, len(events))
		}
	}
}

func absent(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s is there: %v", path, err)
		}
	}
}

func TestBackupUnderLoadHoldsWhatWasAcknowledged(t *testing.T) {
	s, before := filled(t, Options{})
	file := filepath.Join(t.TempDir(), "copy of 100%?.db")
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var during atomic.Int64
	for range 3 {
		load.Go(func() {
			for ctx.Err() == nil {
				_, err := s.Append(ctx, benchBatch(1, 7))
				if err == nil {
					_, err = s.Claim(ctx, store.ClaimParams{Node: "n", Max: 2, Lanes: []store.LaneRoom{{Lane: 1, Max: 2, Window: 1 << 20}}})
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				during.Add(1)
			}
		})
	}
	purged := map[core.EventID]bool{}
	steps := 0
	done, err := s.Backup(ctx, BackupParams{File: file, Progress: func(copied, total int64) {
		if copied < 0 || copied > total {
			t.Errorf("%d of %d bytes are copied", copied, total)
		}
		// What is copied already changes under the copier.
		if steps++; steps%2 == 0 && copied < total {
			id := before[steps].Event.ID
			if n, err := s.Purge(ctx, []core.EventID{id}, "anne"); n == 1 {
				purged[id] = true
			} else if core.CodeOf(err) != core.CodeConflict { // its delivery was claimed
				t.Error(err)
			}
		}
	}})
	stop()
	load.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d slices, %d operations meanwhile, %d purged", steps, during.Load(), len(purged))
	if during.Load() == 0 || len(purged) == 0 {
		t.Errorf("%d operations and %d purges meanwhile", during.Load(), len(purged))
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != done.Bytes {
		t.Errorf("%v, %v, want %d bytes", info, err, done.Bytes)
	}
	absent(t, file+partialSuffix, file+"-wal", file+"-shm", file+"-journal")
	again := restore(t, file)
	wantEvents(t, again, slices.DeleteFunc(before, func(a store.Accepted) bool { return purged[a.Event.ID] }))
	for id := range purged {
		if _, err := again.Event(t.Context(), id); core.CodeOf(err) != core.CodeNotFound {
			t.Errorf("the copy holds %s, which was purged: %v", id, err)
		}
	}
	checkIntegrity(t, again)
	if held := count(t, again, "SELECT count(*) FROM event"); held != done.Events {
		t.Errorf("the copy holds %d events, and says %d", held, done.Events)
	}
	// It is a store like another.
	if _, err := again.Append(t.Context(), benchBatch(10, 7)); err != nil {
		t.Error(err)
	}
	checkIntegrity(t, s)
}

func TestBackupHoldsNoSnapshotBetweenSlices(t *testing.T) {
	s, _ := filled(t, Options{CheckpointBytes: 1 << 40})
	other, err := connect(s.path, readWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	looks := 0
	_, err = s.Backup(t.Context(), BackupParams{File: filepath.Join(t.TempDir(), "copy.db"), Progress: func(int64, int64) {
		if _, err := s.Append(t.Context(), benchBatch(1, 7)); err != nil {
			t.Error(err)
		}
		q := other.q("PRAGMA wal_checkpoint(PASSIVE)")
		if !q.next() || q.colInt(0) != 0 || q.colInt(1) != q.colInt(2) {
			t.Errorf("of %d frames of WAL, %d can be copied: something stands in it", q.colInt(1), q.colInt(2))
		}
		if err := q.end(); err != nil {
			t.Error(err)
		}
		looks++
	}})
	if err != nil || looks < 2 {
		t.Errorf("%d looks: %v", looks, err)
	}
}

func count(t *testing.T, s *Store, sql string) int64 {
	t.Helper()
	var n int64
	err := s.read(t.Context(), func(c *conn) (err error) { n, err = pragma(c, sql); return err })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBackupIsOfTheMomentItEnds(t *testing.T) {
	s, all := filled(t, Options{})
	file := filepath.Join(t.TempDir(), "copy.db")
	// Nothing else writes, so what is stored at the last slice is all that there is.
	if _, err := s.Backup(t.Context(), BackupParams{File: file, Progress: func(copied, total int64) {
		if copied < total {
			batch := benchBatch(3, 7)
			if _, err := s.Append(t.Context(), batch); err != nil {
				t.Error(err)
			}
			all = append(all, batch...)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	again := restore(t, file)
	wantEvents(t, again, all)
	if n := count(t, again, "SELECT count(*) FROM event"); n != int64(len(all)) {
		t.Errorf("%d events, want %d", n, len(all))
	}
}

func TestBackupOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: filepath.Join(dir, "data"), Sync: SyncOff})
	kept := filepath.Join(dir, "kept")
	if err := os.WriteFile(kept, []byte("kept"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "data"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]core.Code{
		kept:                                core.CodeConflict,
		dir:                                 core.CodeInvalid,
		"copy.db":                           core.CodeInvalid,
		filepath.Join(dir, "none", "c.db"):  core.CodeInvalid,
		filepath.Join(dir, "data", "c.db"):  core.CodeInvalid,
		filepath.Join(dir, "link", "c.db"):  core.CodeInvalid,
		s.path:                              core.CodeInvalid,
		filepath.Join(kept, "under a file"): core.CodeInvalid,
	} {
		for _, force := range []bool{false, true} {
			_, err := s.Backup(t.Context(), BackupParams{File: file, Force: force})
			if force && file == kept {
				continue
			}
			if core.CodeOf(err) != want {
				t.Errorf("%s: %v", file, err)
			}
			absent(t, file+partialSuffix)
		}
		if text, err := os.ReadFile(kept); file != kept && (err != nil || string(text) != "kept") {
			if info, _ := os.Stat(kept); info.Size() == 4 {
				t.Errorf("%s: the file that was there is %q, %v", file, text, err)
			}
		}
	}
	restore(t, kept) // replaced, because that was asked for
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
}

func TestFileThatAppearsMeanwhileIsKept(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	file := filepath.Join(t.TempDir(), "copy.db")
	_, err := s.Backup(t.Context(), BackupParams{File: file, Progress: func(int64, int64) {
		if err := os.WriteFile(file, []byte("another's"), 0o600); err != nil {
			t.Error(err)
		}
	}})
	text, read := os.ReadFile(file)
	if core.CodeOf(err) != core.CodeConflict || string(text) != "another's" {
		t.Errorf("%v; the file holds %d bytes, %v", err, len(text), read)
	}
	absent(t, file+partialSuffix)
}

func TestBackupThatFailsLeavesNothing(t *testing.T) {
	s, _ := filled(t, Options{})
	dir := t.TempDir()
	file := filepath.Join(dir, "copy.db")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Backup(ctx, BackupParams{File: file, Progress: func(int64, int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	absent(t, file, file+partialSuffix)

	// A second one at the same time is refused, the first one goes on.
	_, err = s.Backup(t.Context(), BackupParams{File: file, Progress: func(int64, int64) {
		if _, err := s.Backup(t.Context(), BackupParams{File: file + "2"}); core.CodeOf(err) != core.CodeConflict {
			t.Errorf("the second one: %v", err)
		}
	}})
	if err != nil {
		t.Error(err)
	}

	// The store loses its connection, as after a failed sync, and goes on without the backup.
	_, err = s.Backup(t.Context(), BackupParams{File: file, Force: true, Progress: func(int64, int64) {
		s.writer.turn.Lock()
		defer s.writer.turn.Unlock()
		if s.writer.conn != nil {
			s.writer.conn.close()
			s.writer.conn, s.writer.memory, s.writer.suspect = nil, nil, true
		}
	}})
	if core.CodeOf(err) != core.CodeUnavailable {
		t.Errorf("lost connection: %v", err)
	}
	absent(t, file+partialSuffix)
	if _, err := s.Append(t.Context(), benchBatch(1, 1)); err != nil {
		t.Errorf("after a lost connection: %v", err)
	}
	restore(t, file) // the one before is still there
	checkIntegrity(t, s)

	// Closing the store ends a backup.
	closed := make(chan error, 1)
	var once sync.Once
	_, err = s.Backup(t.Context(), BackupParams{File: file + "3", Progress: func(int64, int64) {
		once.Do(func() {
			go func() { closed <- s.Close() }()
			<-s.closing.Done()
		})
	}})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("closed: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	absent(t, file+"3", file+"3"+partialSuffix)
	if _, err := s.Backup(t.Context(), BackupParams{File: file + "4"}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("after closing: %v", err)
	}
}

func TestBackupGivesUpWhenAnotherProcessKeepsWriting(t *testing.T) {
	s, _ := filled(t, Options{})
	other, err := connect(s.path, readWrite, lockPatience)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if err := other.exec("CREATE TABLE another_tools (n)"); err != nil {
		t.Fatal(err)
	}
	file, writes := filepath.Join(t.TempDir(), "copy.db"), 0
	write := func(int64, int64) {
		writes++
		if err := other.exec("INSERT INTO another_tools VALUES (1)"); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Backup(t.Context(), BackupParams{File: file, Progress: write}); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("after %d slices: %v", writes, err)
	}
	absent(t, file, file+partialSuffix)

	// A few writes are borne: the copy begins again, and holds them.
	rows := 0
	if _, err := s.Backup(t.Context(), BackupParams{File: file, Progress: func(copied, total int64) {
		if rows < 3 && copied > total/2 {
			rows++
			write(0, 0)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	want := count(t, s, "SELECT count(*) FROM another_tools")
	if n := count(t, restore(t, file), "SELECT count(*) FROM another_tools"); n != want {
		t.Errorf("%d rows, want %d", n, want)
	}
}

// childBacksUp tells each slice of a backup, until it is killed.
func childBacksUp(dir string) error {
	s, err := Open(context.Background(), Options{Dir: filepath.Join(dir, "data"), Sync: SyncOff})
	if err != nil {
		return err
	}
	_, err = s.Backup(context.Background(), BackupParams{File: filepath.Join(dir, "copy.db"), Progress: func(copied, total int64) {
		fmt.Println(copied, total)
		if copied > total/2 {
			select {} // it waits for its death
		}
	}})
	return err
}

func TestKilledBackupLeavesAPartialFile(t *testing.T) {
	dir := t.TempDir()
	s, all := filled(t, Options{Dir: filepath.Join(dir, "data")})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cmd, lines := storetest.Child(t, "back up", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		var copied, total int64
		if _, err := fmt.Sscan(lines.Text(), &copied, &total); err == nil && copied > total/2 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	file := filepath.Join(dir, "copy.db")
	absent(t, file)
	if _, err := os.Stat(file + partialSuffix); err != nil {
		t.Error(err)
	}
	s = openTest(t, Options{Dir: filepath.Join(dir, "data"), Sync: SyncOff, ReaderTimeout: time.Minute})
	checkIntegrity(t, s)
	if _, err := s.Backup(t.Context(), BackupParams{File: file}); err != nil {
		t.Fatal(err)
	}
	absent(t, file+partialSuffix)
	wantEvents(t, restore(t, file), all)
}

// childBacksUpOnSmallDisk makes a copy that doesn't fit.
func childBacksUpOnSmallDisk(dir string) error {
	ctx := context.Background()
	s, err := Open(ctx, Options{Dir: filepath.Join(dir, "data"), Sync: SyncOff})
	if err != nil {
		return err
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4 << 20, Max: old.Max}); err != nil {
		return err
	}
	file := filepath.Join(dir, "copy.db")
	_, err = s.Backup(ctx, BackupParams{File: file, Progress: func(int64, int64) {
		if _, err := s.Append(ctx, benchBatch(1, 1)); err != nil {
			fmt.Println("append:", err)
		}
	}})
	if core.CodeOf(err) != core.CodeUnavailable && core.CodeOf(err) != core.CodeFull {
		return fmt.Errorf("the backup: %w", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		return fmt.Errorf("%d files are left, %w", len(entries), err)
	}
	if _, err := s.Append(ctx, benchBatch(1, 1)); err != nil {
		return err
	}
	fmt.Println("told")
	return s.Close()
}

func TestFullDiskOfTheCopyIsTheCopysOnly(t *testing.T) {
	dir := t.TempDir()
	s, _ := filled(t, Options{Dir: filepath.Join(dir, "data")})
	s.onWriter(t, "PRAGMA wal_checkpoint(TRUNCATE)")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cmd, lines := storetest.Child(t, "back up on small disk", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	if err := cmd.Wait(); err != nil || !slices.Equal(said, []string{"told"}) {
		t.Errorf("the child said %q, %v", said, err)
	}
}
