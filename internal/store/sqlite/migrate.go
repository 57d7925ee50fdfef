package sqlite

import (
	"embed"
	"fmt"
	"io/fs"

	"relais/internal/core"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date: each file is one step, applied in one transaction with the
// number of the step (SQLite's user_version). A database of a later relais is refused.
func migrate(c *conn) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	version, err := pragmaInt(c, "PRAGMA user_version")
	if err != nil {
		return err
	}
	if int(version) > len(files) {
		return core.Errorf(core.CodeConflict, "the database was written by a later version of relais (schema %d, this one knows %d)", version, len(files))
	}
	for i, file := range files[version:] {
		text, err := migrations.ReadFile(file)
		if err != nil {
			return err
		}
		step := fmt.Sprintf("BEGIN IMMEDIATE;\n%s\nPRAGMA user_version = %d;\nCOMMIT;", text, int(version)+i+1)
		if err := c.exec(step); err != nil {
			if c.inTransaction() {
				_ = c.exec("ROLLBACK")
			}
			return fmt.Errorf("migration %s: %w", file, err)
		}
	}
	return nil
}

// pragmaInt runs a statement that gives one number. It isn't kept.
func pragmaInt(c *conn, sql string) (int64, error) {
	s := &stmt{c: c, sql: sql}
	if err := s.prepare(); err != nil {
		return 0, err
	}
	defer s.finalize()
	var v int64
	if s.next() {
		v = s.colInt(0)
	}
	return v, s.err
}
