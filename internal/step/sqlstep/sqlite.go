package sqlstep

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	sqlite3 "modernc.org/sqlite"

	"relais/internal/core"
	"relais/internal/step"
)

func sqliteKind(data string) step.ConnectionKind {
	return step.ConnectionKind{
		Name: "sqlite",
		Doc:  "A SQLite file of this machine, which must exist. It can't be one in relais' own data folder.",
		Params: []step.Param{
			{Name: "path", Type: step.TypeString, Required: true, Doc: "The file."},
			effects(sqliteDDL),
		},
		Open: func(settings map[string]any) (any, error) {
			path, _ := settings["path"].(string)
			if path == "" || path == ":memory:" || strings.HasPrefix(path, "file:") || strings.ContainsRune(path, 0) {
				return nil, errors.New("path must be a file's path")
			}
			path, err := filepath.Abs(path)
			if err != nil {
				return nil, errors.New("path must be a file's path")
			}
			if err := outside(data, path); err != nil {
				return nil, err
			}
			exact, _ := settings["effects"].(bool)
			writer, reader := connector(path, data, "_txlock=immediate"), connector(path, data, "_query_only=1")
			return &Connection{effects: exact, database: &sqlite{newPooled(writer, inSQLite), newPooled(reader, inSQLite)}}, nil
		},
	}
}

// sqliteBusy bounds how long SQLite waits for another's transaction. Nothing interrupts it there, so it is also
// bounded by what is left to the step.
const sqliteBusy = 5 * time.Second

func connector(path, data, mode string) driver.Connector {
	escaped := (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	if !strings.HasPrefix(escaped, "/") {
		escaped = "/" + escaped // a drive's letter
	}
	return fileConnector{path: path, data: data, dsn: "file://" + escaped + "?mode=rw&_pragma=foreign_keys(1)&_pragma=trusted_schema(0)&" + mode}
}

// fileConnector looks where the path leads right before the file is opened: a link may have been changed.
type fileConnector struct{ path, data, dsn string }

func (c fileConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := outside(c.data, c.path); err != nil {
		return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: "SQLite: " + err.Error(), Cause: err}
	}
	connector, err := sqlite3.NewConnector(c.dsn)
	if err != nil {
		return nil, err
	}
	return connector.Connect(ctx)
}

func (c fileConnector) Driver() driver.Driver { return &sqlite3.Driver{} }

// outside refuses a path that leads into the data folder, by its words or by links. Folders are compared as
// the system knows them: names differ in case, and by mounts.
func outside(data, path string) error {
	refused := errors.New("path leads into relais' own data folder: no step may act there")
	if data == "" {
		return nil
	}
	data, err := filepath.Abs(data)
	if err != nil {
		return fmt.Errorf("the data folder can't be told: %w", err)
	}
	own, ownErr := os.Stat(data)
	for _, p := range []string{filepath.Clean(path), resolved(path)} {
		if p == data || strings.HasPrefix(p, data+string(filepath.Separator)) {
			return refused
		}
		for dir := p; ownErr == nil; dir = filepath.Dir(dir) {
			if info, err := os.Stat(dir); err == nil && os.SameFile(info, own) {
				return refused
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return linked(data, path, refused)
}

// resolved is where a path leads, as far as it exists.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if real, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(real, filepath.Base(path))
	}
	return path
}

// linked refuses a second name of a file of the data folder.
func linked(data, path string, refused error) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil //nolint:nilerr // what isn't there is no file of ours
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		return nil //nolint:nilerr // nor is there anything in a folder that isn't there
	}
	for _, entry := range entries {
		if own, err := os.Stat(filepath.Join(data, entry.Name())); err == nil && os.SameFile(info, own) {
			return refused
		}
	}
	return nil
}

type sqlite struct {
	*pooled
	readers *pooled
}

func (s *sqlite) Retire() {
	s.pooled.Retire()
	s.readers.Retire()
}

func (s *sqlite) name() string { return "SQLite" }

const sqliteDDL = "CREATE TABLE relais_effects (key TEXT PRIMARY KEY, delivery TEXT NOT NULL, at TEXT NOT NULL, result TEXT)"

func (s *sqlite) ddl() string { return sqliteDDL }

// check does what servers do: the driver would run several statements.
func (s *sqlite) check(statement string) error {
	read := scan(inSQLite, statement)
	if read.several {
		return errors.New("it must be one statement")
	}
	if slices.Contains(control, read.first()) {
		return fmt.Errorf("%s can't be used: the step is a transaction of its own", read.first())
	}
	return nil
}

func (s *sqlite) begin(ctx context.Context, readOnly bool) (transaction, error) {
	pool, begin := s.pooled, "BEGIN IMMEDIATE"
	if readOnly {
		pool, begin = s.readers, "BEGIN"
	}
	wait := sqliteBusy
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(min(wait, time.Until(deadline)), 0)
	}
	begin = fmt.Sprintf("PRAGMA busy_timeout = %d; %s", wait.Milliseconds(), begin)
	t, err := pool.start(ctx, begin, &pooledTx{
		value:  sqliteValue,
		refuse: func(args []any) error { return plainText(args, true, "SQLite") },
		marks: markStatements{
			insert: "INSERT INTO " + effectsTable + " (key, delivery, at) VALUES (?, ?, strftime('%Y-%m-%dT%H:%M:%fZ')) ON CONFLICT (key) DO NOTHING",
			read:   "SELECT result, delivery FROM " + effectsTable + " WHERE key = ?",
			keep:   "UPDATE " + effectsTable + " SET result = ? WHERE key = ?",
		},
		repeats: func(error) bool { return false },
	})
	if err != nil {
		return nil, err // not a nil *pooledTx, which would be a transaction
	}
	return t, nil
}

// judge reads SQLite's result codes: https://www.sqlite.org/rescode.html
func (s *sqlite) judge(err error) *verdict {
	var refused *sqlite3.Error
	if !errors.As(err, &refused) {
		return nil
	}
	v := &verdict{disposition: step.Final, reason: core.ReasonStatement, said: refused.Error()}
	switch refused.Code() & 0xff {
	case 5, 6: // busy, locked
		v.disposition, v.reason = step.Retry, core.ReasonBusy
	case 9: // interrupted
		v.disposition, v.reason = step.Retry, core.ReasonTimeout
	case 7, 10, 13, 14, 15: // memory, input and output, full, can't be opened, protocol
		v.disposition, v.reason, v.undecided = step.Retry, core.ReasonMaintenance, true
	case 3, 23: // permission
		v.reason = core.ReasonAuth
	case 1:
		v.noTable = strings.Contains(v.said, "no such table: "+effectsTable)
	}
	return v
}

func sqliteValue(value any, column *sql.ColumnType) any {
	kind := strings.ToUpper(column.DatabaseTypeName())
	switch v := value.(type) {
	case int64:
		if kind == "BOOLEAN" && (v == 0 || v == 1) {
			return v == 1
		}
	case float64:
		return floatOf(v, 64)
	case time.Time:
		if kind == "DATE" {
			return v.Format(time.DateOnly)
		}
		return timeOf(v)
	case string:
		if kind == "JSON" {
			return jsonOf([]byte(v))
		}
		return textOf([]byte(v))
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	}
	return value
}
