package sqlite

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// stmt is a prepared statement. Its parameters are bound in order by chained calls, then it is run:
//
//	err := c.q(insertName).int(id).text("sellsy").exec()
//
// or read, row by row:
//
//	s := c.q(selectNames)
//	for s.next() { … s.colInt(0) … }
//	return s.end()
//
// The first error sticks until the statement is run, so that a chain is checked once.
type stmt struct {
	c     *conn
	p     uintptr
	sql   string
	param int32
	err   error
	busy  bool
	arena []chunk
}

// chunk is memory of SQLite's side of the world, where bound bytes are copied to.
type chunk struct {
	p          uintptr
	used, size int
}

const (
	smallestChunk = 4 << 10
	largestKept   = 256 << 10
)

func (s *stmt) prepare() error {
	text, err := libc.CString(s.sql)
	if err != nil {
		return err
	}
	defer libc.Xfree(s.c.tls, text)
	rc := sqlite3.Xsqlite3_prepare_v3(s.c.tls, s.c.db, text, -1, sqlite3.SQLITE_PREPARE_PERSISTENT, s.c.scratch, 0)
	if rc != sqlite3.SQLITE_OK {
		return s.c.failure(rc, s.sql)
	}
	s.p = uintptr(s.c.word())
	return nil
}

func (s *stmt) check(rc int32) *stmt {
	if rc != sqlite3.SQLITE_OK && s.err == nil {
		s.err = s.c.failure(rc, s.sql)
	}
	return s
}

func (s *stmt) int(v int64) *stmt {
	if s.err != nil {
		return s
	}
	s.param++
	return s.check(sqlite3.Xsqlite3_bind_int64(s.c.tls, s.p, s.param, v))
}

func (s *stmt) bool(v bool) *stmt {
	if v {
		return s.int(1)
	}
	return s.int(0)
}

func (s *stmt) real(v float64) *stmt {
	if s.err != nil {
		return s
	}
	s.param++
	return s.check(sqlite3.Xsqlite3_bind_double(s.c.tls, s.p, s.param, v))
}

func (s *stmt) null() *stmt {
	if s.err != nil {
		return s
	}
	s.param++
	return s.check(sqlite3.Xsqlite3_bind_null(s.c.tls, s.p, s.param))
}

// blob binds bytes, and NULL for none.
func (s *stmt) blob(v []byte) *stmt {
	if s.err != nil {
		return s
	}
	if len(v) == 0 {
		return s.null()
	}
	p, room := s.room(len(v))
	if p == 0 {
		s.err = &sqlError{code: sqlite3.SQLITE_NOMEM, message: "out of memory", doing: s.sql}
		return s
	}
	copy(room, v)
	s.param++
	return s.check(sqlite3.Xsqlite3_bind_blob(s.c.tls, s.p, s.param, p, int32(len(v)), 0)) //nolint:gosec // bodies are bounded far below
}

// text binds a string, also an empty one.
func (s *stmt) text(v string) *stmt {
	if s.err != nil {
		return s
	}
	p, room := s.room(len(v) + 1)
	if p == 0 {
		s.err = &sqlError{code: sqlite3.SQLITE_NOMEM, message: "out of memory", doing: s.sql}
		return s
	}
	copy(room, v)
	s.param++
	return s.check(sqlite3.Xsqlite3_bind_text(s.c.tls, s.p, s.param, p, int32(len(v)), 0)) //nolint:gosec // texts are bounded far below
}

// textOrNull binds a string, and NULL for an empty one.
func (s *stmt) textOrNull(v string) *stmt {
	if v == "" {
		return s.null()
	}
	return s.text(v)
}

// room finds n bytes that stay where they are until the statement is reset.
func (s *stmt) room(n int) (uintptr, []byte) {
	if k := len(s.arena); k == 0 || s.arena[k-1].size-s.arena[k-1].used < n {
		size := max(smallestChunk, n)
		p := s.c.malloc(size)
		if p == 0 {
			return 0, nil
		}
		s.arena = append(s.arena, chunk{p: p, size: size})
	}
	last := &s.arena[len(s.arena)-1]
	p := last.p + uintptr(last.used)
	last.used += n
	return p, libc.GoBytes(p, n)
}

// exec runs a statement that returns nothing.
func (s *stmt) exec() error {
	for s.next() {
	}
	return s.end()
}

// next goes to the next row, if there is one.
func (s *stmt) next() bool {
	if s.err != nil {
		return false
	}
	if s.c.interrupted.Load() {
		s.err = &sqlError{code: sqlite3.SQLITE_INTERRUPT, message: "interrupted", doing: s.sql}
		return false
	}
	s.busy = true
	switch rc := sqlite3.Xsqlite3_step(s.c.tls, s.p); rc {
	case sqlite3.SQLITE_ROW:
		return true
	case sqlite3.SQLITE_DONE:
	default:
		s.check(rc)
	}
	return false
}

// end ends the reading of rows and returns the first error since the statement was taken.
func (s *stmt) end() error {
	err := s.err
	s.reset()
	return err
}

func (s *stmt) reset() {
	if s.busy {
		sqlite3.Xsqlite3_reset(s.c.tls, s.p)
		s.busy = false
	}
	s.param = 0
	if s.p != 0 {
		s.err = nil
	}
	if k := len(s.arena); k > 0 {
		if k > 1 || s.arena[0].size > largestKept {
			s.freeArena()
		} else {
			s.arena[0].used = 0
		}
	}
}

func (s *stmt) freeArena() {
	for _, piece := range s.arena {
		libc.Xfree(s.c.tls, piece.p)
	}
	s.arena = s.arena[:0]
}

func (s *stmt) finalize() {
	sqlite3.Xsqlite3_finalize(s.c.tls, s.p)
	s.p = 0
	s.freeArena()
}

func (s *stmt) colInt(i int32) int64 { return sqlite3.Xsqlite3_column_int64(s.c.tls, s.p, i) }

func (s *stmt) colReal(i int32) float64 { return sqlite3.Xsqlite3_column_double(s.c.tls, s.p, i) }

// view is the bytes of a column as long as the row stands.
func (s *stmt) view(i int32) []byte {
	p := sqlite3.Xsqlite3_column_blob(s.c.tls, s.p, i)
	if p == 0 {
		return nil
	}
	return libc.GoBytes(p, int(sqlite3.Xsqlite3_column_bytes(s.c.tls, s.p, i)))
}

func (s *stmt) colBytes(i int32) []byte {
	v := s.view(i)
	if v == nil {
		return nil
	}
	return append(make([]byte, 0, len(v)), v...)
}

func (s *stmt) colText(i int32) string { return string(s.view(i)) }
