//go:build unix

package pgtest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/store/postgres/pgtest"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func ask[T any](t *testing.T, conn *pgx.Conn, sql string) T {
	t.Helper()
	var answer T
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// silent says that a query gets no answer: not even an error.
func silent(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(ctx, sql); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%s = %v; want no answer", sql, err)
	}
}

func unreachable(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if conn, err := pgx.Connect(ctx, url); err == nil {
		t.Fatal("connected", conn.Close(ctx))
	} else if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("connect = %v; want no answer", err)
	}
}

func TestDatabaseIsEmptyAndSyncs(t *testing.T) {
	conn := connect(t, pgtest.URL(t))
	if n := ask[int](t, conn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"); n != 0 {
		t.Errorf("%d tables", n)
	}
	if got := ask[string](t, conn, "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %s", got)
	}
}

func TestDatabaseIsDroppedWithItsTest(t *testing.T) {
	var name string
	t.Run("test", func(t *testing.T) {
		conn := connect(t, pgtest.URL(t))
		name = ask[string](t, conn, "SELECT current_database()")
	})
	conn := connect(t, pgtest.URL(t))
	if n := ask[int](t, conn, fmt.Sprintf("SELECT count(*) FROM pg_database WHERE datname = '%s'", name)); n != 0 {
		t.Errorf("%s is still there", name)
	}
}

var repeated atomic.Int32

func TestTemplateIsPreparedOnceAndCopiesAreApart(t *testing.T) {
	var prepared atomic.Int32
	prepare := func(url string) error {
		prepared.Add(1)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return err
		}
		_, err = conn.Exec(t.Context(), "CREATE TABLE events (id int); INSERT INTO events VALUES (1)")
		return errors.Join(err, conn.Close(t.Context()))
	}
	// Templates last as long as the process, so a test that is repeated needs another.
	name := fmt.Sprint(t.Name(), repeated.Add(1))
	urls := make([]string, 8)
	var cloned sync.WaitGroup
	for i := range urls {
		cloned.Go(func() { urls[i] = pgtest.FromTemplate(t, name, prepare) })
	}
	cloned.Wait()
	if n := prepared.Load(); n != 1 {
		t.Errorf("prepared %d times", n)
	}
	run(t, connect(t, urls[0]), "INSERT INTO events VALUES (2)")
	for i, url := range urls {
		want := 1
		if i == 0 {
			want = 2
		}
		if n := ask[int](t, connect(t, url), "SELECT count(*) FROM events"); n != want {
			t.Errorf("database %d has %d events, want %d", i, n, want)
		}
	}
}

func TestServerKeepsItsDataAcrossStops(t *testing.T) {
	s := pgtest.Server(t)
	url := s.URL("relais")
	conn := connect(t, url)
	run(t, conn, "CREATE TABLE events (id int)")
	for i, stop := range []func(){func() { s.Stop(false) }, func() { s.Stop(true) }} {
		run(t, conn, "INSERT INTO events VALUES (1)")
		stop()
		if _, err := pgx.Connect(t.Context(), url); err == nil {
			t.Fatal("a stopped server answers")
		}
		s.Start()
		conn = connect(t, url)
		if n := ask[int](t, conn, "SELECT count(*) FROM events"); n != i+1 {
			t.Errorf("%d events after start %d", n, i+1)
		}
	}
	s.Restart()
	if n := ask[int](t, connect(t, s.URL("relais")), "SELECT count(*) FROM events"); n != 2 {
		t.Errorf("%d events after a restart", n)
	}
}

func TestPausedServerIsSilentAndGoesOn(t *testing.T) {
	s := pgtest.Server(t)
	url := s.URL("relais")
	conn, idle := connect(t, url), connect(t, url)
	s.Pause()
	silent(t, conn, "SELECT 1")
	unreachable(t, url)
	s.Resume()
	if ask[int](t, idle, "SELECT 1") != 1 {
		t.Error("the connection didn't survive")
	}
	connect(t, url)
}

func TestBouncerPoolsTransactions(t *testing.T) {
	through := pgtest.Bouncer(t, pgtest.URL(t))
	config, err := pgx.ParseConfig(through)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	var backends [2]int
	for i := range backends {
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		if ask[int](t, conn, "SELECT 1") != 1 {
			t.Error("no answer")
		}
		backends[i] = ask[int](t, conn, "SELECT pg_backend_pid()")
	}
	if backends[0] != backends[1] {
		t.Error("each client has a server connection of its own: that isn't transaction mode")
	}
}
