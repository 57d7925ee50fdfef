package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	sqlite3 "modernc.org/sqlite/lib"

	"relais/internal/core"
)

// BackupParams ask for a copy of the database.
type BackupParams struct {
	// File is where the copy goes: an absolute path, outside of the data folder. Until the copy is whole,
	// and checked, it is File.partial.
	File string
	// Force replaces a File that exists, in one step.
	Force bool
	// Progress is told how many bytes are copied, of how many; it may be nil. Both may change either way
	// while the store is written to.
	Progress func(copied, total int64)
}

// BackedUp says what a backup holds.
type BackedUp struct {
	Bytes  int64
	Events int64
}

// partialSuffix is what a copy's name ends with until it is whole.
const partialSuffix = ".partial"

// Backup writes a copy of the database as it is at the moment at which the last page is copied: every
// operation that had returned before Backup was called is in it, and each one is in it as a whole or
// not at all. One backup is made at a time.
//
// Events are stored meanwhile. The copy is made in slices, between transactions, and holds no snapshot
// between two of them, so that checkpoints and the WAL go on as ever; see copier. A process that dies
// leaves File.partial, which the next backup to File replaces; a backup that fails leaves nothing.
func (s *Store) Backup(ctx context.Context, p BackupParams) (BackedUp, error) {
	if !s.backup.TryLock() {
		if s.closing.Err() != nil {
			return BackedUp{}, errClosed
		}
		return BackedUp{}, core.Errorf(core.CodeConflict, "another backup is being made: wait for its end")
	}
	defer s.backup.Unlock()
	if p.Progress == nil {
		p.Progress = func(int64, int64) {}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	done, err := s.backUp(ctx, p)
	if err != nil && s.closing.Err() != nil {
		err = errClosed
	}
	return done, err
}

func (s *Store) backUp(ctx context.Context, p BackupParams) (BackedUp, error) {
	if err := s.checkBackupFile(p); err != nil {
		return BackedUp{}, err
	}
	partial := p.File + partialSuffix
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return BackedUp{}, notMade(err)
	}
	// Made here and not by SQLite, for its mode, and so that nothing that stands there is written to.
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the path that the operator chose
	if err != nil {
		return BackedUp{}, notMade(err)
	}
	err = s.copyInto(ctx, f, p.Progress)
	if closed := f.Close(); err == nil && closed != nil {
		err = notMade(closed)
	}
	var done BackedUp
	if err == nil {
		done, err = checkBackup(ctx, partial)
	}
	if err == nil {
		err = s.publish(partial, p)
	}
	if err != nil {
		// The first error is the one that counts; what can't be removed is partial by its name.
		_ = os.Remove(partial)
		return BackedUp{}, err
	}
	return done, nil
}

// checkBackupFile refuses a place at which a copy would be no backup, or would take another file's.
func (s *Store) checkBackupFile(p BackupParams) error {
	if !filepath.IsAbs(p.File) {
		return core.Errorf(core.CodeInvalid, "the backup's path %s is not absolute", p.File)
	}
	folder, err := os.Stat(filepath.Dir(p.File))
	if err != nil {
		return notMade(err)
	}
	if !folder.IsDir() {
		return core.Errorf(core.CodeInvalid, "the backup can't be made: %s is not a folder", filepath.Dir(p.File))
	}
	if data, err := os.Stat(filepath.Dir(s.path)); err == nil && os.SameFile(folder, data) {
		return core.Errorf(core.CodeInvalid, "%s is in the data folder, and would be lost with it: choose another folder", p.File)
	}
	at, err := os.Lstat(p.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return notMade(err)
	case at.IsDir():
		return core.Errorf(core.CodeInvalid, "%s is a folder: give the name of a file in it", p.File)
	case !p.Force:
		return core.Errorf(core.CodeConflict, "%s exists: it is replaced only with --force", p.File)
	}
	return nil
}

// publish gives the copy its name. What appeared under the name meanwhile isn't overwritten either.
func (s *Store) publish(partial string, p BackupParams) error {
	if err := s.checkBackupFile(p); err != nil {
		return err
	}
	if err := os.Rename(partial, p.File); err != nil {
		return notMade(err)
	}
	if err := syncFolder(filepath.Dir(p.File)); err != nil {
		return notMade(err)
	}
	return nil
}

// syncFolder makes a rename last. Windows keeps names in its journal and can't sync a folder.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path) //nolint:gosec // the folder that the operator chose
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkBackup has SQLite read every page of the copy, and counts its events.
func checkBackup(ctx context.Context, path string) (BackedUp, error) {
	// Nobody else has the file: without locks, SQLite makes no WAL beside it.
	uri := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(path), "/"), RawQuery: "immutable=1"}
	c, err := connect(uri.String(), readOnly|sqlite3.SQLITE_OPEN_URI, "PRAGMA query_only = 1", "PRAGMA cache_size = -8192")
	if err != nil {
		return BackedUp{}, notMade(err)
	}
	defer c.close()
	defer context.AfterFunc(ctx, c.interrupt)()
	var done BackedUp
	err = func() error {
		q := c.q("PRAGMA quick_check(1)")
		verdict := ""
		if q.next() {
			verdict = q.colText(0)
		}
		if err := q.end(); err != nil {
			return err
		}
		if verdict != "ok" {
			return core.Errorf(core.CodeConflict, "the copy was thrown away: it is damaged, and so is the database, or its disk: %s", verdict)
		}
		if done.Events, err = pragmaInt(c, "SELECT count(*) FROM event"); err != nil {
			return err
		}
		done.Bytes, err = pragmaInt(c, "PRAGMA page_count")
		done.Bytes *= pageSize
		return err
	}()
	if err != nil && ctx.Err() != nil {
		return BackedUp{}, ctx.Err()
	}
	if core.CodeOf(err) == "" && err != nil {
		err = notMade(err)
	}
	return done, err
}

// notMade says why there is no backup. The store is well: what failed is the copy's own disk, or what the
// operator asked for.
func notMade(err error) error {
	if codeOf(err)&0xff == sqlite3.SQLITE_FULL {
		return core.Errorf(core.CodeFull, "the backup can't be made: its disk is full")
	}
	code := core.CodeUnavailable
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrExist) {
		code = core.CodeInvalid
	}
	return core.Errorf(code, "the backup can't be made: %w", err)
}
