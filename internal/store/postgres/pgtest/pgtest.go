//go:build unix

// Package pgtest gives tests a real PostgreSQL.
//
// The first call of a test process starts a server from this machine's binaries, in a temporary folder,
// on 127.0.0.1, as an unprivileged user. All tests of the process share it, each with databases of its
// own; a test that stops, kills or pauses its server asks for one with Server. The server syncs as in
// production: what is tested is that acknowledged means stored. It ends with the process, however that
// ends, and its folder goes with it.
//
// RELAIS_TEST_POSTGRES, the URL of a database on a server where databases may be created and dropped, is
// used instead where it is set. Those who share that server name the same database: it is where they see
// which of the others still run. A machine with neither fails the tests: a store that nobody tried isn't known
// to work.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// environment names the server to use instead of one that pgtest starts.
const environment = "RELAIS_TEST_POSTGRES"

// adminTimeout bounds each order to a server, so that a broken one fails a test and doesn't hang it.
const adminTimeout = time.Minute

// objectInUse is PostgreSQL's refusal to copy or drop a database that somebody is connected to.
const objectInUse = "55006"

// host is the server that the tests of this process share.
type host struct {
	admin string // URL of its maintenance database
	run   string // distinguishes this process's databases from those of others on the same server
	count atomic.Int64
	claim *pgx.Conn // holds the lock of claimRun; nil on a server of our own

	mu        sync.Mutex
	templates map[string]*template
}

type template struct {
	once sync.Once
	db   string
	err  error
}

var shared = sync.OnceValues(startShared)

// URL returns the URL of a new, empty database, which is dropped when the test ends.
func URL(t testing.TB) string {
	t.Helper()
	h := sharedHost(t)
	return h.create(t, "template0")
}

// FromTemplate returns the URL of a new database that starts as a copy of what prepare made of an empty
// one. Prepare runs once per process and name, and must have closed its connections when it returns: a
// test then pays for a copy of the tables, not for the migrations.
func FromTemplate(t testing.TB, name string, prepare func(url string) error) string {
	t.Helper()
	h := sharedHost(t)
	h.mu.Lock()
	tmpl := h.templates[name]
	if tmpl == nil {
		tmpl = &template{db: h.name(), err: errors.New("prepare did not return")}
		h.templates[name] = tmpl
	}
	h.mu.Unlock()
	tmpl.once.Do(func() { tmpl.err = h.fill(tmpl.db, prepare) })
	if tmpl.err != nil {
		t.Fatalf("pgtest: template %s: %v", name, tmpl.err)
	}
	return h.create(t, tmpl.db)
}

func sharedHost(t testing.TB) *host {
	t.Helper()
	h, err := shared()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return h
}

func startShared() (*host, error) {
	id := rand.Int64()
	h := &host{run: fmt.Sprintf("%016x", id), templates: map[string]*template{}}
	if given := os.Getenv(environment); given != "" {
		u, err := url.Parse(given)
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			return nil, errors.New(environment + " isn't a URL as postgres://user:password@host:5432/postgres")
		}
		h.admin = given
		if h.claim, err = claimRun(given, id); err != nil {
			return nil, fmt.Errorf("%s: %w", environment, err)
		}
		return h, nil
	}
	s, err := newInstance()
	if err != nil {
		return nil, err
	}
	h.admin = s.url("postgres")
	return h, nil
}

func (h *host) name() string {
	return fmt.Sprintf("relais_test_%s_%d", h.run, h.count.Add(1))
}

// create makes a database for one test.
func (h *host) create(t testing.TB, from string) string {
	t.Helper()
	db := h.name()
	if err := clone(h.admin, db, from); err != nil {
		t.Fatalf("pgtest: create a database: %v", err)
	}
	t.Cleanup(func() {
		// FORCE: a connection that a test leaves open must not fail the test that comes after it.
		if err := order(h.admin, "DROP DATABASE IF EXISTS "+quote(db)+" WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: drop the test's database: %v", err)
		}
	})
	return withDatabase(h.admin, db)
}

// fill makes a template. Nobody can connect to it afterwards, since PostgreSQL copies no database that
// is in use.
func (h *host) fill(db string, prepare func(url string) error) error {
	if err := clone(h.admin, db, "template0"); err != nil {
		return err
	}
	if err := prepare(withDatabase(h.admin, db)); err != nil {
		return err
	}
	return order(h.admin, "ALTER DATABASE "+quote(db)+" ALLOW_CONNECTIONS false")
}

// clone copies a database. PostgreSQL itself waits five seconds for the source to be free; a prepare
// whose last connection is still closing on a busy machine gets some more.
func clone(admin, db, from string) error {
	var err error
	for range 6 {
		err = order(admin, "CREATE DATABASE "+quote(db)+" TEMPLATE "+quote(from))
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != objectInUse {
			return err
		}
	}
	return err
}

func order(admin, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

// claimRun marks this process's databases on a server that outlives it, and drops those of processes
// that are gone: each holds an advisory lock on its number for as long as it runs, and a test process
// has no end at which it could drop its templates.
func claimRun(admin string, id int64) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, admin) // stays open: the lock is the connection's
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", id); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, `SELECT datname::text FROM pg_database WHERE datname ~ '^relais_test_[0-7][0-9a-f]{15}_[0-9]+$'`)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	for _, db := range names {
		if err := dropAbandoned(ctx, conn, db); err != nil {
			return nil, err
		}
	}
	return conn, nil
}

func dropAbandoned(ctx context.Context, conn *pgx.Conn, db string) error {
	owner, err := strconv.ParseInt(strings.Split(db, "_")[2], 16, 64)
	if err != nil {
		return err
	}
	var gone bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", owner).Scan(&gone); err != nil || !gone {
		return err
	}
	_, dropped := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(db)+" WITH (FORCE)")
	_, unlocked := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", owner)
	return errors.Join(dropped, unlocked)
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// withDatabase is a server's URL with another database in it.
func withDatabase(server, db string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server // pgx.Connect has said what is wrong with it
	}
	u.Path = "/" + db
	return u.String()
}
