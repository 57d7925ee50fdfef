package sqlite

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"
)

// conn is one connection to the database, used by one goroutine at a time; only interrupt may be called
// from another.
//
// It calls SQLite's own functions. The way through database/sql, or through the driver's connection,
// costs a boxed value for every parameter and the names and types of every column at each query, and
// can't interrupt a query between its rows.
type conn struct {
	tls     *libc.TLS
	db      uintptr
	scratch uintptr // 16 bytes for results that SQLite writes through pointers
	stmts   map[string]*stmt
	// onClose, where it is set, ends what reads from the connection besides its statements.
	onClose func()

	// mu keeps interrupt from a handle that is being closed.
	mu          sync.Mutex
	closed      bool
	interrupted atomic.Bool
}

type openMode int32

const (
	readWrite openMode = sqlite3.SQLITE_OPEN_READWRITE
	readOnly  openMode = sqlite3.SQLITE_OPEN_READONLY
)

// connect opens the file, which must exist. Foreign goroutines don't share the handle, so SQLite's
// own mutexes are left out.
func connect(path string, mode openMode, pragmas ...string) (*conn, error) {
	c := &conn{tls: libc.NewTLS(), stmts: map[string]*stmt{}}
	c.scratch = libc.Xmalloc(c.tls, 16)
	name, err := libc.CString(path)
	if err != nil || c.scratch == 0 {
		c.tls.Close()
		return nil, fmt.Errorf("opening %s: out of memory", path)
	}
	defer libc.Xfree(c.tls, name)
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, c.scratch, int32(mode)|sqlite3.SQLITE_OPEN_NOMUTEX, 0)
	c.db = uintptr(c.word())
	if rc == sqlite3.SQLITE_OK {
		rc = sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	}
	if rc == sqlite3.SQLITE_OK {
		// Plans don't depend on parameters: else each new LIMIT has its statement prepared again.
		rc = sqlite3.Xsqlite3_db_config(c.tls, c.db, sqlite3.SQLITE_DBCONFIG_ENABLE_QPSG, libc.VaList(c.scratch, 1, uintptr(0)))
	}
	if rc != sqlite3.SQLITE_OK {
		err := c.failure(rc, "open")
		c.close()
		return nil, err
	}
	for _, pragma := range pragmas {
		if err := c.exec(pragma); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// word reads what SQLite wrote to the start of the scratch memory.
func (c *conn) word() uint64 {
	return binary.NativeEndian.Uint64(libc.GoBytes(c.scratch, 8))
}

func (c *conn) failure(rc int32, doing string) error {
	message := libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 {
		message = libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))
	}
	return &sqlError{code: rc, message: message, doing: doing}
}

// q returns the statement of that text, reset and ready to be bound. A statement that can't be prepared
// reports it when it is run.
func (c *conn) q(sql string) *stmt {
	s := c.stmts[sql]
	if s == nil {
		s = &stmt{c: c, sql: sql}
		s.err = s.prepare()
		if s.err != nil {
			return s
		}
		c.stmts[sql] = s
	}
	s.reset()
	return s
}

// exec runs a script, whose statements aren't kept.
func (c *conn) exec(script string) error {
	text, err := libc.CString(script)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, text)
	rc := sqlite3.Xsqlite3_exec(c.tls, c.db, text, 0, 0, 0)
	if rc != sqlite3.SQLITE_OK {
		return c.failure(rc, script)
	}
	return nil
}

// changes is how many rows the last statement changed.
func (c *conn) changes() int { return int(sqlite3.Xsqlite3_changes(c.tls, c.db)) }

func (c *conn) inTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// pagesWritten is how many pages the connection has written to the WAL since it was opened.
func (c *conn) pagesWritten() int {
	rc := sqlite3.Xsqlite3_db_status(c.tls, c.db, sqlite3.SQLITE_DBSTATUS_CACHE_WRITE, c.scratch, c.scratch+8, 0)
	if rc != sqlite3.SQLITE_OK {
		return 0
	}
	return int(uint32(c.word())) //nolint:gosec // a count
}

// checkpoint copies what it can from the WAL to the database without waiting for anyone, and returns
// how many frames the WAL holds and how many of them are copied.
func (c *conn) checkpoint(mode int32) (frames int, err error) {
	rc := sqlite3.Xsqlite3_wal_checkpoint_v2(c.tls, c.db, 0, mode, c.scratch, c.scratch+8)
	if rc != sqlite3.SQLITE_OK {
		return 0, c.failure(rc, "checkpoint")
	}
	return int(int32(c.word())), nil //nolint:gosec // SQLite wrote an int
}

// interrupt ends what the connection runs. It may be called from any goroutine.
func (c *conn) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.interrupted.Store(true)
	tls := libc.NewTLS()
	sqlite3.Xsqlite3_interrupt(tls, c.db)
	tls.Close()
}

func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	if c.onClose != nil {
		c.onClose()
	}
	for _, s := range c.stmts {
		s.finalize()
	}
	if c.db != 0 {
		sqlite3.Xsqlite3_close_v2(c.tls, c.db)
	}
	libc.Xfree(c.tls, c.scratch)
	c.tls.Close()
}

func (c *conn) malloc(n int) uintptr { return libc.Xmalloc(c.tls, types.Size_t(n)) } //nolint:gosec // a length

// totalChanges is how many rows the connection has changed since it was opened.
func (c *conn) totalChanges() int { return int(sqlite3.Xsqlite3_total_changes(c.tls, c.db)) }
