//go:build unix

package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestGivenServerIsRidOfAbandonedDatabasesOnly(t *testing.T) {
	admin := Server(t).URL("postgres")
	claim := func(id int64) *pgx.Conn {
		conn, err := claimRun(admin, id)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	ended, running := claim(1), claim(2)
	for _, db := range []string{"relais_test_0000000000000001_1", "relais_test_0000000000000002_1", "relais_tests"} {
		if err := clone(admin, db, "template0"); err != nil {
			t.Fatal(err)
		}
	}
	if err := ended.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The server notices a moment later: this waits for it.
	if _, err := running.Exec(t.Context(), "SELECT pg_advisory_lock(1), pg_advisory_unlock(1)"); err != nil {
		t.Fatal(err)
	}

	rows, err := claim(3).Query(t.Context(), `SELECT datname::text FROM pg_database WHERE datname LIKE 'relais%' ORDER BY datname COLLATE "C"`)
	if err != nil {
		t.Fatal(err)
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 2 || left[0] != "relais_test_0000000000000002_1" || left[1] != "relais_tests" {
		t.Errorf("left are %q", left)
	}
}
