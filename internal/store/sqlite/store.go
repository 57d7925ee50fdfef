// Package sqlite is the embedded store: one database in one data folder, for one process.
//
// Durability. A method that returned without an error has had its transaction written to the WAL and
// synced (synchronous=FULL). After a failed sync the connection is closed and reopened, and everything
// in the WAL is copied to the database and synced there before another commit is tried: a page that the
// kernel forgot after a failed sync is never built upon.
//
// One writer. All writes pass through one goroutine with one connection. It merges the operations that
// wait into one transaction and one sync: while a sync runs, the next ones gather. Each operation
// succeeds or fails alone; a failed commit fails all that were in it. Ingest, outcomes, claims,
// housekeeping and rejections wait in queues that share the writer's time by weight, so that a flood of
// one leaves the others their part.
//
// Readers have connections of their own, are interrupted after a bound, and so never hold the WAL for
// longer. Checkpoints have a connection of their own too.
//
// What the process knows of the folder between transactions (sequences, lanes' running counts, pauses)
// is held in memory, where a rolled-back operation is undone: the folder's lock proves that nobody else
// writes.
package sqlite

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// SyncMode says when the disk is waited for.
type SyncMode int

const (
	// SyncFull waits for the disk at every commit: what is acknowledged is kept.
	SyncFull SyncMode = iota
	// SyncOff waits never. It is for tests that count on nothing after a power cut.
	SyncOff
)

// Options say where the database is and bound what it may take. Zero members have defaults.
type Options struct {
	Dir string
	Now func() time.Time
	// ReaderTimeout ends a read (2 s): an open one keeps the WAL from starting again. A search, which opens
	// and ends many, has eight times as long.
	ReaderTimeout time.Duration
	// CheckpointBytes of WAL start a checkpoint in a flood (4 MiB), and twice as many in calm.
	CheckpointBytes int64
	Sync            SyncMode
	// Log is told what fails in the background (nowhere).
	Log *slog.Logger
}

const (
	pageSize        = 4096
	databaseName    = "relais.db"
	readers         = 4
	defaultReadTime = 2 * time.Second
	defaultWAL      = 4 << 20
)

// Store is the store.Store of a data folder.
type Store struct {
	path string
	now  func() time.Time
	log  *slog.Logger
	lock *os.File

	writer     *writer
	readers    chan *conn
	searches   chan struct{} // one for each that runs
	readTime   time.Duration
	checkpoint *checkpointer
	resumed    chan struct{} // a source was resumed: its deliveries are to be released
	background sync.WaitGroup
	backup     sync.Mutex // held while one is made, and for good from Close on
	closing    context.Context
	stop       context.CancelFunc
	closeOnce  sync.Once
}

var _ store.Store = (*Store)(nil)

// Open locks the folder (made at need, mode 0700), opens or makes its database, and starts the writer.
// Nothing in it grows with the number of stored events.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, core.Errorf(core.CodeUnavailable, "the data folder can't be made: %w; give its user the right to, or another folder as --data", err)
	}
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	s, err := open(o)
	if err != nil {
		_ = lock.Close()
		return nil, public(err)
	}
	s.lock = lock
	s.start()
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ReaderTimeout == 0 {
		o.ReaderTimeout = defaultReadTime
	}
	if o.CheckpointBytes == 0 {
		o.CheckpointBytes = defaultWAL
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func open(o Options) (*Store, error) {
	path := filepath.Join(o.Dir, databaseName)
	// SQLite gives the WAL and its index the database's mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's folder
	if err != nil {
		return nil, core.Errorf(core.CodeUnavailable, "the database can't be opened: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	s := &Store{
		path: path, now: o.Now, log: o.Log, readTime: o.ReaderTimeout,
		readers: make(chan *conn, readers), searches: make(chan struct{}, readers/2), resumed: make(chan struct{}, 1),
	}
	for range readers {
		s.readers <- nil
	}
	s.closing, s.stop = context.WithCancel(context.Background())
	s.writer = newWriter(s, o.Sync)
	if err := s.writer.open(); err != nil {
		return nil, err
	}
	if err := migrate(s.writer.conn); err != nil {
		s.writer.conn.close()
		return nil, err
	}
	if err := s.writer.loadMemory(); err != nil {
		s.writer.conn.close()
		return nil, err
	}
	s.checkpoint = newCheckpointer(s, o.CheckpointBytes)
	return s, nil
}

func (s *Store) start() {
	s.background.Go(s.writer.loop)
	s.background.Go(s.checkpoint.loop)
	s.background.Go(s.releaseResumed)
	s.background.Go(s.mergeKeys)
}

// Close waits for the operations that are in the writer, and closes. Later calls fail.
func (s *Store) Close() error {
	var err error
	s.closeOnce.Do(func() {
		s.stop()
		s.writer.wake()
		s.background.Wait()
		s.backup.Lock()
		for range readers {
			if c := <-s.readers; c != nil {
				c.close()
			}
		}
		s.checkpoint.close()
		s.writer.close()
		err = s.lock.Close()
	})
	return err
}

var errClosed = core.Errorf(core.CodeUnavailable, "%w", &store.Away{Words: "the store is closed", Cause: errors.New("closed")})

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
