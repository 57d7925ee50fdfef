package spool

import (
	"context"
	"crypto/rand"
	"database/sql"
	_ "embed" // the schema
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	_ "modernc.org/sqlite" // the driver
	sqlite3 "modernc.org/sqlite/lib"

	"relais/internal/core"
)

const (
	databaseName = "spool.db"
	// applicationID stands in the database's header, so that nothing else is taken for a spool: "rlsp".
	applicationID = 0x726c7370
	schemaVersion = 2
)

//go:embed schema.sql
var schema string

// idName is the file with the folder's name. A node has another name in each life, and the folder is the same.
const idName = "id"

// idOf returns the folder's name; "" where it has none.
func idOf(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, idName)) //nolint:gosec // the operator's folder
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return strings.TrimSpace(string(text)), err
}

// name gives the folder a name, where it has none. The caller holds the lock.
func name(dir string) (string, error) {
	id, err := idOf(dir)
	if err != nil || id != "" {
		return id, err
	}
	id = rand.Text()
	made := filepath.Join(dir, idName+".new")
	if err := os.WriteFile(made, []byte(id+"\n"), 0o600); err != nil {
		return "", err
	}
	return id, os.Rename(made, filepath.Join(dir, idName))
}

// openDisk opens the folder's spool and locks it.
func openDisk(dir string, maxBytes int64) (*disk, error) {
	path, err := filepath.Abs(filepath.Join(dir, databaseName))
	if err != nil {
		return nil, err
	}
	d := &disk{path: path, max: maxBytes}
	d.figures.Store(&figures{})
	return d, d.open()
}

// makeFolder makes the folder and its database at need. SQLite gives the other files the database's mode.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return core.Errorf(core.CodeUnavailable, "the spool's folder can't be made: %w", err)
	}
	// A file that exists isn't opened here: closing it would drop the lock that another spool of this
	// process holds.
	f, err := os.OpenFile(filepath.Join(dir, databaseName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator's folder
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return core.Errorf(core.CodeUnavailable, "the spool can't be made: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	return errors.Join(syncFolder(dir), syncFolder(filepath.Dir(dir)))
}

// syncFolder makes a new name in a folder outlive a power cut. Windows does so by itself.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir) //nolint:gosec // the operator's folder
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}

// open opens the database, which must exist, and reads what it holds.
func (d *disk) open() error {
	slashed := filepath.ToSlash(d.path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // a drive's letter
	}
	name := url.URL{Scheme: "file", Path: slashed, RawQuery: "mode=rw"}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return err
	}
	conn, err := db.Conn(context.Background())
	if err == nil {
		d.db, d.conn = db, conn
		err = d.prepare(conn)
	}
	if err == nil {
		return nil
	}
	d.shut()
	_ = db.Close()
	return d.explain(err)
}

// prepare takes the lock, makes sure that it is a spool, and makes it one where the file is new.
func (d *disk) prepare(c *sql.Conn) error {
	ctx := context.Background()
	// The lock on the file is the process's until it ends or closes: a crash leaves none behind.
	if _, err := c.ExecContext(ctx, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	fresh, err := d.identify(c)
	if err != nil {
		return err
	}
	if _, err := c.ExecContext(ctx, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;"+
		"PRAGMA checkpoint_fullfsync = ON; PRAGMA journal_size_limit = 67108864; BEGIN EXCLUSIVE; COMMIT"); err != nil {
		return err
	}
	// A relais of before knows nothing of what is added here, and refuses the folder from then on.
	if !fresh {
		if err := upgrade(c); err != nil {
			return err
		}
	}
	if fresh {
		script := fmt.Sprintf("BEGIN;\n%s\nPRAGMA application_id = %d; PRAGMA user_version = %d;\nCOMMIT", schema, applicationID, schemaVersion)
		if _, err := c.ExecContext(ctx, script); err != nil {
			return err
		}
	}
	// After a failed sync the kernel may hold pages of the WAL that the disk doesn't: they are copied to the
	// database, and synced there, before anything is built upon them.
	if err := emptyWAL(c); err != nil {
		return err
	}
	f := figures{known: true}
	err = tx(c, func(t *sql.Tx) error {
		var err error
		if f.oldest, err = oldest(t); err != nil {
			return err
		}
		return errors.Join(tally(t, "waiting", &f.waiting, &f.bytes), tally(t, "aside", &f.aside, &f.asideBytes))
	})
	if err == nil {
		d.figures.Store(&f)
	}
	return err
}

// identify tells whether the database is new, or refuses it. It writes nothing: the file may be somebody
// else's.
func (d *disk) identify(c *sql.Conn) (fresh bool, err error) {
	var id, version, tables int
	for query, into := range map[string]*int{
		"PRAGMA application_id": &id, "PRAGMA user_version": &version, "SELECT count(*) FROM sqlite_schema": &tables,
	} {
		if err := c.QueryRowContext(context.Background(), query).Scan(into); err != nil {
			return false, err
		}
	}
	switch {
	case id == 0 && version == 0 && tables == 0:
		return true, nil
	case id != applicationID:
		return false, core.Errorf(core.CodeConflict, "%s is a database, but not a spool of relais", d.path)
	case version > schemaVersion:
		return false, core.Errorf(core.CodeConflict, "the spool %s was written by a later version of relais (schema %d, this one knows %d)", d.path, version, schemaVersion)
	}
	return false, nil
}

// upgrade brings the tables of an older relais to this version.
func upgrade(c *sql.Conn) error {
	var version int
	if err := c.QueryRowContext(context.Background(), "PRAGMA user_version").Scan(&version); err != nil || version >= schemaVersion {
		return err
	}
	_, err := c.ExecContext(context.Background(), fmt.Sprintf(`BEGIN;
		ALTER TABLE waiting ADD COLUMN flags INTEGER NOT NULL DEFAULT 0;
		ALTER TABLE aside ADD COLUMN flags INTEGER NOT NULL DEFAULT 0;
		PRAGMA user_version = %d; COMMIT`, schemaVersion))
	return err
}

func emptyWAL(c *sql.Conn) error {
	var busy, frames, copied int
	err := c.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &copied)
	if err == nil && busy != 0 {
		err = errors.New("the spool's log could not be copied")
	}
	return err
}

// explain puts in words why the spool can't be opened.
func (d *disk) explain(err error) error {
	switch codeOf(err) & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return core.Errorf(core.CodeConflict, "the spool %s is in use by another process: %w", d.path, err)
	case sqlite3.SQLITE_NOTADB:
		return core.Errorf(core.CodeConflict, "%s is not a spool of relais, or its beginning is damaged; move it away to start with an empty one: %w", d.path, err)
	case sqlite3.SQLITE_CORRUPT:
		return core.Errorf(core.CodeConflict, "the spool %s is damaged; keep a copy, and move it away to start with an empty one: %w", d.path, err)
	case sqlite3.SQLITE_OK:
		return err
	}
	return core.Errorf(core.CodeUnavailable, "the spool %s can't be opened: %w", d.path, err)
}
