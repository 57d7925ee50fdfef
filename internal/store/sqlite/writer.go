package sqlite

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"relais/internal/core"
	"relais/internal/store"
)

// kind is the queue that an operation waits in.
type kind int

const (
	ingest kind = iota
	outcome
	claiming
	housekeeping
	rejecting
	kinds
)

// weights share the writer's time among the queues that have something waiting. Ingest and outcomes
// have the same: neither a flood of events nor one of outcomes leaves the other less than a third.
var weights = [kinds]time.Duration{ingest: 8, outcome: 8, claiming: 4, housekeeping: 2, rejecting: 1}

const (
	// A transaction takes operations for this long at most: what arrives later waits for the next one,
	// and what is in it waits no longer than this for its sync to begin.
	batchTime = 4 * time.Millisecond
	// A lock of another process is waited for this long; only tools of the operator's take one.
	lockPatience = "PRAGMA busy_timeout = 500"
	// 16 MB of pages, just below a power of two: after a commit that moved pages about, SQLite goes through
	// all slots of its cache's hash table, which has as many slots as the next power of two.
	writerCache = "PRAGMA cache_size = 4000"
)

// op is one operation on its way through the writer.
type op struct {
	run   func(*tx) error
	err   error
	done  chan struct{}
	taken atomic.Bool // by the writer, or by a caller that gave up
}

type queue struct {
	ops   []*op
	spent time.Duration // the time it has used, divided by its weight
}

// writer owns the writing connection.
type writer struct {
	s    *Store
	sync SyncMode

	mu     sync.Mutex
	queues [kinds]queue
	served time.Duration // spent of the queue that was served last
	signal chan struct{}
	merge  chan struct{} // holds one: there are dedup keys to merge

	// turn is held during a transaction; the checkpointer takes it to have the WAL to itself.
	turn sync.Mutex
	conn *conn // nil after a failure, until it can be opened again
	// suspect is set after a failure of the disk, until the WAL's content is safe in the database.
	suspect bool
	memory  *memory
	// lives outlives memory that is read again: the deliveries claimed under it are still running here.
	lives     map[string]int64
	retention retention
	pages     atomic.Int64 // written to the WAL
	events    []newEvent   // of one transaction after the other
}

func newWriter(s *Store, mode SyncMode) *writer {
	return &writer{
		s: s, sync: mode, signal: make(chan struct{}, 1), merge: make(chan struct{}, 1), lives: map[string]int64{},
		events: make([]newEvent, 0, maxRows),
	}
}

func (w *writer) open() error {
	synchronous := "PRAGMA synchronous = FULL"
	if w.sync == SyncOff {
		synchronous = "PRAGMA synchronous = OFF"
	}
	c, err := connect(w.s.path, readWrite,
		lockPatience,
		"PRAGMA page_size = 4096", "PRAGMA auto_vacuum = INCREMENTAL", "PRAGMA journal_mode = WAL",
		synchronous, "PRAGMA wal_autocheckpoint = 0", writerCache, "PRAGMA temp_store = MEMORY",
		"PRAGMA secure_delete = FAST", "PRAGMA journal_size_limit = 67108864")
	if err != nil {
		return err
	}
	w.conn = c
	return nil
}

// reopen brings the connection back after a failure. After a failed sync the kernel may hold pages of
// the WAL as clean that never reached the disk; copying the whole WAL to the database writes them
// again, elsewhere, before anything is built on them.
func (w *writer) reopen() error {
	if w.conn == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	if w.suspect {
		if err := w.rescueWAL(); err != nil {
			w.conn.close()
			w.conn = nil
			return err
		}
		w.suspect = false
	}
	if w.memory == nil {
		return w.loadMemory()
	}
	return nil
}

// do runs an operation in the writer and returns when it is committed and synced.
func (s *Store) do(ctx context.Context, k kind, run func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := &op{run: run, done: make(chan struct{})}
	if !s.writer.add(k, o) {
		return errClosed
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
	}
	if o.taken.CompareAndSwap(false, true) {
		return ctx.Err()
	}
	<-o.done
	return o.err
}

func (w *writer) add(k kind, o *op) bool {
	w.mu.Lock()
	if w.s.closing.Err() != nil {
		w.mu.Unlock()
		return false
	}
	q := &w.queues[k]
	if len(q.ops) == 0 {
		// A queue that was idle starts level with the others: idling earns nothing.
		q.spent = max(q.spent, w.served)
	}
	q.ops = append(q.ops, o)
	w.mu.Unlock()
	w.wake()
	return true
}

func (w *writer) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// next takes the operation whose queue has used the least of its share.
func (w *writer) next() (kind, *op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		best := kinds
		for k := range w.queues {
			q := &w.queues[k]
			if len(q.ops) > 0 && (best == kinds || q.spent < w.queues[best].spent) {
				best = kind(k)
			}
		}
		if best == kinds {
			return kinds, nil
		}
		q := &w.queues[best]
		o := q.ops[0]
		q.ops[0] = nil
		if q.ops = q.ops[1:]; len(q.ops) == 0 {
			q.ops = nil
		}
		w.served = max(w.served, q.spent)
		if o.taken.CompareAndSwap(false, true) {
			return best, o
		}
	}
}

func (w *writer) charge(k kind, spent time.Duration) {
	w.mu.Lock()
	w.queues[k].spent += spent / weights[k]
	w.mu.Unlock()
}

func (w *writer) loop() {
	for {
		k, first := w.next()
		if first == nil {
			if w.s.closing.Err() != nil {
				// What was added between the look and the closing; nothing is from here on.
				if k, first = w.next(); first == nil {
					return
				}
			}
		}
		if first == nil {
			select {
			case <-w.signal:
			case <-w.s.closing.Done():
			}
			continue
		}
		w.turn.Lock()
		batch, err := w.transact(k, first)
		if w.conn != nil {
			w.pages.Store(int64(w.conn.pagesWritten()))
		}
		w.considerKeys()
		w.turn.Unlock()
		for _, o := range batch {
			if err != nil {
				o.err = err
			}
			close(o.done)
		}
		w.s.checkpoint.consider()
	}
}

// errAlone says that an operation failed in a way that needs the batch to be run again, each operation
// in a savepoint of its own.
var errAlone = errors.New("an operation of the batch failed")

// transact runs a batch as one transaction. Nearly always every operation succeeds, so there are no
// savepoints at first: when one fails after it has written, everything is rolled back and run again
// with them.
func (w *writer) transact(k kind, first *op) ([]*op, error) {
	var batch []*op
	t, err := w.ready()
	if err != nil {
		return append(w.drain(), first), w.failed(err)
	}
	mark := w.memory.mark()
	err = w.fill(t, k, first, &batch)
	if errors.Is(err, errAlone) {
		w.rollback(mark)
		if t, err = w.begin(); err == nil {
			err = runApart(t, batch)
		}
	}
	if err == nil {
		err = t.commit()
	}
	if err != nil {
		w.rollback(mark)
		return batch, w.failed(err)
	}
	w.memory.forgetUndo()
	return batch, nil
}

// fill runs operations until none waits or the transaction's time is used up.
func (w *writer) fill(t *tx, k kind, o *op, batch *[]*op) error {
	begun := time.Now()
	last := begun
	for o != nil {
		*batch = append(*batch, o)
		err := runTogether(t, o)
		now := time.Now()
		w.charge(k, now.Sub(last))
		last = now
		if err != nil {
			return err
		}
		if now.Sub(begun) > batchTime || k == housekeeping {
			return nil
		}
		k, o = w.next()
	}
	return nil
}

// runTogether runs an operation without a savepoint. One that fails before it wrote anything has failed
// alone.
func runTogether(t *tx, o *op) error {
	before := t.c.totalChanges()
	mark := t.m.mark()
	o.err = o.run(t)
	if o.err == nil {
		return nil
	}
	t.forgetEvents()
	if _, _, isAway := away(o.err); isAway {
		return o.err
	}
	if t.c.totalChanges() != before || !t.c.inTransaction() || errors.Is(o.err, errStored) {
		return errAlone
	}
	t.m.restore(mark)
	return nil
}

func runApart(t *tx, batch []*op) error {
	t.alone = true
	for _, o := range batch {
		if err := t.c.q("SAVEPOINT alone").exec(); err != nil {
			return err
		}
		mark := t.m.mark()
		if o.err = o.run(t); o.err != nil {
			if _, _, isAway := away(o.err); isAway {
				return o.err
			}
			t.forgetEvents()
			t.m.restore(mark)
			if err := t.c.q("ROLLBACK TO alone").exec(); err != nil {
				return err
			}
		}
		if err := t.c.q("RELEASE alone").exec(); err != nil {
			return err
		}
	}
	return nil
}

// ready begins a transaction, after bringing the connection back if need be.
func (w *writer) ready() (*tx, error) {
	if err := w.reopen(); err != nil {
		return nil, err
	}
	return w.begin()
}

// drain takes all that waits. While the database is away, finding that out may take as long as
// SQLite waits for a lock: it is found out once for all.
func (w *writer) drain() []*op {
	w.mu.Lock()
	defer w.mu.Unlock()
	var waiting []*op
	for k := range w.queues {
		for _, o := range w.queues[k].ops {
			if o.taken.CompareAndSwap(false, true) {
				waiting = append(waiting, o)
			}
		}
		w.queues[k].ops = nil
	}
	return waiting
}

func (w *writer) begin() (*tx, error) {
	if w.conn == nil { // a rollback failed
		return nil, errors.New("the connection was lost")
	}
	if err := w.conn.q("BEGIN IMMEDIATE").exec(); err != nil {
		return nil, err
	}
	now := w.s.now().UnixMicro()
	return &tx{s: w.s, c: w.conn, m: w.memory, now: now, events: w.events[:0]}, nil
}

func (w *writer) rollback(mark mark) {
	w.memory.restore(mark)
	if w.conn != nil && w.conn.inTransaction() {
		if err := w.conn.q("ROLLBACK").exec(); err != nil {
			w.conn.close()
			w.conn = nil
		}
	}
}

// failed decides what a batch's error means for the connection.
func (w *writer) failed(err error) error {
	if mustReopen(err) {
		if w.conn != nil {
			w.conn.close()
			w.conn = nil
		}
		w.memory = nil // read again: a commit whose outcome is unknown may have happened
		w.suspect = true
	}
	if codeOf(err)&0xff == sqlite3.SQLITE_FULL {
		w.s.checkpoint.hurry.Store(true)
	}
	if err = public(err); core.CodeOf(err) == "" {
		// The batch failed as a whole, by an error that belongs to none of its operations.
		err = core.Errorf(core.CodeUnavailable, "the store can't be used: %w", &store.Away{Words: err.Error(), Cause: err})
	}
	return err
}

func (w *writer) close() {
	if w.conn != nil {
		w.conn.close()
	}
}
