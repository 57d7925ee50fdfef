package sqlstep

import (
	"context"

	"relais/internal/egress"
	"relais/internal/step"
)

// Kinds are the steps sql/exec and sql/query.
func Kinds() []step.Kind { return []step.Kind{execKind(), queryKind()} }

// Connections are the kinds postgres, mysql and sqlite. The first two connect through e; the third refuses
// files in the folder data, which is relais' own.
func Connections(e *egress.Egress, data string) []step.ConnectionKind {
	return []step.ConnectionKind{postgresKind(e), mysqlKind(e), sqliteKind(data)}
}

const statementDoc = "One statement, as it stands in the file. Values go where `$1`, `$2` (PostgreSQL) or `?` (MySQL, SQLite) stand."

func params() []step.Param {
	return []step.Param{
		{Name: "statement", Type: step.TypeString, Literal: true, Check: checkStatement, Doc: statementDoc},
		{Name: "args", Type: step.TypeAny, Check: checkArgs, Doc: "The list of values: texts, numbers, booleans and null; a list or an object is bound as JSON text."},
		{Name: "expect_rows", Type: step.TypeAny, Literal: true, Check: checkExpected,
			Doc: "How many rows there must be: a number, or `\">=1\"`. Otherwise nothing is changed, and the delivery is dead with the reason `rows_mismatch`."},
	}
}

func execKind() step.Kind {
	return step.Kind{
		Name:       "sql/exec",
		Class:      step.ClassAtLeastOnce,
		Connection: "postgres",
		Also:       []string{"mysql", "sqlite"},
		ClassOn: func(connection any) step.Class {
			if c, ok := connection.(*Connection); ok && c.effects {
				return step.ClassExact
			}
			return step.ClassAtLeastOnce
		},
		Doc: "Runs a statement, or several in one transaction. On a connection with `effects: true` it is of class exact: a row of the table `relais_effects`, " +
			"written in the same transaction, keeps it from happening twice. Its result has `rows_affected` (a list of them in `affected` for several statements), and " +
			"for a statement that returns rows (`RETURNING`) `rows`, `row` and `count` as sql/query; `repeated` tells that it was found done. " +
			"On MySQL, rows that an `UPDATE` finds count, also where it leaves them as they are.",
		Result: []string{"rows_affected", "affected", "rows", "row", "count", "truncated", "repeated"},
		Params: append(params(),
			step.Param{Name: "statements", Type: step.TypeAny, Check: checkStatements,
				Doc: "Several statements in one transaction, each with `statement`, `args` and `expect_rows`, in place of the three."},
			step.Param{Name: "key", Type: step.TypeString,
				Doc: "What must happen once, with `effects: true`: such as `payment/${{ event.data.reference }}`, so that a second message about the same thing does nothing. Steps that do different things need different keys. Default: this step for this event."},
		),
		Check: checkTogether,
		Run: func(ctx context.Context, call *step.Call) (step.Result, error) {
			return run(ctx, call, false)
		},
	}
}

func queryKind() step.Kind {
	return step.Kind{
		Name:       "sql/query",
		Class:      step.ClassReads,
		Connection: "postgres",
		Also:       []string{"mysql", "sqlite"},
		Doc: "Reads rows in a transaction that can't change anything. Its result has `rows`, a list of objects, of which at most 1,000 and 60 KiB are kept (`truncated` tells that there were more), " +
			"`count`, and the first one as `row`, or null. Decimals are texts, times are RFC 3339 (one without a zone is written as UTC), bytes are base64, JSON columns are decoded.",
		Result: []string{"rows", "row", "count", "truncated"},
		Params: params(),
		Check:  checkTogether,
		Run: func(ctx context.Context, call *step.Call) (step.Result, error) {
			return run(ctx, call, true)
		},
	}
}

// Connection is a database of the configuration.
type Connection struct {
	database
	// effects tells that the table relais_effects may be used.
	effects bool
	// hook is called at each Point; nil outside of tests.
	hook func(Point) error
}

// database is one kind of database.
type database interface {
	name() string
	begin(ctx context.Context, readOnly bool) (transaction, error)
	// judge reads an error that the server itself gave; nil for any other.
	judge(err error) *verdict
	// check refuses a statement that can't be a part of a transaction there.
	check(statement string) error
	// ddl is how the table of effects is made.
	ddl() string
	step.Keeper
}

// transaction is one transaction of a database, on one connection.
type transaction interface {
	// run runs one statement with bound arguments, gathers the rows that it gives, and returns how many rows
	// it changed or gave.
	run(ctx context.Context, statement string, args []any, into *rows) (int64, error)
	// mark notes an effect, or returns what was noted under its key before; nil where nothing was.
	mark(ctx context.Context, key, delivery string) (*noted, error)
	// keep writes the effect's result.
	keep(ctx context.Context, key, result string) error
	commit(ctx context.Context) error
	// rollback ends a transaction that wasn't committed, whatever state it is in.
	rollback()
}

// noted is an effect that was found done.
type noted struct {
	delivery string
	result   string // "" where none was written
}

// Point is a place in an exact step, for tests that crash there.
type Point string

// The points, in their order.
const (
	PointMarked    Point = "marked"    // the effect's row is written, the statements aren't
	PointRan       Point = "ran"       // the statements ran, nothing is committed
	PointCommitted Point = "committed" // all is done, and only memory knows it
)

// SetHook sets what is called at each point of a connection; an error ends the attempt there, as a crash
// would. It is for tests.
func SetHook(connection any, hook func(Point) error) {
	if c, ok := connection.(*Connection); ok {
		c.hook = hook
	}
}

func (c *Connection) at(p Point) error {
	if c.hook == nil {
		return nil
	}
	return c.hook(p)
}
