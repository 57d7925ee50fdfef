package sqlite

import (
	"context"
	"time"

	"relais/internal/core"
)

// read runs a read on a connection of its own, in one snapshot, and interrupts it at the bound.
func (s *Store) read(caller context.Context, run func(*conn) error) error {
	return s.readWithin(caller, s.readTime, run)
}

// search is a read that may take longer, because it rests, and changes its snapshot each time.
//
// Only some of the readers are for searches: the others are free for those who wait for an answer.
func (s *Store) search(caller context.Context, run func(*conn, *pace) error) error {
	select {
	case s.searches <- struct{}{}:
		defer func() { <-s.searches }()
	case <-time.After(s.readTime):
		return core.Errorf(core.CodeUnavailable, "too many are searching: ask again later")
	case <-caller.Done():
		return caller.Err()
	}
	return s.readWithin(caller, searchFactor*s.readTime, func(c *conn) error {
		return run(c, &pace{ctx: caller, c: c, w: s.writer, began: time.Now(), written: s.writer.pages.Load()})
	})
}

func (s *Store) readWithin(caller context.Context, bound time.Duration, run func(*conn) error) error {
	if err := caller.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(caller, bound)
	defer cancel()
	var c *conn
	select {
	case <-s.closing.Done():
		return errClosed
	case c = <-s.readers:
	case <-ctx.Done():
		if err := caller.Err(); err != nil {
			return err
		}
		return core.Errorf(core.CodeUnavailable, "too many are reading: ask again later")
	}
	c, err := s.readOn(ctx, c, run)
	s.readers <- c
	if cancelled := caller.Err(); err != nil && cancelled != nil {
		return cancelled
	}
	return public(err)
}

// readOn runs a read and returns the connection, or nil when it can't be used again: one that was
// interrupted, or whose disk failed.
func (s *Store) readOn(ctx context.Context, c *conn, run func(*conn) error) (*conn, error) {
	if c == nil {
		var err error
		if c, err = connect(s.path, readOnly, "PRAGMA busy_timeout = 200", "PRAGMA query_only = 1",
			"PRAGMA cache_size = -2048", "PRAGMA temp_store = MEMORY"); err != nil {
			return nil, err
		}
	}
	calm := context.AfterFunc(ctx, c.interrupt)
	err := snapshot(c, run)
	if interrupted := !calm(); interrupted || codeOf(err) != 0 {
		c.close()
		return nil, err
	}
	return c, err
}

func snapshot(c *conn, run func(*conn) error) error {
	if err := c.q("BEGIN").exec(); err != nil {
		return err
	}
	err := run(c)
	if end := c.q("COMMIT").exec(); err == nil {
		err = end
	}
	return err
}

// pageOf is how many rows a page has: what was asked for, within bounds.
func pageOf(limit int) int64 {
	const usual, most = 100, 1000
	if limit <= 0 {
		return usual
	}
	return int64(min(limit, most))
}

const (
	// readSlice is how many rows a search looks at in one snapshot: a third of a millisecond. A snapshot that
	// stands for long keeps the WAL from starting again, and each commit then has to make it grow.
	readSlice = 1024
	// While something is being written, a search rests this many times as long as it runs: whoever searches
	// a million rows leaves the cores to those who wait for an answer.
	restFactor   = 7
	longestRest  = 20 * time.Millisecond
	searchFactor = 1 + restFactor // of a read's time: its rests don't count
)

// pace is how a search rests.
type pace struct {
	ctx     context.Context
	c       *conn
	w       *writer
	began   time.Time
	written int64
}

// rest ends the snapshot and begins another. No statement of the connection may be running.
func (p *pace) rest() error {
	if err := p.c.q("COMMIT").exec(); err != nil {
		return err
	}
	if written := p.w.pages.Load(); written != p.written {
		p.written = written
		select {
		case <-time.After(min(restFactor*time.Since(p.began), longestRest)):
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
	p.began = time.Now()
	return p.c.q("BEGIN").exec()
}
