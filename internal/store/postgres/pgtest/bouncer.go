//go:build unix

package pgtest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"relais/internal/testserver"
)

// Bouncer puts PgBouncer in transaction mode before a database, and returns the URL through it. What a
// connection keeps between transactions is lost there, as in production: prepared statements, LISTEN,
// session advisory locks, SET. Start-up parameters that PgBouncer doesn't know are refused.
func Bouncer(t testing.TB, database string) string {
	t.Helper()
	through, proc, err := startBouncer(database)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		// Killed: it keeps nothing, and what its other signals wait for depends on its version.
		err := errors.Join(proc.End(syscall.SIGKILL), os.RemoveAll(filepath.Dir(proc.Log)))
		if err != nil {
			t.Errorf("pgtest: stop PgBouncer: %v", err)
		}
	})
	return through
}

func startBouncer(database string) (string, *testserver.Process, error) {
	program, err := findBouncer()
	if err != nil {
		return "", nil, err
	}
	to, err := pgx.ParseConfig(database)
	if err != nil {
		return "", nil, err
	}
	dir, as, err := subfolder("b")
	if err != nil {
		return "", nil, err
	}
	// Another process may take the port between the choice and its use.
	for range 5 {
		var port int
		if port, err = testserver.FreePort(); err != nil {
			return "", nil, err
		}
		through := url.URL{
			Scheme:   "postgres",
			User:     url.User(to.User),
			Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
			Path:     "/" + to.Database,
			RawQuery: "sslmode=disable",
		}
		ini := filepath.Join(dir, "bouncer.ini")
		if err = os.WriteFile(ini, bouncerSettings(to, dir, port), 0o600); err != nil {
			return "", nil, err
		}
		if as != nil {
			if err = os.Chown(ini, int(as.Uid), int(as.Gid)); err != nil {
				return "", nil, err
			}
		}
		var proc *testserver.Process
		if proc, err = testserver.Launch(as, filepath.Join(dir, "log"), program, ini); err != nil {
			return "", nil, err
		}
		if err = proc.Await(connects(through.String())); err == nil {
			return through.String(), proc, nil
		}
		err = errors.Join(err, proc.End(syscall.SIGKILL))
	}
	return "", nil, fmt.Errorf("start PgBouncer: %w", err)
}

func bouncerSettings(to *pgx.ConnConfig, dir string, port int) []byte {
	value := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	target := fmt.Sprintf("host=%s port=%d dbname=%s user=%s", value(to.Host), to.Port, value(to.Database), value(to.User))
	if to.Password != "" {
		target += " password=" + value(to.Password)
	}
	return fmt.Appendf(nil, `[databases]
* = %s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
server_tls_sslmode = prefer
pool_mode = transaction
max_client_conn = 400
default_pool_size = 20
pidfile = %s
`, target, port, filepath.Join(dir, "bouncer.pid"))
}
