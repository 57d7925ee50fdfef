package sqlstep

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	mysqldriver "github.com/go-sql-driver/mysql"
	sqlite3 "modernc.org/sqlite"

	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
)

// pooled is a database that is reached through database/sql.
type pooled struct {
	step.Kept[*sql.DB]
	dialect dialect
}

func newPooled(connector driver.Connector, d dialect) *pooled {
	return &pooled{dialect: d, Kept: step.Kept[*sql.DB]{
		Make: func() (*sql.DB, error) {
			db := sql.OpenDB(bounded{connector})
			db.SetMaxOpenConns(poolSize)
			db.SetMaxIdleConns(poolSize)
			db.SetConnMaxIdleTime(poolIdle)
			return db, nil
		},
		Close: func(db *sql.DB) { _ = db.Close() }, // nobody uses it, and what it could say concerns nobody
	}}
}

// bounded makes connections within connectTimeout: those that database/sql makes for whoever waits have no
// deadline of their own.
type bounded struct{ driver.Connector }

func (b bounded) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return b.Connector.Connect(ctx)
}

// pooledTx is a transaction on one connection. It is begun and ended by statements: a sql.Tx would be rolled
// back by the step's own context while its COMMIT is on its way.
type pooledTx struct {
	conn    *sql.Conn // nil once it was given back
	done    func()
	dialect dialect
	value   func(value any, column *sql.ColumnType) any
	marks   markStatements
	refuse  func(args []any) error
	// repeats tells that an error says that the effect's row is there.
	repeats func(error) bool
}

type markStatements struct{ insert, read, keep string }

func (p *pooled) start(ctx context.Context, begin string, t *pooledTx) (*pooledTx, error) {
	db, done, err := p.Use()
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		done()
		return nil, err
	}
	t.conn, t.done, t.dialect = conn, done, p.dialect
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		t.drop()
		return nil, err
	}
	return t, nil
}

func (t *pooledTx) run(ctx context.Context, statement string, args []any, into *rows) (int64, error) {
	if err := t.refuse(args); err != nil {
		return 0, parameter(err)
	}
	n, err := t.execute(ctx, statement, args, into)
	if err != nil && ours(err) {
		return 0, parameter(err)
	}
	return n, err
}

// ours tells that an error is neither a server's nor a connection's: the library refused to send what it was
// given, such as too few arguments.
func ours(err error) bool {
	var (
		failure *step.Failure
		fromMy  *mysqldriver.MySQLError
		fromLte *sqlite3.Error
	)
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone,
		mysqldriver.ErrInvalidConn, mysqldriver.ErrMalformPkt, mysqldriver.ErrPktSync, mysqldriver.ErrPktSyncMul, mysqldriver.ErrBusyBuffer} {
		if errors.Is(err, known) {
			return false
		}
	}
	return !errors.As(err, &failure) && !errors.As(err, &fromMy) && !errors.As(err, &fromLte) && egress.Classify(err) == core.ReasonInternal
}

func (t *pooledTx) execute(ctx context.Context, statement string, args []any, into *rows) (int64, error) {
	// Prepared, so that MySQL gives values with their types.
	prepared, err := t.conn.PrepareContext(ctx, statement)
	if err != nil {
		return 0, err
	}
	defer func() { _ = prepared.Close() }() // the connection may be gone, which the statement has said
	if !scan(t.dialect, statement).gives() {
		done, err := prepared.ExecContext(ctx, args...)
		if err != nil {
			return 0, err
		}
		return done.RowsAffected()
	}
	found, err := prepared.QueryContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	defer found.Close()
	if err := t.gather(found, into); err != nil {
		return 0, err
	}
	return into.count, nil
}

func (t *pooledTx) gather(found *sql.Rows, into *rows) error {
	types, err := found.ColumnTypes()
	if err != nil {
		return err
	}
	columns := make([]string, len(types))
	raw, places := make([]any, len(types)), make([]any, len(types))
	for i, c := range types {
		columns[i], places[i] = c.Name(), &raw[i]
	}
	if err := into.head(columns); err != nil {
		return err
	}
	for found.Next() {
		if err := found.Scan(places...); err != nil {
			return err
		}
		values := make([]any, len(raw))
		for i := range raw {
			values[i] = t.value(raw[i], types[i])
		}
		more, err := into.add(values)
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
	return found.Err()
}

func (t *pooledTx) mark(ctx context.Context, key, delivery string) (*noted, error) {
	n, err := t.run(ctx, t.marks.insert, []any{key, delivery}, &rows{})
	if err == nil && n == 1 {
		return nil, nil
	}
	if err != nil && !t.repeats(err) {
		return nil, err
	}
	return stored(ctx, t, t.marks.read, key)
}

func (t *pooledTx) keep(ctx context.Context, key, result string) error {
	_, err := t.run(ctx, t.marks.keep, []any{result, key}, &rows{})
	return err
}

func (t *pooledTx) commit(ctx context.Context) error {
	if _, err := t.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return err
	}
	t.release()
	return nil
}

func (t *pooledTx) rollback() {
	if t.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settle)
	defer cancel()
	if _, err := t.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		t.drop()
		return
	}
	t.release()
}

// drop ends a connection of which nobody knows in which state it is.
func (t *pooledTx) drop() {
	_ = t.conn.Raw(func(any) error { return driver.ErrBadConn }) // that is how it is told
	t.release()
}

// release gives the connection back. Its transaction has ended, and what became of that is known.
func (t *pooledTx) release() {
	_ = t.conn.Close()
	t.conn = nil
	t.done()
}
