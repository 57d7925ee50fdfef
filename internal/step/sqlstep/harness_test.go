//go:build unix

package sqlstep

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/expr"
	"relais/internal/step"
	"relais/internal/step/sqlstep/mysqltest"
	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

// bench is a database of one kind, reached by the steps and by the test itself.
type bench struct {
	t        *testing.T
	kind     string
	settings map[string]any
	db       *sql.DB // the test's own way in
}

// pooler is PostgreSQL behind PgBouncer in transaction mode, whose next transaction may be another session's.
const pooler = "postgres behind PgBouncer"

var kindsOfDatabase = []string{"postgres", "mysql", "sqlite"}

// everywhere runs a test on each kind of database.
func everywhere(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	for _, kind := range kindsOfDatabase {
		t.Run(kind, func(t *testing.T) { test(t, openBench(t, kind)) })
	}
}

// everywhereAndPooled is for what a change of session between two transactions could break.
func everywhereAndPooled(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	everywhere(t, test)
	t.Run(pooler, func(t *testing.T) { test(t, openBench(t, pooler)) })
}

func openBench(t *testing.T, kind string) *bench {
	t.Helper()
	b := &bench{t: t, kind: kind}
	switch kind {
	case "postgres", pooler:
		url := pgtest.URL(t)
		b.settings = map[string]any{"url": config.NewSecret(url)}
		if kind == pooler {
			b.kind = "postgres"
			b.settings["url"] = config.NewSecret(pgtest.Bouncer(t, url))
		}
		pool, err := pgxpool.New(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		b.db = stdlib.OpenDBFromPool(pool)
	case "mysql":
		b.settings = map[string]any{"url": config.NewSecret(mysqltest.Database(t))}
		cfg, err := mysqlConfig(b.settings, nil)
		if err != nil {
			t.Fatal(err)
		}
		cfg.TLS, cfg.DialFunc = nil, nil
		connector, err := mysqldriver.NewConnector(cfg)
		if err != nil {
			t.Fatal(err)
		}
		b.db = sql.OpenDB(connector)
	case "sqlite":
		path := filepath.Join(t.TempDir(), "a base.db")
		b.settings = map[string]any{"path": path}
		var err error
		if b.db, err = sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = b.db.Close() })
	b.must("CREATE TABLE orders (id bigint PRIMARY KEY, reference varchar(100) UNIQUE, paid_cents bigint NOT NULL DEFAULT 0, state varchar(20) NOT NULL DEFAULT 'PENDING')")
	b.must("INSERT INTO orders (id, reference) VALUES (1, 'A-1'), (2, 'A-2')")
	return b
}

func (b *bench) must(statement string) {
	b.t.Helper()
	if _, err := b.db.ExecContext(b.t.Context(), statement); err != nil {
		b.t.Fatalf("%s: %v", statement, err)
	}
}

// number is what a query for one number gives.
func (b *bench) number(query string) int64 {
	b.t.Helper()
	var n int64
	if err := b.db.QueryRowContext(context.WithoutCancel(b.t.Context()), query).Scan(&n); err != nil {
		b.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// withEffects lets the steps be exact.
func (b *bench) withEffects() {
	b.settings["effects"] = true
	b.must(map[string]string{"postgres": postgresDDL, "mysql": mysqlDDL, "sqlite": sqliteDDL}[b.kind])
}

// text writes $1, $2 as the database's own placeholders.
func (b *bench) text(statement string) string {
	if b.kind == "postgres" {
		return statement
	}
	for _, n := range []string{"$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9"} {
		statement = strings.ReplaceAll(statement, n, "?")
	}
	return statement
}

// keeps is a store that keeps steps and has no ledger.
type keeps struct{ step.Store }

func (keeps) SaveStep(context.Context, store.Holder, store.StepResult) error { return nil }

func (b *bench) open() step.Connections {
	b.t.Helper()
	connections := []config.Connection{{Name: "base", Kind: b.kind, Settings: b.settings}}
	hosts := step.NewRegistry(nil, Connections(nil, "")).TrustedHosts(connections, nil)
	e, err := egress.New(egress.Options{Trusted: hosts})
	if err != nil {
		b.t.Fatal(err)
	}
	opened, err := step.NewRegistry(Kinds(), Connections(e, "")).Open(connections)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(opened.Retire)
	return opened
}

func (b *bench) compile(opened step.Connections, s config.Step) *step.Program {
	b.t.Helper()
	s.ID = "s"
	p, err := step.Compile(config.Route{Name: "r", Steps: []config.Step{s}}, step.NewRegistry(Kinds(), Connections(nil, "")), opened, step.Options{Store: keeps{}})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// run runs one step once, on connections of its own.
func (b *bench) run(use string, with map[string]any, data any) (store.Outcome, map[string]any) {
	b.t.Helper()
	return b.attempt(b.compile(b.open(), config.Step{Use: use, With: with, Timeout: 20 * time.Second}), event(data))
}

func (b *bench) attempt(p *step.Program, claimed *store.Claimed) (store.Outcome, map[string]any) {
	b.t.Helper()
	out := p.Run(b.t.Context(), claimed)
	if strings.Contains(out.Message+string(out.Attempt.Trace), "s3cret") {
		b.t.Errorf("the password is shown: %s", out.Message)
	}
	if len(out.Steps) == 0 || out.Verdict != store.VerdictSucceeded {
		return out, nil
	}
	value, err := expr.DecodeJSON(out.Steps[len(out.Steps)-1].Result)
	if err != nil {
		b.t.Fatal(err)
	}
	result, _ := value.(map[string]any)
	return out, result
}

func event(data any) *store.Claimed {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(data) // plain values
	return &store.Claimed{
		Delivery: core.Delivery{ID: 7, Claim: 1, Event: core.NewEventID(), Destination: core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: "r"}},
		Event:    core.Event{Format: core.FormatJSON, Body: body.Bytes()},
	}
}

func (b *bench) tryCompile(statement string) (*step.Program, error) {
	b.t.Helper()
	return step.Compile(config.Route{Name: "r", Steps: []config.Step{{ID: "s", Use: "sql/exec", With: map[string]any{"statement": statement}}}},
		step.NewRegistry(Kinds(), Connections(nil, "")), b.open(), step.Options{Store: keeps{}})
}
