package sqlite

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver that people have

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Exercise(t, func(t *testing.T, o storetest.Options) store.Store {
		s, err := Open(t.Context(), Options{Dir: o.Dir, Now: o.Now, Sync: SyncOff})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, askReadOnly)
}

// askReadOnly is how a person reads the database of a relais that runs.
func askReadOnly(t *testing.T, o storetest.Options, text string) [][]string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(o.Dir, databaseName)+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		row := make([]string, len(columns))
		for i, v := range values {
			if row[i] = v.String; !v.Valid {
				row[i] = "NULL"
			}
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func openTest(t *testing.T, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// onWriter runs a script on the writer's connection between two transactions.
func (s *Store) onWriter(t *testing.T, script string) {
	t.Helper()
	s.writer.turn.Lock()
	defer s.writer.turn.Unlock()
	if err := s.writer.conn.exec(script); err != nil {
		t.Fatal(err)
	}
}

// checkIntegrity has SQLite check its structures, and compares the counts with the rows.
func checkIntegrity(t *testing.T, s *Store) {
	t.Helper()
	err := s.read(t.Context(), func(c *conn) error {
		q := c.q("PRAGMA integrity_check(1)")
		if q.next() && q.colText(0) != "ok" {
			t.Errorf("integrity: %s", q.colText(0))
		}
		if err := q.end(); err != nil {
			return err
		}
		for column, state := range map[string]string{"pending": "0", "running": "1", "dead": "3"} {
			wrong, err := pragma(c, "SELECT "+column+" - (SELECT count(*) FROM delivery WHERE state = "+state+") FROM tally")
			if err != nil {
				return err
			}
			if wrong != 0 {
				t.Errorf("%s is counted %d too many", column, wrong)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

var (
	benchBody   = make([]byte, 600)
	benchHeader = make([]byte, 250)
	benchSerial atomic.Uint64
)

func benchBatch(n, lanes int) []store.Accepted {
	batch := make([]store.Accepted, n)
	now := time.Now()
	for i := range batch {
		serial := benchSerial.Add(1)
		key := sha256.Sum256(binary.BigEndian.AppendUint64(nil, serial))
		batch[i] = store.Accepted{
			Event: core.Event{
				ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "sellsy", Type: "estimate.accepted",
				ReceivedAt: now, Format: core.FormatJSON, Header: benchHeader, Body: benchBody,
			},
			DedupKey: [16]byte(key[:16]), DedupWindow: 72 * time.Hour, RouteSet: "set",
			Deliveries: []store.NewDelivery{{
				Destination: core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: fmt.Sprint("route-", serial%uint64(lanes))},
				Priority:    core.PriorityNormal,
			}},
		}
	}
	return batch
}
