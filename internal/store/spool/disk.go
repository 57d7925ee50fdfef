package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"relais/internal/core"
	"relais/internal/store"
)

// disk is the spool's database: one connection, one operation at a time, each one transaction that is
// synced. After a failure the connection is closed, and opened again by the next operation.
type disk struct {
	path    string
	max     int64
	figures atomic.Pointer[figures]

	mu   sync.Mutex
	db   *sql.DB
	conn *sql.Conn // nil after a failure, and after close
	end  bool
}

// figures are what the database holds. They are not known after a failure, until it is opened again: a
// commit may have been done whose answer was an error.
type figures struct {
	known      bool
	waiting    int
	bytes      int64
	aside      int
	asideBytes int64
	oldest     time.Time
}

var errFull = core.Errorf(core.CodeFull, "the spool is full: %w", store.ErrUnavailable)

// do runs one operation. The figures it returns are in force when it has no error.
func (d *disk) do(run func(c *sql.Conn, f figures) (figures, error)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.end {
		return away(errors.New("closed"))
	}
	if d.conn == nil {
		if err := d.open(); err != nil {
			return away(err)
		}
	}
	f, err := run(d.conn, *d.figures.Load())
	if errors.Is(err, errFull) {
		return err
	}
	if err != nil {
		// A disk that is full took nothing and lost nothing. After anything else SQLite may believe what the
		// disk doesn't hold.
		if codeOf(err)&0xff != sqlite3.SQLITE_FULL {
			d.drop()
		}
		return away(err)
	}
	d.figures.Store(&f)
	return nil
}

// tx runs one transaction.
func tx(c *sql.Conn, run func(t *sql.Tx) error) error {
	t, err := c.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer t.Rollback()
	if err := run(t); err != nil {
		return err
	}
	return t.Commit()
}

// drop closes the connection, and with it the lock. What the database holds is unknown until it is open
// again.
func (d *disk) drop() {
	f := *d.figures.Load()
	f.known = false
	d.figures.Store(&f)
	d.shut()
}

func (d *disk) shut() {
	if d.conn != nil {
		_ = d.conn.Close() // what was committed is synced; the rest is lost anyway
		_ = d.db.Close()
		d.conn, d.db = nil, nil
	}
}

func (d *disk) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end = true
	d.shut()
}

// write puts a batch in line. Events that stand in line already are left where they are.
func (d *disk) write(batch []store.Accepted) error {
	return d.do(func(c *sql.Conn, f figures) (figures, error) {
		var size int64
		for i := range batch {
			size += sizeOf(&batch[i])
		}
		if f.bytes+f.asideBytes+size > d.max {
			return f, errFull
		}
		err := tx(c, func(t *sql.Tx) error {
			insert, err := t.PrepareContext(context.Background(), insertWaiting)
			if err != nil {
				return err
			}
			defer func() { _ = insert.Close() }()
			for i := range batch {
				n, err := changed(insert.ExecContext(context.Background(), values(&batch[i])...))
				if err != nil {
					return err
				}
				if n == 0 {
					continue
				}
				if f.waiting == 0 {
					f.oldest = batch[i].Event.ReceivedAt
				}
				f.waiting++
				f.bytes += sizeOf(&batch[i])
			}
			return nil
		})
		return f, err
	})
}

// next returns the first in line, as many as one transaction of the store may have.
func (d *disk) next() ([]store.Accepted, error) {
	var batch []store.Accepted
	err := d.do(func(c *sql.Conn, f figures) (figures, error) {
		rows, err := c.QueryContext(context.Background(), selectWaiting, maxBatch)
		if err != nil {
			return f, err
		}
		defer rows.Close()
		var bytes int64
		for rows.Next() {
			a, err := scan(rows)
			if err != nil {
				return f, err
			}
			bytes += sizeOf(&a)
			if len(batch) > 0 && bytes > maxBatchBytes {
				break
			}
			batch = append(batch, a)
		}
		return f, rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return batch, nil
}

// remove takes events out of the line. Those that aren't in it don't matter.
func (d *disk) remove(batch []store.Accepted) error {
	return d.do(func(c *sql.Conn, f figures) (figures, error) {
		err := tx(c, func(t *sql.Tx) error {
			remove, err := t.PrepareContext(context.Background(), "DELETE FROM waiting WHERE id = ?")
			if err != nil {
				return err
			}
			defer func() { _ = remove.Close() }()
			for i := range batch {
				n, err := changed(remove.ExecContext(context.Background(), batch[i].Event.ID[:]))
				if err != nil {
					return err
				}
				f.waiting -= int(n)
				f.bytes -= n * sizeOf(&batch[i])
			}
			f.oldest, err = oldest(t)
			return err
		})
		return f, err
	})
}

// putAside takes an event out of the line and keeps it with the reason.
func (d *disk) putAside(a *store.Accepted, reason string, at time.Time) error {
	return d.do(func(c *sql.Conn, f figures) (figures, error) {
		err := tx(c, func(t *sql.Tx) error {
			ctx, id := context.Background(), a.Event.ID[:]
			if _, err := t.ExecContext(ctx, moveAside, reason, at.UnixMicro(), id); err != nil {
				return err
			}
			n, err := changed(t.ExecContext(ctx, "DELETE FROM waiting WHERE id = ?", id))
			if err != nil || n == 0 {
				return err
			}
			f.waiting--
			f.bytes -= sizeOf(a)
			f.oldest, err = oldest(t)
			if err != nil {
				return err
			}
			return tally(t, "aside", &f.aside, &f.asideBytes)
		})
		return f, err
	})
}

// nextAside returns the first event that stands aside after that place, and its place; 0 when there is none.
func (d *disk) nextAside(after int64) (a store.Accepted, seq int64, err error) {
	err = d.do(func(c *sql.Conn, f figures) (figures, error) {
		err := c.QueryRowContext(context.Background(), "SELECT seq FROM aside WHERE seq > ? ORDER BY seq LIMIT 1", after).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			return f, nil
		}
		if err != nil {
			return f, err
		}
		rows, err := c.QueryContext(context.Background(), selectAside, seq)
		if err != nil {
			return f, err
		}
		defer rows.Close()
		for rows.Next() {
			if a, err = scan(rows); err != nil {
				return f, err
			}
		}
		return f, rows.Err()
	})
	return a, seq, err
}

// removeAside forgets an event that the store took at last.
func (d *disk) removeAside(seq int64) error {
	return d.do(func(c *sql.Conn, f figures) (figures, error) {
		err := tx(c, func(t *sql.Tx) error {
			if _, err := t.ExecContext(context.Background(), "DELETE FROM aside WHERE seq = ?", seq); err != nil {
				return err
			}
			return tally(t, "aside", &f.aside, &f.asideBytes)
		})
		return f, err
	})
}

// tidy gives the space back, and with it the bytes of what was moved: they leave the folder.
func (d *disk) tidy() error {
	return d.do(func(c *sql.Conn, f figures) (figures, error) {
		if _, err := c.ExecContext(context.Background(), "VACUUM"); err != nil {
			return f, err
		}
		return f, emptyWAL(c)
	})
}

func changed(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func oldest(t *sql.Tx) (time.Time, error) {
	var at int64
	err := t.QueryRowContext(context.Background(), "SELECT received FROM waiting ORDER BY seq LIMIT 1").Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return time.UnixMicro(at).UTC(), err
}

func tally(t *sql.Tx, table string, rows *int, bytes *int64) error {
	query := "SELECT count(*), ifnull(sum(size), 0) FROM " + table
	return t.QueryRowContext(context.Background(), query).Scan(rows, bytes)
}

// away says that the spool can't be used now: what was to be written isn't acknowledged.
func away(err error) error {
	cause := fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	if codeOf(err)&0xff == sqlite3.SQLITE_FULL {
		return core.Errorf(core.CodeFull, "the spool's disk is full: %w", cause)
	}
	return core.Errorf(core.CodeUnavailable, "the spool can't be used: %w", cause)
}

// codeOf returns SQLite's extended result code, or 0.
func codeOf(err error) int {
	var e interface{ Code() int }
	if errors.As(err, &e) {
		return e.Code()
	}
	return sqlite3.SQLITE_OK
}
