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
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"relais/internal/egress/certtest"
)

// janitor starts the server and ends it, and its folder, once its standard input ends. That is a pipe whose
// other end the test process holds: the system closes it at the process's end, kill -9 included.
const janitor = `
dir=$1; shift
"$@" >"$dir/log" 2>&1 </dev/null &
pid=$!
cat >/dev/null
kill -KILL $pid
wait $pid
rm -rf "$dir"
`

const (
	startTimeout = time.Minute
	tests        = "relais" // the tests' user
	password     = "s3cret/é:@"
)

type server struct {
	dir   string
	port  int
	root  *sql.DB
	alive io.Closer // the janitor acts when this closes
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
	s := &server{}
	if s.dir, err = os.MkdirTemp("", "relais-mysql-"); err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if as != nil {
		if err := os.Chown(s.dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	certificates, err := s.certify(as)
	if err != nil {
		return nil, err
	}
	data, socket := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "socket")
	made := exec.CommandContext(context.Background(), install, "--no-defaults", "--datadir="+data, //nolint:gosec // the machine's own program
		"--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M")
	made.Dir, made.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: as}
	if out, err := made.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("mariadb-install-db: %w\n%s", err, out), os.RemoveAll(s.dir))
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), "sh", "-c", janitor, "sh", s.dir, daemon, "--no-defaults", "--datadir="+data, //nolint:gosec // as above
		"--socket="+socket, "--port="+strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--pid-file="+filepath.Join(s.dir, "pid"),
		"--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M", "--max-connections=60", "--default-time-zone=+02:00",
		"--ssl-cert="+certificates.Certificate, "--ssl-key="+certificates.Key)
	cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: as, Setpgid: true}
	if s.alive, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return s, s.await(socket)
}

// certify makes the server's certificate, and lets the server's user read it.
func (s *server) certify(as *syscall.Credential) (certtest.Files, error) {
	chain, err := certtest.Make("127.0.0.1")
	if err != nil {
		return certtest.Files{}, err
	}
	files, err := chain.Write(s.dir)
	if err != nil {
		return certtest.Files{}, err
	}
	s.authority = files.Authority
	if as == nil {
		return files, nil
	}
	return files, errors.Join(os.Chown(files.Certificate, int(as.Uid), int(as.Gid)), os.Chown(files.Key, int(as.Uid), int(as.Gid)))
}

// await returns when the server takes connections and knows the tests' user.
func (s *server) await(socket string) error {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.Logger = "root", "unix", socket, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	s.root = sql.OpenDB(connector)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = s.root.PingContext(ctx); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("mariadbd didn't start: %w\n%s", err, log)
		case <-tick.C:
		}
	}
	for _, statement := range []string{
		"CREATE USER '" + tests + "'@'%' IDENTIFIED BY '" + password + "'",
		"GRANT ALL ON `test\\_%`.* TO '" + tests + "'@'%'",
	} {
		if _, err := s.root.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func program(name string) (string, error) {
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("no %s on this machine: run scripts/setup, or install the package mariadb-server-core", name)
}

// unprivileged is the user that the server runs as: it refuses to be root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"mysql", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(found.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(found.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
	}
	return nil, errors.New("running as root, and there is no user mysql or nobody to run a server as")
}

func freePort() (int, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}
