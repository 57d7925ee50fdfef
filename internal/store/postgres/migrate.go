package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the tables to this program's version. The version's row is the lock: an advisory lock of a
// session would not hold through a pooler. A step and its version are one transaction; a process that dies
// within one leaves nothing of it, and the next takes the row.
func (s *Store) migrate(ctx context.Context) error {
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, migrationTime)
	defer cancel()
	for {
		if err = s.try(ctx, func(t *tx) error { return t.migrate(steps) }); err == nil || !again(err) {
			return public(err)
		}
	}
}

// migrationTime bounds bringing the tables to this version, and waiting while another node does.
const migrationTime = 10 * time.Minute

func (t *tx) migrate(steps []string) error {
	for _, setting := range []string{"SET LOCAL lock_timeout = '5min'", "SET LOCAL statement_timeout = 0"} {
		if err := t.exec(setting); err != nil {
			return err
		}
	}
	if err := t.exec(`CREATE TABLE IF NOT EXISTS relais_schema (
			id integer PRIMARY KEY CHECK (id = 1), version integer NOT NULL, min_compatible integer NOT NULL)`); err != nil {
		return err
	}
	if err := t.exec("INSERT INTO relais_schema VALUES (1, 0, 0) ON CONFLICT DO NOTHING"); err != nil {
		return err
	}
	var version, least int
	if err := t.row("SELECT version, min_compatible FROM relais_schema WHERE id = 1 FOR UPDATE").Scan(&version, &least); err != nil {
		return err
	}
	if least > len(steps) {
		return core.Errorf(core.CodeConflict, "the database's tables are of a newer relais (version %d, at least %d is needed, this program knows %d): use that one",
			version, least, len(steps))
	}
	for i := version; i < len(steps); i++ {
		text, err := migrations.ReadFile(steps[i])
		if err != nil {
			return err
		}
		// More than one statement: only the simple protocol takes them.
		if _, err := t.conn.Exec(t.ctx, string(text), pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("migration %s: %w", steps[i], err)
		}
		if err := t.exec("UPDATE relais_schema SET version = $1, min_compatible = greatest(min_compatible, $2)", i+1, oldestCompatible[i]); err != nil {
			return err
		}
	}
	return nil
}

// oldestCompatible is, for each step, the version of the oldest program that may go on working on the tables
// after it: a step only adds in one release, and removes in a later one. A program refuses tables that need
// a newer one.
var oldestCompatible = []int{1, 1, 1, 1, 1, 1, 1}
