package sqlite

import (
	"sync/atomic"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// checkpointer copies the WAL to the database, off the writer's way.
//
// A passive checkpoint never waits, and never makes anyone wait. SQLite starts the WAL again at its
// beginning when all of it was copied and no reader stands in it; under steady writing that moment may
// never come, since frames are added while others are copied. So, past a bound, the checkpointer copies
// what it can, and then holds the writer back for the little that was added: a few milliseconds, once
// for many megabytes. A reader in the WAL only delays this, for as long as readers are bounded.
type checkpointer struct {
	s      *Store
	frames int64 // of WAL that start a checkpoint in a flood
	signal chan struct{}
	conn   *conn
	began  time.Time // the last one
	// done is how many pages the writer had written when the last checkpoint began.
	done int64
	// hurry asks for a checkpoint at once: on a full disk a WAL that is copied can be written again from
	// its beginning, and retention can free pages.
	hurry atomic.Bool
}

const (
	// Under floodTime after the last one, a checkpoint starts early: pages pour in, those of a small WAL are
	// still in the processor's cache, and commits are many to a sync. Else it starts with calmFactor times as
	// many: each one delays some answers by its own sync, so there should be few.
	floodTime  = 500 * time.Millisecond
	calmFactor = 2
	// The writer is held back once the WAL has this many times the frames that start a checkpoint.
	holdFactor = 2
	// retryCheckpoint is how long a checkpoint that failed waits.
	retryCheckpoint = time.Second
)

func newCheckpointer(s *Store, bytes int64) *checkpointer {
	return &checkpointer{s: s, frames: max(bytes/pageSize, 1), signal: make(chan struct{}, 1)}
}

// consider wakes the checkpointer when enough was written. It is called after every commit.
func (k *checkpointer) consider() {
	select {
	case k.signal <- struct{}{}:
	default:
	}
}

func (k *checkpointer) loop() {
	for {
		select {
		case <-k.s.closing.Done():
			return
		case <-k.signal:
		}
		written := k.s.writer.pages.Load()
		if written < k.done { // another connection counts from 0
			k.done = 0
		}
		due := k.frames
		if time.Since(k.began) > floodTime {
			due *= calmFactor
		}
		if written-k.done < due && !k.hurry.Swap(false) {
			continue
		}
		k.began = time.Now()
		if err := k.run(due); err != nil {
			// The disk fails, or is full: the WAL keeps everything, and the writer says so.
			k.close()
			select {
			case <-k.s.closing.Done():
				return
			case <-time.After(retryCheckpoint):
			}
			continue
		}
	}
}

func (k *checkpointer) run(due int64) error {
	if k.conn == nil {
		c, err := connect(k.s.path, readWrite, "PRAGMA busy_timeout = 0", "PRAGMA wal_autocheckpoint = 0",
			"PRAGMA synchronous = "+k.synchronous(), "PRAGMA cache_size = -256")
		if err != nil {
			return err
		}
		k.conn = c
	}
	k.done = k.s.writer.pages.Load()
	frames, err := k.conn.checkpoint(sqlite3.SQLITE_CHECKPOINT_PASSIVE)
	if err != nil || int64(frames) <= holdFactor*due {
		return err
	}
	// The first pass took a while, in which much was added; the second leaves little for the third.
	if _, err := k.conn.checkpoint(sqlite3.SQLITE_CHECKPOINT_PASSIVE); err != nil {
		return err
	}
	k.s.writer.turn.Lock()
	defer k.s.writer.turn.Unlock()
	k.done = k.s.writer.pages.Load()
	_, err = k.conn.checkpoint(sqlite3.SQLITE_CHECKPOINT_PASSIVE)
	return err
}

func (k *checkpointer) synchronous() string {
	if k.s.writer.sync == SyncOff {
		return "OFF"
	}
	return "FULL"
}

func (k *checkpointer) close() {
	if k.conn != nil {
		k.conn.close()
		k.conn = nil
	}
}

// rescueWAL copies the whole WAL to the database with syncs, and empties it.
func (w *writer) rescueWAL() error {
	_, err := w.conn.checkpoint(sqlite3.SQLITE_CHECKPOINT_TRUNCATE)
	return err
}
