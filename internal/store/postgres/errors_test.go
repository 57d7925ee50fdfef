//go:build unix

package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

// TestDatabaseThatDoesNotExistIsNamed: its server is there, and nobody's rights are wrong.
func TestDatabaseThatDoesNotExistIsNamed(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	slash := strings.LastIndexByte(url, '/')
	query := ""
	if at := strings.IndexByte(url[slash:], '?'); at >= 0 {
		query = url[slash+at:]
	}
	_, err := Open(t.Context(), Options{URL: url[:slash+1] + "nowhere" + query})
	if err == nil || !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "the database nowhere doesn't exist: create it (PostgreSQL's code 3D000)") {
		t.Errorf("it says %v", err)
	}
	var away *store.Away
	if !errors.As(err, &away) || !away.Lasting {
		t.Error("it counts as something that passes by itself")
	}
}

// Until the database could be prepared whoever asks is told why it couldn't, not just that it wasn't there.
func TestStoreThatIsNotReadySaysWhy(t *testing.T) {
	t.Parallel()
	at, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	at.Path += "_nowhere"
	s, err := Open(t.Context(), Options{URL: at.String(), Connections: 2, Later: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	_, asked := s.Event(t.Context(), core.NewEventID())
	_, stored := s.Append(t.Context(), []store.Accepted{accepted()})
	for name, err := range map[string]error{"asked for an event": asked, "storing one": stored} {
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), at.Path[1:]+" doesn't exist: create it") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What somebody has to mend first is no fault of an event's.
	newer := error(core.Errorf(core.CodeConflict, "the database's tables are of a newer relais"))
	s.unready.Store(&newer)
	if err := s.notPrepared(); !errors.Is(err, store.ErrUnavailable) || core.CodeOf(err) != core.CodeUnavailable || !strings.Contains(err.Error(), "newer relais") {
		t.Errorf("tables of a newer relais: %v, code %s", err, core.CodeOf(err))
	}
}

// A user who may connect and not make tables, as any on PostgreSQL 15 that doesn't own the database, is told what to do.
func TestUserWithoutRightsIsTold(t *testing.T) {
	t.Parallel()
	at := pgtest.URL(t)
	conn := admin(t, at)
	run(t, conn, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	name := "guest_" + strings.ToLower(rand.Text()[:8])
	run(t, conn, "CREATE USER "+name+" PASSWORD 'guest'")
	t.Cleanup(func() { _, _ = conn.Exec(context.WithoutCancel(t.Context()), "DROP USER "+name) })
	guest, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	guest.User = url.UserPassword(name, "guest")
	if _, err := Open(t.Context(), Options{URL: guest.String(), Connections: 2}); err == nil ||
		!strings.Contains(err.Error(), "lacks a right in the database: make it the database's owner (PostgreSQL's code 42501)") {
		t.Errorf("it says %v", err)
	}
}
