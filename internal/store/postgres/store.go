// Package postgres keeps relais' data in a PostgreSQL (14 or newer) that several nodes share.
//
// Each method is one transaction. An Append, and whatever else is acknowledged, is committed with
// synchronous_commit on before it returns. If the process dies, or is cut off, at any line, the transaction
// is either committed or not: methods may be called again with the same parameters, and are known by their
// ids, claims and states. If the database goes away, methods return store.ErrUnavailable, and the pool
// connects again by itself.
//
// Nothing is held over from one transaction to the next: no session lock, no setting, no LISTEN. So relais
// works through a pooler in transaction mode.
package postgres

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"relais/internal/core"
	"relais/internal/store"
)

// Options say where the database is. Zero members have defaults.
type Options struct {
	URL string
	// Now is a test's clock (the database's). It is given to every statement that asks for the time.
	Now func() time.Time
	// Patience bounds a transaction, with waiting for a connection and trying again (10 s).
	Patience time.Duration
	// ReaderTimeout ends a read (2 s); a search has five times as long.
	ReaderTimeout time.Duration
	// Connections bounds the pool (16).
	Connections int32
	// Later opens a store whose database is away: its methods return store.ErrUnavailable until it is there.
	Later bool
	// Log is told what fails in the background (nowhere).
	Log *slog.Logger
}

const (
	defaultPatience    = 10 * time.Second
	defaultReadTime    = 2 * time.Second
	defaultConnections = 16
	prepareEvery       = time.Second
)

// Store is the store.Store of a PostgreSQL database.
type Store struct {
	pool     *pgxpool.Pool
	clock    func() time.Time
	log      *slog.Logger
	patience time.Duration
	readTime time.Duration

	lanes     laneIDs
	retention retention
	releasing chan struct{} // holds one
	// prepared is set once the tables are as this program needs them; unready says why they aren't.
	prepared atomic.Bool
	unready  atomic.Pointer[error]
	// network is what is known of the way to the server; renewed is when the connections were last replaced.
	network  atomic.Int32
	renewed  atomic.Int64
	warnings atomic.Pointer[[]string]
	reading  chan struct{} // one for each read that runs
	// importing is set while another store is copied into this one; nobody else works on it then.
	importing bool

	repeats    repeats
	background sync.WaitGroup
	closing    context.Context
	stop       context.CancelFunc
	closeOnce  sync.Once
}

var _ store.Store = (*Store)(nil)

var (
	errNotTried   = errors.New("the database was not asked yet")
	errRolledBack = errors.New("the database rolled the transaction back")
)

// Open connects, brings the tables to this program's version, and makes the coming days' partitions.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	s, err := connect(o)
	if err != nil {
		return nil, err
	}
	err = s.prepare(ctx, !o.Later)
	if errors.Is(err, store.ErrUnavailable) && o.Later {
		s.log.Warn("the database is away; it is tried again each second, and until then nothing is read from it", "error", err)
		err = nil
	}
	if err != nil {
		s.stop()
		s.pool.Close()
		return nil, err
	}
	s.background.Go(s.tend)
	return s, nil
}

// connect makes the pool, which connects when it is asked to.
func connect(o Options) (*Store, error) {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "store: the URL can't be read: postgres://user:password@host:5432/database is expected")
	}
	config.MaxConns = o.Connections
	config.ConnConfig.ConnectTimeout = min(o.Patience, 5*time.Second)
	s := &Store{releasing: make(chan struct{}, 1), clock: o.Now, log: o.Log, patience: o.Patience, readTime: o.ReaderTimeout, reading: make(chan struct{}, max(o.Connections/3, 1))}
	s.configure(config, o.URL)
	s.closing, s.stop = context.WithCancel(context.Background())
	if s.pool, err = pgxpool.NewWithConfig(s.closing, config); err != nil {
		s.stop()
		return nil, public(err)
	}
	return s, nil
}

// tend prepares the database once it is there, and then makes partitions in time.
func (s *Store) tend() {
	for !s.prepared.Load() {
		select {
		case <-s.closing.Done():
			return
		case <-time.After(prepareEvery):
		}
		if err := s.prepare(s.closing, true); err != nil && !errors.Is(err, store.ErrUnavailable) {
			s.log.Error("the database can't be used", "error", err)
		}
	}
	s.background.Go(s.tendPauses)
	s.background.Go(s.tendSettings)
	s.tendPartitions()
}

func (o Options) withDefaults() Options {
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.ReaderTimeout == 0 {
		o.ReaderTimeout = defaultReadTime
	}
	if o.Connections == 0 {
		o.Connections = defaultConnections
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// prepare brings the database to where the methods can work on it. Unless wait is set it doesn't wait for those who hold
// tables that are to be altered.
func (s *Store) prepare(ctx context.Context, wait bool) error {
	err := s.makeReady(ctx, wait)
	if err != nil {
		s.unready.Store(&err)
		return err
	}
	s.prepared.Store(true)
	return nil
}

func (s *Store) makeReady(ctx context.Context, wait bool) error {
	if err := s.meet(ctx); err != nil {
		return public(err)
	}
	if err := s.migrate(ctx, wait); err != nil {
		return err
	}
	if err := s.refuseHalfCopied(ctx); err != nil {
		return public(err)
	}
	return public(s.makePartitions(ctx))
}

// notPrepared is the answer of methods before the database could be prepared: why it couldn't. Whatever that is, it is no
// fault of what they were asked for.
func (s *Store) notPrepared() error {
	why := errNotTried
	if last := s.unready.Load(); last != nil {
		why = *last
	}
	if errors.Is(why, store.ErrUnavailable) {
		return why
	}
	return core.Errorf(core.CodeUnavailable, "the store can't be used: %w", &store.Away{Words: why.Error(), Cause: why, Lasting: true})
}

// meet looks at the server, and at the way to it.
func (s *Store) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	if err := s.check(ctx); err != nil {
		return err
	}
	return s.meetPooler(ctx)
}

// Close waits for what runs, and closes. Later calls fail.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.stop()
		s.background.Wait()
		s.pool.Close()
	})
	return nil
}

// given is the tests' clock, nil for the database's.
func (s *Store) given() *int64 {
	if s.clock == nil {
		return nil
	}
	now := s.clock().UnixMicro()
	return &now
}

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
