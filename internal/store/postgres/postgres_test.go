package postgres

import (
	"sync"
	"testing"
	"time"

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
	})
}
