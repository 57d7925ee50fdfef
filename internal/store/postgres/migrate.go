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
//
// While a step waits for a table that somebody reads (a dump, a long query), all who come after it wait too. So it
// waits for less than they are willing to, and is tried again.
func (s *Store) migrate(ctx context.Context) error {
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, migrationTime)
	defer cancel()
	for told := false; ; {
		more := false
		err := s.try(ctx, func(t *tx) (err error) {
			more, err = t.migrate(steps)
			return err
		})
		switch {
		case err == nil && !more:
			return nil
		case err == nil, again(err):
		case stateOf(err) == lockTimeout:
			if !told {
				s.log.Warn("the tables can't be brought to this version while others hold them (pg_stat_activity tells who); it is tried again", "error", err)
				told = true
			}
			select {
			case <-ctx.Done():
				return public(err)
			case <-time.After(migrationPause):
			}
		default:
			return public(err)
		}
	}
}

const (
	// migrationTime bounds bringing the tables to this version, and waiting for others who hold them.
	migrationTime = 10 * time.Minute
	// migrationPause lets those through who waited behind a step that waited.
	migrationPause = 2 * time.Second
)

// migrate takes the next step, and tells whether there are more.
func (t *tx) migrate(steps []string) (more bool, err error) {
	for _, setting := range []string{"SET LOCAL lock_timeout = '500ms'", "SET LOCAL statement_timeout = 0"} {
		if err := t.exec(setting); err != nil {
			return false, err
		}
	}
	if err := t.exec(`CREATE TABLE IF NOT EXISTS relais_schema (
			id integer PRIMARY KEY CHECK (id = 1), version integer NOT NULL, min_compatible integer NOT NULL)`); err != nil {
		return false, err
	}
	if err := t.exec("INSERT INTO relais_schema VALUES (1, 0, 0) ON CONFLICT DO NOTHING"); err != nil {
		return false, err
	}
	var version, least int
	if err := t.row("SELECT version, min_compatible FROM relais_schema WHERE id = 1 FOR UPDATE").Scan(&version, &least); err != nil {
		return false, err
	}
	if least > len(steps) {
		return false, core.Errorf(core.CodeConflict, "the database's tables are of a newer relais (version %d, at least %d is needed, this program knows %d): use that one",
			version, least, len(steps))
	}
	if version >= len(steps) {
		return false, nil
	}
	step := steps[version]
	text, err := migrations.ReadFile(step)
	if err != nil {
		return false, err
	}
	// More than one statement: only the simple protocol takes them.
	if _, err := t.conn.Exec(t.ctx, string(text), pgx.QueryExecModeSimpleProtocol); err != nil {
		return false, fmt.Errorf("migration %s: %w", step, err)
	}
	return version+1 < len(steps), t.exec("UPDATE relais_schema SET version = $1, min_compatible = greatest(min_compatible, $2)",
		version+1, oldestCompatible[version])
}

// oldestCompatible is, for each step, the version of the oldest program that may go on working on the tables
// after it: a step only adds in one release, and removes in a later one. A program refuses tables that need
// a newer one.
var oldestCompatible = []int{1, 1, 1, 1, 1, 1, 1}
