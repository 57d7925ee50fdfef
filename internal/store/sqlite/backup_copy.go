package sqlite

import (
	"context"
	"os"
	"time"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"relais/internal/core"
)

const (
	// copySlice is how long a slice holds the writer at most: less than a transaction does.
	copySlice = time.Millisecond
	// copyPages are copied between two looks at the clock.
	copyPages = 16
	// copyRest is how many times as long as its slice the copier rests while something is being written:
	// it takes a fifth of the writer's time.
	copyRest = 4
	// copySync is how much is written to the copy before its disk is waited for. Without that, the kernel
	// gathers gigabytes, and a commit's sync may have to wait for them.
	copySync = 4 << 20
	// copyRestarts is how often a copy may begin again; see copier.
	copyRestarts = 10
	// copyStall ends a copy that doesn't get on, because another process keeps the database locked.
	copyStall = 30 * time.Second
)

// copier copies the database page by page, with SQLite's online backup.
//
// It reads on the writer's own connection, between transactions: pages that a later transaction changes
// on that connection are put into the copy as well, and so a copy under load ends, and is that of one
// moment. A snapshot of its own (VACUUM INTO, or a reader) would stand in the WAL for as long as the
// copying takes, and the WAL would grow with all that is written meanwhile.
//
// A change by another connection, of which there is none but an operator's tool, makes SQLite begin the
// copy again.
type copier struct {
	s      *Store
	source *conn   // the writer's, as it was at the beginning
	target *conn   // used under the writer's turn only: commits write to it too
	handle uintptr // 0 before the beginning, and after the end

	remaining, total int64
	restarts         int
	held             time.Duration // how long the last slice held the writer
}

var errCopyEnded = core.Errorf(core.CodeUnavailable, "the backup can't be made: the store had to open its database again meanwhile")

// copyInto fills the file, and syncs it.
func (s *Store) copyInto(ctx context.Context, f *os.File, progress func(copied, total int64)) error {
	// No journal and no syncs: a copy that isn't whole is thrown away. Few pages are kept in memory,
	// because the last slice writes all of them.
	target, err := connect(f.Name(), readWrite, "PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF",
		"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA cache_size = 256")
	if err != nil {
		return notMade(err)
	}
	k := &copier{s: s, target: target}
	err = k.run(ctx, f, progress)
	k.end()
	target.close()
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return notMade(err)
	}
	return nil
}

func (k *copier) run(ctx context.Context, f *os.File, progress func(copied, total int64)) error {
	written, unsynced, moved := int64(0), int64(0), time.Now()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		before := k.remaining
		done, err := k.slice()
		if err != nil {
			return err
		}
		progress((k.total-k.remaining)*pageSize, k.total*pageSize)
		if done {
			return nil
		}
		if k.remaining != before {
			moved = time.Now()
		} else if time.Since(moved) > copyStall {
			return core.Errorf(core.CodeUnavailable, "the backup can't be made: another process keeps the database locked")
		}
		if unsynced += max(before-k.remaining, 0) * pageSize; unsynced >= copySync {
			unsynced = 0
			if err := f.Sync(); err != nil {
				return notMade(err)
			}
		}
		if now := k.s.writer.pages.Load(); now != written || k.remaining == before {
			written = now
			select {
			case <-time.After(max(copyRest*k.held, copySlice)):
			case <-ctx.Done():
			}
		}
	}
}

// slice copies for a moment, with the writer held back.
func (k *copier) slice() (done bool, err error) {
	w := k.s.writer
	w.turn.Lock()
	defer w.turn.Unlock()
	if k.s.closing.Err() != nil {
		return false, errClosed
	}
	if err := k.begin(); err != nil {
		return false, err
	}
	began := time.Now()
	defer func() { k.held = time.Since(began) }()
	for time.Since(began) < copySlice {
		rc := sqlite3.Xsqlite3_backup_step(k.source.tls, k.handle, copyPages)
		before, total := k.remaining, k.total
		k.remaining = int64(sqlite3.Xsqlite3_backup_remaining(k.source.tls, k.handle))
		k.total = int64(sqlite3.Xsqlite3_backup_pagecount(k.source.tls, k.handle))
		switch {
		case rc == sqlite3.SQLITE_DONE:
			k.remaining = 0
			return true, k.finish()
		case rc == sqlite3.SQLITE_BUSY || rc == sqlite3.SQLITE_LOCKED:
			return false, nil // by an operator's tool: later
		case rc != sqlite3.SQLITE_OK:
			return false, notMade(copyError(rc))
		}
		// More remains than what the database has grown by: SQLite has begun again.
		if total > 0 && k.remaining > before+max(k.total-total, 0) {
			if k.restarts++; k.restarts > copyRestarts {
				return false, core.Errorf(core.CodeConflict, "the backup can't be made: another process keeps writing to the database")
			}
		}
	}
	return false, nil
}

// begin opens the backup on the writer's connection, once. The connection ends it when it is closed.
func (k *copier) begin() error {
	if k.handle != 0 {
		return nil
	}
	if k.source != nil {
		return errCopyEnded
	}
	w := k.s.writer
	if err := w.reopen(); err != nil {
		return w.failed(err)
	}
	name, err := libc.CString("main")
	if err != nil {
		return err
	}
	defer libc.Xfree(w.conn.tls, name)
	k.handle = sqlite3.Xsqlite3_backup_init(w.conn.tls, k.target.db, name, w.conn.db, name)
	if k.handle == 0 {
		return notMade(k.target.failure(sqlite3.Xsqlite3_errcode(k.target.tls, k.target.db), "backup"))
	}
	k.source = w.conn
	k.source.onClose = func() { _ = k.finish() } // a lost connection: the next slice tells
	return nil
}

// finish ends the backup; the writer's turn is held.
func (k *copier) finish() error {
	if k.handle == 0 {
		return nil
	}
	rc := sqlite3.Xsqlite3_backup_finish(k.source.tls, k.handle)
	k.handle, k.source.onClose = 0, nil
	if rc != sqlite3.SQLITE_OK {
		return notMade(copyError(rc))
	}
	return nil
}

// copyError is an error of reading or of writing: SQLite doesn't tell which.
func copyError(rc int32) error {
	tls := libc.NewTLS()
	defer tls.Close()
	return &sqlError{code: rc, message: libc.GoString(sqlite3.Xsqlite3_errstr(tls, rc)), doing: "backup"}
}

// end ends a backup that may not be whole.
func (k *copier) end() {
	k.s.writer.turn.Lock()
	defer k.s.writer.turn.Unlock()
	_ = k.finish() // of a copy that is thrown away: finish was called before for one that is whole
}
