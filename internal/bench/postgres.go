package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// database is a PostgreSQL server that rows make their databases on: one of the run's own, or one that
// was given.
type database struct {
	admin url.URL // its maintenance database
	run   string  // begins the names of this run's databases
	made  int
	own   *child // nil for one that was given: then nothing is known of the processor time it takes
}

var errNoPostgres = errors.New("no PostgreSQL server on this machine (initdb, postgres): " +
	"install the package postgresql, or give --postgres URL of a server where databases may be created")

// postgres returns the server, starting it when a row asks for the first time.
func (r *run) postgres(ctx context.Context) (*database, error) {
	if r.database != nil {
		return r.database, nil
	}
	d := &database{run: "relais_bench_" + strings.ToLower(rand.Text()[:8])}
	if r.opts.Postgres != "" {
		given, err := url.Parse(r.opts.Postgres)
		if err != nil {
			return nil, errors.New("--postgres: postgres://user:password@host:5432/database is expected")
		}
		d.admin = *given
	} else if err := r.startPostgres(ctx, d); err != nil {
		return nil, err
	}
	r.database = d
	return d, nil
}

// startPostgres makes a server in the run's folder with the settings that PostgreSQL has by default, and
// with those on which durability rests said once more. It listens on this machine, with a password.
func (r *run) startPostgres(ctx context.Context, d *database) error {
	bin, err := postgresBinaries(ctx)
	if err != nil {
		return err
	}
	r.progress("  starting a PostgreSQL")
	dir := filepath.Join(r.dir, "postgres")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder for PostgreSQL: %w", err)
	}
	password, file := rand.Text(), filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		return fmt.Errorf("make a folder for PostgreSQL: %w", err)
	}
	as, err := giveToServer(r.dir, dir, file)
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata", data, "--username", "relais", //nolint:gosec // the machine's own
		"--auth", "scram-sha-256", "--pwfile", file, "--encoding", "UTF8", "--locale", "C", "--no-sync")
	initdb.Dir, initdb.Env = dir, plainEnvironment()
	as(initdb)
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	address, _, err := freeAddresses(ctx)
	if err != nil {
		return err
	}
	d.admin = url.URL{
		Scheme: "postgres", User: url.UserPassword("relais", password), Host: address,
		Path: "/postgres", RawQuery: "sslmode=disable",
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "-D", data, "-k", "", "-h", "127.0.0.1", //nolint:gosec // as above
		"-p", d.admin.Port(), "-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "full_page_writes=on")
	cmd.Dir, cmd.Env = dir, plainEnvironment()
	as(cmd)
	// What it is killed by must let its processes end: they share memory.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	if d.own, err = r.begin(cmd, "postgres"); err != nil {
		return err
	}
	if err := d.own.awaitReady(ctx, func() bool { return d.exec(ctx, d.admin.String(), "SELECT 1") == nil }); err != nil {
		d.stop()
		return err
	}
	return nil
}

// postgresBinaries is the folder of initdb and postgres.
func postgresBinaries(ctx context.Context) (string, error) {
	var places []string
	if found, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(found); err == nil {
			places = append(places, filepath.Dir(real))
		}
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		places = append(places, strings.TrimSpace(string(out)))
	}
	debian, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	version := func(bin string) float64 {
		n, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(bin)), 64) // another name is the oldest
		return n
	}
	slices.SortFunc(debian, func(a, b string) int { return int(version(b) - version(a)) })
	for _, dir := range append(places, debian...) {
		_, initdb := os.Stat(filepath.Join(dir, "initdb"))
		_, server := os.Stat(filepath.Join(dir, "postgres"))
		if initdb == nil && server == nil {
			return dir, nil
		}
	}
	return "", errNoPostgres
}

// create makes an empty database and returns its URL.
func (d *database) create(ctx context.Context) (string, error) {
	d.made++
	u := d.admin
	u.Path = "/" + d.run + "_" + strconv.Itoa(d.made)
	return u.String(), d.exec(ctx, d.admin.String(), "CREATE DATABASE "+u.Path[1:]+" TEMPLATE template0")
}

// drop removes a database, whoever is still connected to it.
func (d *database) drop(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("drop a database: %w", err)
	}
	return d.exec(ctx, d.admin.String(), "DROP DATABASE IF EXISTS "+u.Path[1:]+" WITH (FORCE)")
}

// exec does one statement on a connection of its own.
func (d *database) exec(ctx context.Context, address, sql string, args ...any) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // it has done what it was for
	if _, err := conn.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	return nil
}

// processorTime is what all processes of the server have used; 0 where they aren't the run's own.
func (d *database) processorTime() (time.Duration, error) {
	if d == nil || d.own == nil {
		return 0, nil
	}
	return familyTime(d.own.pid())
}

// counts tells whether the server's processor time is known.
func (d *database) counts() bool { return d.own != nil }

// stop ends a server of the run's own; what is in it is thrown away, so that nothing need be flushed.
func (d *database) stop() {
	if d == nil || d.own == nil {
		return
	}
	_ = d.own.cmd.Process.Signal(syscall.SIGQUIT) // it may have ended by itself
	select {
	case <-d.own.ended:
	case <-time.After(30 * time.Second):
		d.own.kill()
	}
}

// The stores that rows compare, by the name that the report gives them.
const (
	onSQLite   = "SQLite"
	onPostgres = "PostgreSQL"
)

// place is where a store is: a data folder, and the database of a PostgreSQL.
type place struct {
	dir string
	url string // "" is SQLite in the folder
	on  *database
}

// place makes an empty one. Its folder's name tells its processes apart in the logs.
func (r *run) place(ctx context.Context, store, name string) (place, error) {
	p := place{dir: filepath.Join(r.dir, strings.ToLower(store)+"-"+name)}
	if store == onSQLite {
		return p, nil
	}
	var err error
	if p.on, err = r.postgres(ctx); err != nil {
		return p, err
	}
	p.url, err = p.on.create(ctx)
	return p, err
}

// remove gives the disk back. It is told in the progress when that fails: nothing measured depends on it.
func (r *run) remove(p place) {
	err := os.RemoveAll(p.dir)
	if p.on != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, p.on.drop(ctx, p.url))
	}
	if err != nil {
		r.progress("  not removed: %s", err)
	}
}

// serveOn starts relais on a place.
func (r *run) serveOn(ctx context.Context, p place, s settings) (*child, error) {
	return r.node(ctx, p, "", s)
}

// node starts one of several relais on a place, with a data folder of its own.
func (r *run) node(ctx context.Context, p place, name string, s settings) (*child, error) {
	s.store = p.url
	c, _, err := r.serve(ctx, p.dir+name, s)
	if err == nil {
		c.database = p.on
	}
	return c, err
}

// ask reads one value from a place's database.
func (p place) ask(ctx context.Context, value any, sql string, args ...any) error {
	conn, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer conn.Close(ctx) //nolint:errcheck // it has done what it was for
	if err := conn.QueryRow(ctx, sql, args...).Scan(value); err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	return nil
}
