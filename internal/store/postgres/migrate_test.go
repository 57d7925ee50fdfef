//go:build unix

package postgres

import (
	"io/fs"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/store/postgres/pgtest"
)

// Somebody dumps the database while the first node of a new version starts: those of the version before go on, and the
// new one starts when the dump has ended.
func TestMigrationKeepsNobodyWaiting(t *testing.T) {
	url := pgtest.URL(t)
	s, err := connect(Options{URL: url}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		if err := s.try(t.Context(), func(tx *tx) (err error) {
			more, err = tx.migrate(steps[:3]) // the fourth alters delivery_done
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	dump, old := admin(t, url), admin(t, url)
	exec := func(conn *pgx.Conn, sql string) error {
		_, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
		return err
	}
	if err := exec(dump, "BEGIN; SELECT FROM delivery_done"); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		n, err := Open(t.Context(), Options{URL: url, Connections: 2})
		if err == nil {
			err = n.Close()
		}
		opened <- err
	}()
	if err := exec(old, "SET lock_timeout = '1s'"); err != nil { // as the nodes' transactions have
		t.Fatal(err)
	}
	// For longer than two tries of the migration.
	for until := time.Now().Add(2*migrationPause + time.Second); time.Now().Before(until); {
		if err := exec(old, "BEGIN; LOCK TABLE delivery_done IN ROW EXCLUSIVE MODE; ROLLBACK"); err != nil {
			t.Fatalf("a node of the version before waits for the migration: %v", err)
		}
	}
	select {
	case err := <-opened:
		t.Fatalf("opened while its tables were held: %v", err)
	default:
	}
	if err := exec(dump, "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	var version int
	if err := old.QueryRow(t.Context(), "SELECT version FROM relais_schema").Scan(&version); err != nil || version != len(steps) {
		t.Errorf("the tables are of version %d of %d (%v)", version, len(steps), err)
	}
}
