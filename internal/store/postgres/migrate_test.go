//go:build unix

package postgres

import (
	"io/fs"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/store/postgres/pgtest"
)

// oldTables makes the tables as the first migrations left them.
func oldTables(t *testing.T, url string, version int) {
	t.Helper()
	s, err := connect(Options{URL: url}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		if err := s.try(t.Context(), func(tx *tx) (err error) {
			more, err = tx.migrate(files[:version])
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// await asks until the answer is yes.
func await(t *testing.T, conn *pgx.Conn, what, sql string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		var yes bool
		if err := conn.QueryRow(t.Context(), sql).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		if yes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Somebody dumps the database while the first node of a new version starts: those of the version before go on, and the
// new one starts when the dump has ended.
func TestMigrationKeepsNobodyWaiting(t *testing.T) {
	url := pgtest.URL(t)
	oldTables(t, url, 3) // the fourth alters delivery_done
	dump, old := admin(t, url), admin(t, url)
	run(t, dump, "BEGIN; SELECT FROM delivery_done")
	opened := make(chan error, 1)
	go func() {
		n, err := Open(t.Context(), Options{URL: url, Connections: 2})
		if err == nil {
			err = n.Close()
		}
		opened <- err
	}()
	run(t, old, "SET lock_timeout = '3s'")
	for range 2 { // tries of the migration
		await(t, old, "the migration waits", "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'delivery_done'::regclass AND NOT granted)")
		run(t, old, "BEGIN; LOCK TABLE delivery_done IN ROW EXCLUSIVE MODE; ROLLBACK") // as Finish does
	}
	select {
	case err := <-opened:
		t.Fatalf("opened while its tables were held: %v", err)
	default:
	}
	// One with a spool takes events in meanwhile.
	later, err := Open(t.Context(), Options{URL: url, Connections: 2, Later: true})
	if err != nil {
		t.Fatalf("with a spool: %v", err)
	}
	t.Cleanup(func() { _ = later.Close() })
	run(t, dump, "ROLLBACK")
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	var version int
	if err := old.QueryRow(t.Context(), "SELECT version FROM relais_schema").Scan(&version); err != nil || version != len(schemaSteps) {
		t.Errorf("the tables are of version %d of %d (%v)", version, len(schemaSteps), err)
	}
}

// Autovacuum may be at a large table for an hour. It gives way.
func TestMigrationGoesBeforeAutovacuum(t *testing.T) {
	server := pgtest.Server(t)
	url := server.URL("relais")
	oldTables(t, url, 5) // the sixth alters dedup
	conn := admin(t, url)
	run(t, conn, "INSERT INTO dedup SELECT gen_random_uuid(), gen_random_uuid(), 0 FROM generate_series(1, 50000)")
	// For minutes.
	run(t, conn, "ALTER TABLE dedup SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1)")
	run(t, conn, "DELETE FROM dedup")
	setting(t, conn, "autovacuum_naptime", "1s")
	await(t, conn, "autovacuum is at dedup",
		"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND query LIKE '%VACUUM%dedup%')")
	began := time.Now()
	openAt(t, url)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the migration waited %s for autovacuum", took)
	}
}
