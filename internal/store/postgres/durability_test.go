//go:build unix

package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

func openAt(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: url, Connections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func admin(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// setting changes a setting of a test's own server, and waits until new connections have it.
func setting(t *testing.T, conn *pgx.Conn, name, value string) {
	t.Helper()
	for _, sql := range []string{fmt.Sprintf("ALTER SYSTEM SET %s = '%s'", name, value), "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		// A connection of its own: one that is open reads a changed file when it likes.
		var now string
		fresh, err := pgx.ConnectConfig(t.Context(), conn.Config())
		if err == nil {
			err = fresh.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&now)
			_ = fresh.Close(t.Context())
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%s is %q, want %q (%v)", name, now, value, err)
		}
		if now == value {
			return
		}
	}
}

func accepted() store.Accepted {
	return store.Accepted{
		Event: core.Event{
			ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "sellsy", Type: "estimate.accepted",
			ReceivedAt: time.Now(), Format: core.FormatJSON, Body: []byte(`{}`),
		},
		Deliveries: []store.NewDelivery{{
			Destination: core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: "facture"},
			Priority:    core.PriorityNormal,
		}},
	}
}

func TestServerThatLosesWhatItAcknowledgedIsRefused(t *testing.T) {
	server := pgtest.Server(t)
	at := server.URL("relais")
	conn := admin(t, at)
	running := openAt(t, at)
	for _, name := range []string{"fsync", "full_page_writes"} {
		setting(t, conn, name, "off")
		_, err := Open(t.Context(), Options{URL: at})
		if core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), name+"=off") {
			t.Errorf("%s is off, and Open gives %v", name, err)
		}
		if err := running.check(t.Context()); core.CodeOf(err) != core.CodeConflict {
			t.Errorf("%s was set off under a running node, and it finds %v", name, err)
		}
		if w := strings.Join(running.Warnings(), "\n"); !strings.Contains(w, name+"=off") {
			t.Errorf("people are told %q", w)
		}
		setting(t, conn, name, "on")
	}
	openAt(t, at)
}

func TestOldServerIsRefused(t *testing.T) {
	old := serverSettings{version: 130014, words: "13.14", sync: "on", pages: "on"}
	if err := old.refusal(); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), "13.14") {
		t.Errorf("version 13 gives %v", err)
	}
	old.version = oldestServer
	if err := old.refusal(); err != nil {
		t.Errorf("version 14 gives %v", err)
	}
}

func TestMissingStandbyIsTold(t *testing.T) {
	server := pgtest.Server(t)
	at := server.URL("relais")
	s := openAt(t, at)
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "synchronous_standby_names") {
		t.Errorf("told %q", w)
	}
	conn := admin(t, at)
	setting(t, conn, "synchronous_standby_names", "other")
	err := s.check(t.Context())
	if w := s.Warnings(); err != nil || len(w) != 0 {
		t.Errorf("with a synchronous standby: told %q, %v", w, err)
	}
	setting(t, conn, "synchronous_standby_names", "") // else every commit waits for it
}

func TestServerThatCommitsWithoutSyncIsOverridden(t *testing.T) {
	server := pgtest.Server(t)
	at := server.URL("relais")
	setting(t, admin(t, at), "synchronous_commit", "off")
	s := openAt(t, at)
	const ask = "SELECT current_setting('synchronous_commit')"
	var transacted, exchanged string
	if err := s.transact(t.Context(), func(t *tx) error { return t.row(ask).Scan(&transacted) }); err != nil {
		t.Fatal(err)
	}
	if err := s.exchange(t.Context(), func(b *pgx.Batch) { b.Queue(ask) }, func(r pgx.BatchResults) error {
		return r.QueryRow().Scan(&exchanged)
	}); err != nil {
		t.Fatal(err)
	}
	if transacted != "on" || exchanged != "on" {
		t.Errorf("synchronous_commit is %q in transact, %q in exchange", transacted, exchanged)
	}
}

// What an append that is one statement acknowledges is in the log on the disk, though this server, left to itself,
// would write it seconds later.
func TestAppendOfOneStatementIsSynced(t *testing.T) {
	server := pgtest.Server(t)
	at := server.URL("relais")
	conn := admin(t, at)
	setting(t, conn, "synchronous_commit", "off")
	setting(t, conn, "wal_writer_delay", "10s")
	s := openAt(t, at)
	synced := func(statement func()) (yes bool) {
		t.Helper()
		// The server may write a record of its own between the commit and the look.
		for range 3 {
			statement()
			if err := conn.QueryRow(t.Context(), "SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()").Scan(&yes); err != nil {
				t.Fatal(err)
			}
			if yes {
				break
			}
		}
		return yes
	}
	if synced(func() {
		if _, err := conn.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS unsynced (); INSERT INTO unsynced DEFAULT VALUES"); err != nil {
			t.Fatal(err)
		}
	}) {
		t.Fatal("this server syncs what nobody asked for: the test shows nothing")
	}
	if !synced(func() {
		if _, err := s.Append(t.Context(), benchBatch(1, 1)); err != nil {
			t.Fatal(err)
		}
	}) {
		t.Error("an append was acknowledged before it was synced")
	}
}

func TestReadOnlyServerIsAway(t *testing.T) {
	server := pgtest.Server(t)
	at := server.URL("relais")
	s := openAt(t, at)
	conn := admin(t, at)
	var data string
	if err := conn.QueryRow(t.Context(), "SHOW data_directory").Scan(&data); err != nil {
		t.Fatal(err)
	}
	server.Stop(false)
	if err := os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	server.Start()
	for name, call := range map[string]func() error{
		"a write": func() error { _, err := s.Append(t.Context(), []store.Accepted{accepted()}); return err },
		"a read":  func() error { _, err := s.Stats(t.Context()); return err },
		"a start": func() error { _, err := Open(t.Context(), Options{URL: at}); return err },
	} {
		if err := call(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("on a replica %s gives %v", name, err)
		}
	}

	// Of two servers the one that writes is taken, wherever it stands in the list.
	primary := pgtest.Server(t).URL("relais")
	both := openAt(t, hosts(t, at, primary))
	if _, err := both.Append(t.Context(), []store.Accepted{accepted()}); err != nil {
		t.Errorf("with a replica first, a write gives %v", err)
	}

	if _, err := admin(t, at).Exec(t.Context(), "SELECT pg_promote()"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), []store.Accepted{accepted()}); err != nil {
		t.Errorf("after the promotion a write gives %v", err)
	}
	setting(t, admin(t, at), "default_transaction_read_only", "on")
	s.pool.Reset()
	if _, err := s.Append(t.Context(), []store.Accepted{accepted()}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("on a read-only server a write gives %v", err)
	}
}

// hosts is a URL of two servers.
func hosts(t *testing.T, first, second string) string {
	t.Helper()
	a, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := url.Parse(second)
	if err != nil {
		t.Fatal(err)
	}
	a.Host += "," + b.Host
	return a.String()
}
