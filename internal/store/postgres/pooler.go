package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A pooler in transaction mode gives each transaction another connection of the server. A statement that was
// prepared in one is not there in the next, or is there already: so behind a pooler none is prepared by name.
// What the server says of a statement's parameters and columns is remembered on this side all the same.

// network is what is known of the way to the server.
type network = int32

const (
	unknown network = iota
	direct
	pooled
)

// meetPooler looks whether a pooler stands between: it gives its clients process numbers of its own.
func (s *Store) meetPooler(ctx context.Context) error {
	if s.network.Load() != unknown {
		return nil
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var pid uint32
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid); err != nil {
		return err
	}
	if pid != conn.Conn().PgConn().PID() {
		s.goPooled("it gives other process numbers than the server's")
		return nil
	}
	s.network.CompareAndSwap(unknown, direct)
	s.pool.Reset() // the connections from now on know it
	return nil
}

// goPooled replaces the connections, once, by ones that prepare nothing.
func (s *Store) goPooled(why string) {
	if s.network.Swap(pooled) == pooled {
		return
	}
	s.log.Info("a connection pooler stands before the database: statements are no longer prepared", "why", why)
	s.pool.Reset()
}

// heed draws from an error what the next try needs, and tells whether it may then succeed.
func (s *Store) heed(err error) bool {
	switch {
	case preparedElsewhere(err):
		s.goPooled(err.Error())
		return true
	case stateOf(err) == "25006":
		// The server became a replica under its connections: new ones look for who takes writes.
		s.renew()
	}
	return false
}

// renew replaces the connections, but not for every error of many at once.
func (s *Store) renew() {
	now, last := time.Now().UnixNano(), s.renewed.Load()
	if now-last > int64(time.Second) && s.renewed.CompareAndSwap(last, now) {
		s.pool.Reset()
	}
}

// preparedElsewhere tells whether a prepared statement wasn't where it was expected, or was where it wasn't.
func preparedElsewhere(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	return e.Code == "26000" || e.Code == "42P05" || e.Code == "08P01" && strings.Contains(e.Message, "prepared statement")
}
