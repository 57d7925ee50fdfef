package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// settings hold for one transaction: through a pooler a session's would be somebody else's. What is
	// acknowledged is synced whatever the server's default; nobody waits long for a lock; and a node that
	// is stopped within a transaction loses it, before others have waited for long. One that is cut off while the
	// rest of a statement is on its way is neither idle nor in a statement: the server learns it by keepalive.
	settings = `SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '1s';
		SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL statement_timeout = '10s';
		SET LOCAL tcp_keepalives_idle = 5; SET LOCAL tcp_keepalives_interval = 2; SET LOCAL tcp_keepalives_count = 3`
	// exchangeSettings are those of an exchange, in which the node keeps nobody waiting. Its statements find all rows by
	// their keys, and their plans must not depend on what the tables hold when they are made: the server keeps
	// them, and a table that was read whole while it was empty is a million rows long before it is analyzed.
	exchangeSettings = `SELECT set_config('synchronous_commit', 'on', true), set_config('lock_timeout', '1s', true),
		set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
		set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true),
		set_config('tcp_keepalives_idle', '5', true), set_config('tcp_keepalives_interval', '2', true), set_config('tcp_keepalives_count', '3', true)`
	// claimSettings are settings and steadyPlans, for a transaction whose first statements go out with its BEGIN.
	claimSettings = `SELECT set_config('synchronous_commit', 'on', true), set_config('lock_timeout', '1s', true),
		set_config('idle_in_transaction_session_timeout', '5s', true), set_config('statement_timeout', '10s', true),
		set_config('tcp_keepalives_idle', '5', true), set_config('tcp_keepalives_interval', '2', true), set_config('tcp_keepalives_count', '3', true),
		` + steadySettings
	// tries bounds how often a transaction that met another is run.
	tries = 5
)

// tx is one transaction on one connection.
type tx struct {
	s    *Store
	ctx  context.Context
	conn *pgxpool.Conn
	// now is the tests' clock; nil is the database's. Statements give it to relais_now.
	now *int64
	// ended says that the transaction's COMMIT was answered already.
	ended bool
}

// transact runs a transaction, again when it met another one or a day without partition. An error of the
// database is store.ErrUnavailable; the transaction then did nothing, or its outcome is unknown.
func (s *Store) transact(ctx context.Context, run func(*tx) error) error {
	if !s.prepared.Load() {
		return s.notPrepared()
	}
	return s.retry(ctx, func(ctx context.Context) error { return s.try(ctx, run) })
}

// retry runs a transaction until it ends otherwise than by meeting another one, or a day without partition.
func (s *Store) retry(ctx context.Context, run func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var err error
	for try := range tries {
		if err = run(ctx); err == nil {
			// Who stops waiting cancels, and PostgreSQL ends a commit's wait for its standby with success. So it is
			// committed here, and perhaps nowhere else: not what is acknowledged.
			return public(ctx.Err())
		}
		switch {
		case noDay(err):
			return public(err)
		case noPartition(err):
			if made := s.makePartitions(ctx); made != nil {
				return public(made)
			}
		case !s.heed(err) && !again(err):
			if _, _, gone := away(err); gone {
				s.lanes.forget()
			}
			return public(err)
		}
		select {
		case <-ctx.Done():
			return public(err)
		case <-time.After(time.Duration(try*try) * 5 * time.Millisecond):
		}
	}
	return public(err)
}

func (s *Store) try(ctx context.Context, run func(*tx) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release() // one that is within a transaction is closed, not used again
	if _, err := conn.Exec(ctx, "BEGIN; "+settings, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	return s.within(ctx, conn, run)
}

// within runs a transaction that has begun, or that run begins, and ends it.
func (s *Store) within(ctx context.Context, conn *pgxpool.Conn, run func(*tx) error) error {
	t := &tx{s: s, ctx: ctx, conn: conn, now: s.given()}
	if err := run(t); err != nil {
		// With a context of its own: the caller's may be what ended the transaction.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = conn.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
		return err
	}
	if t.ended {
		return nil
	}
	tag, err := conn.Exec(ctx, "COMMIT", pgx.QueryExecModeSimpleProtocol)
	return committed(tag, err)
}

func (t *tx) exec(sql string, args ...any) error {
	_, err := t.conn.Exec(t.ctx, sql, args...)
	return err
}

// affect runs a statement and returns how many rows it touched.
func (t *tx) affect(sql string, args ...any) (int64, error) {
	tag, err := t.conn.Exec(t.ctx, sql, args...)
	return tag.RowsAffected(), err
}

func (t *tx) row(sql string, args ...any) pgx.Row { return t.conn.QueryRow(t.ctx, sql, args...) }

func (t *tx) query(sql string, args ...any) (pgx.Rows, error) {
	return t.conn.Query(t.ctx, sql, args...)
}

// exchange sends a whole transaction at once, BEGIN and COMMIT included: nothing waits within it for this
// node, and it takes one round trip. read gets the results of what queue queued, in order.
func (s *Store) exchange(ctx context.Context, queue func(*pgx.Batch), read func(pgx.BatchResults) error) error {
	if !s.prepared.Load() {
		return s.notPrepared()
	}
	return s.retry(ctx, func(ctx context.Context) error { return s.tryExchange(ctx, queue, read) })
}

func (s *Store) tryExchange(ctx context.Context, queue func(*pgx.Batch), read func(pgx.BatchResults) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	batch := &pgx.Batch{}
	batch.Queue("BEGIN")
	batch.Queue(exchangeSettings)
	queue(batch)
	batch.Queue("COMMIT")
	results := conn.SendBatch(ctx, batch)
	err = exchanged(results, read)
	if closed := results.Close(); err == nil {
		err = closed
	}
	if err != nil && conn.Conn().PgConn().TxStatus() != 'I' && !conn.Conn().IsClosed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = conn.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
	}
	return err
}

func exchanged(results pgx.BatchResults, read func(pgx.BatchResults) error) error {
	for range 2 { // BEGIN and the settings
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	if err := read(results); err != nil {
		return err
	}
	tag, err := results.Exec()
	return committed(tag, err)
}

// alone runs one statement that is a transaction by itself; it says itself what the settings of others say. Its
// commit is over when read has read all rows.
func (s *Store) alone(ctx context.Context, statement string, arguments []any, read func(pgx.Rows, error) error) error {
	if !s.prepared.Load() {
		return s.notPrepared()
	}
	return s.retry(ctx, func(ctx context.Context) error {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		return read(conn.Query(ctx, statement, arguments...))
	})
}

// committed tells whether a COMMIT committed: of a failed transaction, the server answers it with ROLLBACK
// and no error.
func committed(tag pgconn.CommandTag, err error) error {
	if err == nil && tag.String() != "COMMIT" {
		return errRolledBack
	}
	return err
}

// read runs what only reads, outside of any transaction of relais' own, for the reader's time at most.
func (s *Store) read(ctx context.Context, run func(*tx) error) error {
	return s.readWithin(ctx, s.readTime, run)
}

func (s *Store) readWithin(ctx context.Context, bound time.Duration, run func(*tx) error) error {
	if !s.prepared.Load() {
		return s.notPrepared()
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	// Slow reads must not take the connections that answers and beats need.
	select {
	case s.reading <- struct{}{}:
	case <-ctx.Done():
		return public(ctx.Err())
	}
	defer func() { <-s.reading }()
	err := s.readOnce(ctx, run)
	if s.heed(err) {
		err = s.readOnce(ctx, run)
	}
	return public(err)
}

func (s *Store) readOnce(ctx context.Context, run func(*tx) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return run(&tx{s: s, ctx: ctx, conn: conn, now: s.given()})
}
