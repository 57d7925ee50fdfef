//go:build unix

package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"relais/internal/testserver"
)

// superuser owns everything on a throw-away server, and needs no password there.
const superuser = "postgres"

// Instance is a server of one test's own, which the test may take away and give back. Its data and its
// address stay.
type Instance struct {
	t    testing.TB
	dir  string
	bin  string
	as   *syscall.Credential
	port int

	mu   sync.Mutex
	proc *testserver.Process // nil while stopped
	dbs  map[string]bool
}

// subfolder is for a server of ours: PostgreSQL and PgBouncer refuse to be root.
func subfolder(prefix string) (string, *syscall.Credential, error) {
	return testserver.Folder(prefix, "postgres", "nobody")
}

// Server starts a server of the test's own, which ends with the test.
func Server(t testing.TB) *Instance {
	t.Helper()
	s, err := newInstance()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	s.t = t
	t.Cleanup(func() {
		s.Resume()
		s.Stop(true)
		if err := os.RemoveAll(s.dir); err != nil {
			t.Errorf("pgtest: remove the server's folder: %v", err)
		}
	})
	return s
}

// URL is the URL of a database on the server. A first call for a name other than postgres creates it.
func (s *Instance) URL(db string) string {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dbs[db] {
		if err := clone(s.url("postgres"), db, "template0"); err != nil {
			s.t.Fatalf("pgtest: create database %s: %v", db, err)
		}
		s.dbs[db] = true
	}
	return s.url(db)
}

// Stop ends the server, and returns when it is gone. Immediate is as a crash: connections break, nothing
// is flushed and the next start recovers; otherwise transactions are rolled back first. A server that is
// stopped already stays so.
func (s *Instance) Stop(immediate bool) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return
	}
	sig := syscall.SIGINT
	if immediate {
		sig = syscall.SIGQUIT
	}
	if err := s.proc.End(sig); err != nil {
		s.t.Errorf("pgtest: stop the server: %v", err)
	}
	s.proc = nil
}

// Start starts the server again, where it was, and returns when it takes connections.
func (s *Instance) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		return
	}
	if err := s.start(); err != nil {
		s.t.Fatalf("pgtest: start the server again: %v", err)
	}
}

// Restart stops the server as an administrator does, and starts it again.
func (s *Instance) Restart() {
	s.t.Helper()
	s.Stop(false)
	s.Start()
}

// Pause freezes all of the server's processes: connections stay and nothing answers. New ones are taken
// by the system, and get no answer either.
func (s *Instance) Pause() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return
	}
	if err := s.proc.Pause(); err != nil {
		s.t.Fatalf("pgtest: pause the server: %v", err)
	}
}

// Resume lets a paused server go on.
func (s *Instance) Resume() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return
	}
	if err := s.proc.Resume(); err != nil {
		s.t.Fatalf("pgtest: resume the server: %v", err)
	}
}

// Certify lets the server speak TLS with a certificate and its key, both in PEM.
func (s *Instance) Certify(certificate, key []byte) {
	s.t.Helper()
	for name, text := range map[string][]byte{"server.crt": certificate, "server.key": key} {
		path := filepath.Join(s.data(), name)
		err := os.WriteFile(path, text, 0o600)
		if err == nil && s.as != nil {
			err = os.Chown(path, int(s.as.Uid), int(s.as.Gid))
		}
		if err != nil {
			s.t.Fatalf("pgtest: %v", err)
		}
	}
	settings := filepath.Join(s.data(), "postgresql.auto.conf")
	if err := os.WriteFile(settings, []byte("ssl = on\n"), 0o600); err != nil {
		s.t.Fatalf("pgtest: %v", err)
	}
	s.Restart()
}

// newInstance makes a server and starts it.
func newInstance() (*Instance, error) {
	bin, err := serverBinaries()
	if err != nil {
		return nil, err
	}
	dir, as, err := subfolder("s")
	if err != nil {
		return nil, err
	}
	s := &Instance{dir: dir, bin: bin, as: as, dbs: map[string]bool{"postgres": true}}
	if err := s.initialise(); err != nil {
		return nil, err
	}
	// Another process may take the port between the choice and its use.
	for range 5 {
		if s.port, err = testserver.FreePort(); err != nil {
			return nil, err
		}
		if err = s.start(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// initialise makes the server's files.
func (s *Instance) initialise() error {
	initdb := filepath.Join(s.bin, "initdb")
	help, err := exec.CommandContext(context.Background(), initdb, "--help").Output() //nolint:gosec // the machine's own initdb
	if err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	args := []string{
		"--pgdata", s.data(), "--username", superuser, "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync",
	}
	// Text sorts as on a French server, not by its bytes: a query that relies on the order of bytes must
	// say so to be right where relais runs. Before PostgreSQL 15 that takes a locale which the machine
	// may not have.
	if bytes.Contains(help, []byte("--icu-locale")) {
		args = append(args, "--locale-provider", "icu", "--icu-locale", "fr")
	}
	cmd := exec.CommandContext(context.Background(), initdb, args...) //nolint:gosec // the machine's own initdb
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb in %s: %w\n%s", s.dir, err, out)
	}
	return nil
}

func (s *Instance) data() string { return filepath.Join(s.dir, "data") }

func (s *Instance) url(db string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User(superuser),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + db,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

func (s *Instance) start() error {
	proc, err := testserver.Launch(s.as, filepath.Join(s.dir, "log"), filepath.Join(s.bin, "postgres"),
		"-D", s.data(), "-k", "", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port),
		"-c", "max_connections=200", "-c", "logging_collector=off")
	if err != nil {
		return err
	}
	if err := proc.Await(connects(s.url("postgres"))); err != nil {
		return errors.Join(err, proc.End(syscall.SIGQUIT))
	}
	s.proc = proc
	return nil
}

// connects says whether a database takes connections now.
func connects(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}
}
