//go:build unix

package sqlstep

import (
	"errors"
	"net"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/store"
)

// What a server says of itself passes; what it says of a statement doesn't.
func TestWhatPassesIsTriedAgain(t *testing.T) {
	fatal := func(code, message string) error {
		return &pgconn.PgError{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: message}
	}
	fault := func(code, message string) error {
		return &pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: code, Message: message}
	}
	refused := func(number uint16) error { return &driver.MySQLError{Number: number, Message: "m"} }
	for _, c := range []struct {
		db      database
		name    string
		err     error
		retried bool
	}{
		{&postgres{}, "a pooler without a server", fatal("08P01", "server login has been failing, try again later"), true},
		{&postgres{}, "a pooler's queue", fatal("08P01", "query_wait_timeout"), true},
		{&postgres{}, "another pooler's limit", fatal("XX000", "MaxClientsInSessionMode: max clients reached"), true},
		{&postgres{}, "idle in a transaction", fatal("25P03", "terminating connection due to idle-in-transaction timeout"), true},
		{&postgres{}, "a transaction's time", fatal("25P04", "terminating connection due to transaction timeout"), true},
		{&postgres{}, "stopping", fatal("57P01", "terminating connection due to administrator command"), true},
		{&postgres{}, "serialization", fault("40001", "could not serialize access"), true},
		{&postgres{}, "too many arguments", fault("08P01", "bind message supplies 1 parameters"), false},
		{&postgres{}, "a wrong password", fatal("28P01", "password authentication failed"), false},
		{&postgres{}, "no such database", fatal("3D000", "database does not exist"), false},
		{&postgres{}, "a unique key", fault("23505", "duplicate key"), false},
		{&mysql{}, "deadlock", refused(1213), true},
		{&mysql{}, "lock wait", refused(1205), true},
		{&mysql{}, "a table was changed", refused(1412), true},
		{&mysql{}, "to be prepared again", refused(1615), true},
		{&mysql{}, "lock table full", refused(1206), true},
		{&mysql{}, "rolled back by the group", refused(3101), true},
		{&mysql{}, "no thread", refused(1135), true},
		{&mysql{}, "a proxy without a server", refused(9001), true},
		{&mysql{}, "a unique key", refused(1062), false},
		{&mysql{}, "an expired password", refused(1862), false},
	} {
		e := &execution{Connection: &Connection{database: c.db}}
		var failure *step.Failure
		if err := e.failure(t.Context(), c.err, running); !errors.As(err, &failure) || (failure.Disposition == step.Retry) != c.retried {
			t.Errorf("%s, %s: %v, want retried %t", c.db.name(), c.name, err, c.retried)
		}
	}
}

// A failover leaves a server that only reads for a while: what is written there has to wait.
func TestAServerThatOnlyReadsForNowIsTriedAgain(t *testing.T) {
	b := openBench(t, "postgres")
	b.must("DO $$ BEGIN EXECUTE 'ALTER DATABASE \"' || current_database() || '\" SET default_transaction_read_only = on'; END $$")
	if out, _ := b.run("sql/exec", map[string]any{"statement": "UPDATE orders SET paid_cents = 1"}, nil); out.Verdict != store.VerdictRetry || out.Reason != core.ReasonMaintenance {
		t.Errorf("%s %s %s", out.Verdict, out.Reason, out.Message)
	}
	if out, _ := b.run("sql/query", map[string]any{"statement": "UPDATE orders SET paid_cents = 1 RETURNING id"}, nil); out.Verdict != store.VerdictDead {
		t.Errorf("a query that writes: %s %s %s", out.Verdict, out.Reason, out.Message)
	}
}

// A product of an expression is a double; a column of whole numbers, or of text, takes it as people write it.
func TestWholeDoublesAreWrittenAsWholeNumbers(t *testing.T) {
	b := openBench(t, "postgres")
	b.must("CREATE TABLE doubles (whole bigint, written text, exact numeric, d double precision)")
	for _, c := range []struct {
		amount any
		text   string
	}{{12345678.0, "12345678"}, {100000.5 * 2e6, "200001000000"}, {-1e15, "-1000000000000000"}} {
		out, _ := b.run("sql/exec", map[string]any{"statement": "INSERT INTO doubles VALUES ($1, $2, $3, $4)", "args": []any{"${{ double(event.data.a) * 1.0 }}", "${{ double(event.data.a) }}", "${{ double(event.data.a) }}", "${{ double(event.data.a) }}"}}, map[string]any{"a": c.amount})
		if out.Verdict != store.VerdictSucceeded {
			t.Errorf("%v: %s %s", c.amount, out.Verdict, out.Message)
		}
		if b.number("SELECT COUNT(*) FROM doubles WHERE written = '"+c.text+"' AND whole::text = written AND exact::text = written AND d = whole") != 1 {
			t.Errorf("%v: it isn't there as %s", c.amount, c.text)
		}
	}
	for f, want := range map[float64]string{0.1: "0.1", 1e300: "1e+300", 1e-7: "1e-07", 1.5e20: "150000000000000000000", 1234567.25: "1234567.25"} {
		if got := string(asText([]any{f})[0]); got != want {
			t.Errorf("%g is %s, want %s", f, got, want)
		}
	}
}

// One key for two steps of a delivery would let the second do nothing, and say that it was done.
func TestTwoStepsOfADeliveryMayNotShareAKey(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bench) {
		b.withEffects()
		opened := b.open()
		of := func(id, statement string) config.Step {
			return config.Step{ID: id, Use: "sql/exec", With: map[string]any{"statement": statement, "key": "payment/${{ event.data.p }}"}, Timeout: 20 * time.Second}
		}
		compile := func(steps ...config.Step) *step.Program {
			p, err := step.Compile(config.Route{Name: "r", Steps: steps}, step.NewRegistry(Kinds(), Connections(nil, "")), opened, step.Options{Store: keeps{}})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		pay, ship := of("pay", "UPDATE orders SET paid_cents = 5 WHERE id = 1"), of("ship", "UPDATE orders SET state = 'SHIPPED' WHERE id = 1")
		claimed := event(map[string]any{"p": "P-1"})
		if out, _ := b.attempt(compile(pay, ship), claimed); out.Verdict != store.VerdictDead || out.Reason != core.ReasonParameter {
			t.Errorf("%s %s %s", out.Verdict, out.Reason, out.Message)
		}
		// The step whose key it is finds its own row, in this delivery and in another.
		for _, c := range []*store.Claimed{claimed, event(map[string]any{"p": "P-1"})} {
			out, result := b.attempt(compile(pay), c)
			if out.Verdict != store.VerdictSucceeded || result["repeated"] != true {
				t.Errorf("%s %s %v", out.Verdict, out.Message, result)
			}
		}
	})
}

// A server that takes the connection and says nothing costs a step its timeout, and no more.
func TestASilentServerCostsTheStepsTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for kind, url := range map[string]string{"postgres": "postgres://u:s3cret@" + l.Addr().String() + "/d?sslmode=disable", "mysql": "mysql://u:s3cret@" + l.Addr().String() + "/d"} {
		b := &bench{t: t, kind: kind, settings: map[string]any{"url": config.NewSecret(url)}}
		p := b.compile(b.open(), config.Step{Use: "sql/query", With: map[string]any{"statement": "SELECT 1"}, Timeout: 200 * time.Millisecond})
		ended := make(chan store.Outcome, 8)
		began := time.Now()
		for range cap(ended) { // more than the pool has connections
			go func() { out, _ := b.attempt(p, event(nil)); ended <- out }()
		}
		for range cap(ended) {
			if out := <-ended; out.Verdict != store.VerdictRetry || out.Reason != core.ReasonTimeout {
				t.Errorf("%s: %s %s %s", kind, out.Verdict, out.Reason, out.Message)
			}
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: it took %s", kind, took)
		}
	}
}

// What MySQL runs in a comment, or stands after its own kind of comment, is no way around.
func TestCommentsHideNoControl(t *testing.T) {
	for _, statement := range []string{"# x\nCOMMIT", "/*! COMMIT */", "/*!50000 ROLLBACK */", "#\nSET autocommit = 1"} {
		if err := (&mysql{}).check(statement); err == nil {
			t.Errorf("%q is taken", statement)
		}
	}
}
