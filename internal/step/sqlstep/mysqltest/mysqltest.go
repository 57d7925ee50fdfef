//go:build unix

// Package mysqltest gives tests a real MariaDB.
//
// The first call of a test process starts a server from this machine's binaries, in a temporary folder, on a
// free port of 127.0.0.1, as an unprivileged user. All tests of the process share it, each with databases of
// its own. It ends with the process, however that ends, and its folder goes with it.
package mysqltest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"

	"relais/internal/egress/certtest"
	"relais/internal/testserver"
)

const (
	tests    = "relais" // the tests' user
	password = "s3cret/é:@"
)

type server struct {
	port  int
	root  *sql.DB
	count atomic.Int64
	// authority is the file of who certified the server, for 127.0.0.1 and no other name.
	authority string
}

var shared = sync.OnceValues(start)

// Database returns the URL of a new, empty database for a user who may do everything there.
func Database(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("mysqltest: %v", err)
	}
	name := fmt.Sprintf("test_%d", s.count.Add(1))
	if _, err := s.root.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("mysqltest: create a database: %v", err)
	}
	return fmt.Sprintf("mysql://%s:s3cret%%2F%%C3%%A9:%%40@127.0.0.1:%d/%s", tests, s.port, name)
}

// Authority is the file of the authority that certified the server, for the name 127.0.0.1 and no other.
func Authority(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("mysqltest: %v", err)
	}
	return s.authority
}

// Exec runs statements in a database as the server's administrator.
func Exec(t testing.TB, database string, statements ...string) {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("mysqltest: %v", err)
	}
	conn, err := s.root.Conn(t.Context())
	if err != nil {
		t.Fatalf("mysqltest: %v", err)
	}
	defer func() { _ = conn.Close() }()
	for _, statement := range append([]string{"USE " + path.Base(database)}, statements...) {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("mysqltest: %s: %v", statement, err)
		}
	}
}

func start() (*server, error) {
	install, err := program("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	daemon, err := program("mariadbd")
	if err != nil {
		return nil, err
	}
	dir, as, err := testserver.Folder("m", "mysql", "nobody")
	if err != nil {
		return nil, err
	}
	s := &server{}
	certificates, err := s.certify(dir, as)
	if err != nil {
		return nil, err
	}
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "socket")
	made := exec.CommandContext(context.Background(), install, "--no-defaults", "--datadir="+data, //nolint:gosec // the machine's own program
		"--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M")
	made.Dir, made.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if out, err := made.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	if s.port, err = testserver.FreePort(); err != nil {
		return nil, err
	}
	process, err := testserver.Launch(as, filepath.Join(dir, "log"), daemon, "--no-defaults", "--datadir="+data,
		"--socket="+socket, "--port="+strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--pid-file="+filepath.Join(dir, "pid"),
		"--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M", "--max-connections=60", "--default-time-zone=+02:00",
		"--ssl-cert="+certificates.Certificate, "--ssl-key="+certificates.Key)
	if err != nil {
		return nil, err
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.Logger = "root", "unix", socket, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	s.root = sql.OpenDB(connector)
	if err := process.Await(s.root.PingContext); err != nil {
		return nil, err
	}
	for _, statement := range []string{
		"CREATE USER '" + tests + "'@'%' IDENTIFIED BY '" + password + "'",
		"GRANT ALL ON `test\\_%`.* TO '" + tests + "'@'%'",
	} {
		if _, err := s.root.ExecContext(context.Background(), statement); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// certify makes the server's certificate, and lets the server's user read it.
func (s *server) certify(dir string, as *syscall.Credential) (certtest.Files, error) {
	chain, err := certtest.Make("127.0.0.1")
	if err != nil {
		return certtest.Files{}, err
	}
	files, err := chain.Write(dir)
	if err != nil {
		return certtest.Files{}, err
	}
	s.authority = files.Authority
	if as == nil {
		return files, nil
	}
	return files, errors.Join(os.Chown(files.Certificate, int(as.Uid), int(as.Gid)), os.Chown(files.Key, int(as.Uid), int(as.Gid)))
}

func program(name string) (string, error) {
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("no %s on this machine: run scripts/setup, or install the package mariadb-server-core", name)
}
