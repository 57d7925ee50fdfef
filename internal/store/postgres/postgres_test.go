//go:build unix

package postgres

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
	"relais/internal/store/storetest"
)

// storetestDay is where storetest's clock starts: tests are given a database that has its partitions.
var storetestDay = time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC)

// database returns the URL of a new database with relais' tables.
func database(t testing.TB) string {
	t.Helper()
	return pgtest.FromTemplate(t, "relais", func(url string) error {
		s, err := Open(t.Context(), Options{URL: url, Now: func() time.Time { return storetestDay }})
		if err != nil {
			return err
		}
		return s.Close()
	})
}

// databases gives each of storetest's folders a database: the same for the same folder.
type databases struct {
	mu   sync.Mutex
	urls map[string]string
	make func(t *testing.T) string
}

func (d *databases) of(t *testing.T, dir string) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	url, there := d.urls[dir]
	if !there {
		if url = d.make(t); d.urls == nil {
			d.urls = map[string]string{}
		}
		d.urls[dir] = url
	}
	return url
}

func TestStore(t *testing.T) {
	t.Parallel() // with the one below: both mostly wait for the disk
	exercise(t, func(t *testing.T) string { return database(t) })
}

// TestStoreThroughPooler runs the suite through PgBouncer in transaction mode: what a connection keeps from
// one transaction to the next is somebody else's there.
func TestStoreThroughPooler(t *testing.T) {
	t.Parallel()
	exercise(t, func(t *testing.T) string { return pgtest.Bouncer(t, database(t)) })
}

func exercise(t *testing.T, make func(t *testing.T) string) {
	dbs := databases{make: make}
	storetest.Exercise(t, func(t *testing.T, o storetest.Options) store.Store {
		s, err := Open(t.Context(), Options{URL: dbs.of(t, o.Dir), Now: o.Now, Connections: 4})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}, func(t *testing.T, o storetest.Options, sql string) [][]string {
		return askReadOnly(t, dbs.of(t, o.Dir), sql)
	})
}

// askReadOnly is what a person sees who may only read, and has no search_path to relais' functions.
func askReadOnly(t *testing.T, url, sql string) [][]string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var rows [][]string
	err = pgx.BeginTxFunc(t.Context(), conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "SET LOCAL TIME ZONE 'UTC'"); err != nil {
			return err
		}
		if _, err := tx.Exec(t.Context(), "SET LOCAL search_path = pg_catalog"); err != nil {
			return err
		}
		answer, err := tx.Query(t.Context(), strings.ReplaceAll(sql, "ic_postback", "public.ic_postback"), pgx.QueryExecModeExec)
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(answer, func(row pgx.CollectableRow) ([]string, error) {
			values, into := make([]*string, len(row.FieldDescriptions())), make([]any, len(row.FieldDescriptions()))
			for i := range values {
				into[i] = &values[i]
			}
			err := row.Scan(into...)
			out := make([]string, len(values))
			for i, v := range values {
				if out[i] = "NULL"; v != nil {
					out[i] = *v
				}
			}
			return out, err
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
