package sqlite

import (
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"relais/internal/core"
	"relais/internal/store"
)

// sqlError is SQLite's own error: an extended result code.
type sqlError struct {
	code    int32
	message string
	doing   string
}

func (e *sqlError) Error() string {
	return fmt.Sprintf("sqlite: %s (%d): %s", e.message, e.code, e.doing)
}

func codeOf(err error) int32 {
	var e *sqlError
	if errors.As(err, &e) {
		return e.code
	}
	return sqlite3.SQLITE_OK
}

// away tells whether the error is the database's and not the operation's, and why.
func away(err error) (core.Code, string, bool) {
	switch codeOf(err) & 0xff {
	case sqlite3.SQLITE_FULL:
		return core.CodeFull, "the disk is full", true
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return core.CodeUnavailable, "another process has locked the database", true
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return core.CodeUnavailable, "the database is read-only", true
	case sqlite3.SQLITE_CANTOPEN:
		return core.CodeUnavailable, "the database can't be opened", true
	case sqlite3.SQLITE_IOERR:
		return core.CodeUnavailable, "the disk failed", true
	case sqlite3.SQLITE_NOMEM:
		return core.CodeUnavailable, "there is no memory", true
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return core.CodeUnavailable, "the database is damaged", true
	default:
		return "", "", false
	}
}

// public turns an error of SQLite into what the store promises; other errors pass.
func public(err error) error {
	if err == nil || errors.Is(err, store.ErrUnavailable) {
		return err
	}
	if code, words, ok := away(err); ok {
		reason := &store.Away{Words: fmt.Sprintf("%s (SQLite's code %d)", words, codeOf(err)), Cause: err}
		return core.Errorf(code, "the store can't be used: %w", reason)
	}
	if codeOf(err) == sqlite3.SQLITE_INTERRUPT {
		return core.Errorf(core.CodeUnavailable, "the search took too long and was ended: ask for less, with more filters")
	}
	return err
}

// mustReopen tells whether the connection can't be trusted after the error: SQLite may believe what the
// disk does not hold.
func mustReopen(err error) bool {
	switch codeOf(err) & 0xff {
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM:
		return true
	default:
		return false
	}
}
