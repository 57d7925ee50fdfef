// Package spool keeps accepted events on this node's disk while the database is away, and moves them to it
// in order of arrival when it is back. It stands between ingest and a store that is reached over a network.
//
// An event that Append returned without an error is synced to disk somewhere: in the store, or here. While
// the store answers in time, Append is the store's own, and nothing is written here. When it is away, takes
// longer than a bound, or a commit's outcome is unknown, the batch is written to the spool under the same
// ids and acknowledged (its results have no Seq); from then on everything goes to the spool at once, behind
// what waits there, until Run has moved it all. Destinations are matched when an event is moved, by the
// routes then in force.
//
// Killed at any instant:
//   - before the spool's commit: nothing was acknowledged, unless the store's commit was, and the sender
//     hears nothing;
//   - after it: the event is moved by the next life of the folder, or by Drain;
//   - between the store's commit and the row's removal, or when the outcome of a commit is unknown: the row is
//     sent again, and the store, which knows its id, stores nothing twice;
//   - while a row is put aside: it stands in line or aside, never in both and never in none.
//
// An event that the store refuses for the event's own fault is found by halves and put aside: it is kept, counted
// and told in Status, tried again now and then, and holds nobody up. It is never dropped.
//
// The folder holds spool.db, a SQLite database (its header's application id is "rlsp"), with SQLite's own
// spool.db-wal beside it: copy both or none. Its tables are described in schema.sql. The process that uses it
// holds SQLite's exclusive lock on spool.db, which ends with the process; a second one is refused. When a
// spool is empty again, its file is emptied too: what was moved is nowhere in the folder. The file "id" beside it
// names the folder, whichever node it serves.
package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	defaultBound    = time.Second
	defaultMaxBytes = 1 << 30
	// callTime ends a call of the store, which must return then. It is less than what ingest waits.
	callTime = 10 * time.Second
	// One transaction of the store takes as much as ingest gives it at most.
	maxBatch      = 512
	maxBatchBytes = 8 << 20
)

// Remote is the store that events are for. Append must return soon after its context ends.
type Remote interface {
	Append(ctx context.Context, batch []store.Accepted) ([]store.Appended, error)
}

// Rematch fills Deliveries, FanOut and RouteSet of events that are moved, by the routes now in force. An error keeps
// them in the spool, to be tried again: it is never the fault of an event.
type Rematch func(ctx context.Context, batch []store.Accepted) error

// Options say where the spool is and what it stands before. Zero members have defaults, but Dir, Store and Rematch.
type Options struct {
	Dir     string
	Store   Remote
	Rematch Rematch
	// Bound is how long a batch waits for the store before it is spooled (1 s).
	Bound time.Duration
	// MaxBytes bounds what the spool holds (1 GiB). The disk must have as much again for a moment's log.
	MaxBytes int64
	// Moved is told of each batch that left the spool, so that its deliveries begin at once. It must not
	// wait for anything, and must not keep the batch. Nil tells nobody.
	Moved func(batch []store.Accepted, results []store.Appended)
	Log   *slog.Logger
	Now   func() time.Time
}

// Spool is a store's Append that goes on while the store is away. Run must run for events to be moved.
type Spool struct {
	mover
	id      string
	bound   time.Duration
	closing context.Context
	stop    context.CancelFunc

	mu      sync.Mutex
	changed chan struct{} // closed, and another put in its place, when one of the following changes
	direct  bool          // Append is the store's
	calls   int           // of the store, by Append, that haven't ended
	writing int           // batches on their way into the spool
	gate    chan struct{} // closed at its end: Append waits while the last events are moved, for the bound at most
	closed  bool
	quick   bool // the store's last call ended within the bound
	untidy  bool // the file held something since it was emptied
	history history
}

// New opens the folder's spool, made at need, and locks it. It doesn't call the store: a node starts and
// acknowledges without it.
func New(o Options) (*Spool, error) {
	if o.Store == nil || o.Rematch == nil || o.Dir == "" {
		return nil, errors.New("a spool needs a folder, a store, and a way to match")
	}
	o = o.withDefaults()
	if err := makeFolder(o.Dir); err != nil {
		return nil, err
	}
	d, err := openDisk(o.Dir, o.MaxBytes)
	if err != nil {
		return nil, err
	}
	id, err := name(o.Dir)
	if err != nil {
		o.Log.Warn("the spool's folder can't be named: another life of this node can't be told to have emptied it", "error", err)
	}
	s := &Spool{
		id:    id,
		mover: mover{disk: d, remote: o.Store, rematch: o.Rematch, log: o.Log, now: o.Now},
		bound: o.Bound, changed: make(chan struct{}),
	}
	s.closing, s.stop = context.WithCancel(context.Background())
	s.note = s.noteCall
	s.moved = func(batch []store.Accepted, results []store.Appended) {
		s.change(func() { s.history.moved += int64(len(batch)) })
		if o.Moved != nil {
			o.Moved(batch, results)
		}
	}
	f := d.figures.Load()
	s.direct, s.untidy = f.waiting == 0, f.waiting > 0
	if f.waiting > 0 {
		s.log.Info("the spool holds events of an earlier run", "events", f.waiting, "bytes", f.bytes, "oldest", f.oldest)
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Bound <= 0 {
		o.Bound = defaultBound
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Append stores the batch, or writes it to the spool; either is synced when it returns without an error. It may be
// called by several at once, and again with the same batch. A result without Seq stands for a spooled
// event, of which nothing more is known yet.
func (s *Spool) Append(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
	direct, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	if direct {
		return s.appendDirect(ctx, batch, true)
	}
	err = s.disk.write(batch)
	// A spool that can't be written, and in which nobody is before them, is no reason to refuse what the
	// store may take.
	direct = err != nil && s.disk.figures.Load().waiting == 0
	s.change(func() {
		s.writing--
		if direct {
			s.calls++
		}
		if err == nil {
			s.history.spooled += int64(len(batch))
		}
	})
	switch {
	case direct:
		return s.appendDirect(ctx, batch, false)
	case err != nil:
		return nil, err
	}
	return make([]store.Appended, len(batch)), nil
}

// enter decides which way a batch goes, and counts it there. It waits while the last events are moved.
func (s *Spool) enter(ctx context.Context) (direct bool, err error) {
	s.mu.Lock()
	for s.gate != nil {
		gate := s.gate
		s.mu.Unlock()
		select {
		case <-gate:
		case <-ctx.Done():
			return false, away(ctx.Err())
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return false, away(errors.New("closed"))
	case s.direct:
		s.calls++
	default:
		s.writing++
	}
	return s.direct, nil
}

// call is one call of the store by Append. Its batch is its own: ingest uses the bytes of an acknowledged
// event again, while a call that is late may still read them.
type call struct {
	batch    []store.Accepted
	appended []store.Appended
	err      error
	done     chan struct{}
}

func (s *Spool) appendDirect(ctx context.Context, batch []store.Accepted, spool bool) ([]store.Appended, error) {
	c := &call{batch: clone(batch), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.appended, c.err = s.send(s.closing, c.batch)
	}()
	timer := time.NewTimer(s.bound)
	defer timer.Stop()
	late := timer.C
	var cause error
	for {
		select {
		case <-c.done:
			defer s.change(func() { s.calls-- })
			if c.err == nil || !unavailable(c.err) || !spool {
				return c.appended, c.err
			}
			if err := s.divert(batch, c.err); err != nil {
				return nil, errors.Join(c.err, err)
			}
			return make([]store.Appended, len(batch)), nil
		case <-late:
			cause = fmt.Errorf("%w: no answer within %s", store.ErrUnavailable, s.bound)
			if spool && s.divert(batch, cause) == nil {
				go s.settle(c, true)
				return make([]store.Appended, len(batch)), nil
			}
			// It can't be spooled: it stays with the store, however long that takes.
			late, spool = nil, false
		case <-ctx.Done():
			go s.settle(c, false)
			return nil, away(ctx.Err())
		}
	}
}

// settle waits for a call whose caller has gone. What it stored need not be sent again.
func (s *Spool) settle(c *call, spooled bool) {
	<-c.done
	if spooled && c.err == nil {
		if s.disk.remove(c.batch) == nil {
			s.moved(c.batch, c.appended)
		}
	}
	s.change(func() { s.calls-- })
}

// divert writes a batch to the spool that the store didn't take, and sends all after it the same way.
func (s *Spool) divert(batch []store.Accepted, cause error) error {
	first := false
	s.change(func() {
		first = s.direct
		s.direct, s.untidy = false, true
		s.writing++
	})
	err := s.disk.write(batch)
	s.change(func() {
		s.writing--
		s.history.fail(cause, s.now())
		if err == nil {
			s.history.spooled += int64(len(batch))
		}
	})
	if first {
		s.log.Warn("the database is away or slow: events are kept in the spool", "error", cause)
	}
	if err != nil {
		s.log.Error("the spool could not be written", "error", err)
	}
	return err
}

// change changes what others wait for.
func (s *Spool) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// await returns true when the condition holds, which is asked with mu held, and false when ctx ends or the timer
// fires first.
func (s *Spool) await(ctx context.Context, timer <-chan time.Time, condition func() bool) bool {
	for {
		s.mu.Lock()
		holds, changed := condition(), s.changed
		s.mu.Unlock()
		if holds {
			return true
		}
		select {
		case <-changed:
		case <-timer:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// Close ends the calls that run, waits for them, and gives the folder up. What waits is moved by the next
// life of the folder. Run must have returned.
func (s *Spool) Close() error {
	s.change(func() { s.closed = true })
	s.stop()
	s.await(context.Background(), nil, func() bool { return s.calls == 0 && s.writing == 0 })
	s.disk.close()
	return nil
}

// unavailable tells whether an error is the store's and not that of an event.
func unavailable(err error) bool {
	code := core.CodeOf(err)
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		code == core.CodeUnavailable || code == core.CodeFull
}

// clone copies a batch, and the bytes that its owner will use again.
func clone(batch []store.Accepted) []store.Accepted {
	out := make([]store.Accepted, len(batch))
	size := 0
	for i := range batch {
		size += len(batch[i].Event.Header) + len(batch[i].Event.Body)
	}
	bytes := make([]byte, 0, size)
	keep := func(b []byte) []byte {
		from := len(bytes)
		bytes = append(bytes, b...)
		return bytes[from:len(bytes):len(bytes)]
	}
	for i, a := range batch {
		a.Event.Header, a.Event.Body = keep(a.Event.Header), keep(a.Event.Body)
		out[i] = a
	}
	return out
}
