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
// waits for less than they are willing to, and is tried again: here, if wait is set, or by who called.
func (s *Store) migrate(ctx context.Context, wait bool) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, migrationTime)
	defer cancel()
	for told := false; ; {
		more := false
		err := s.try(ctx, func(t *tx) (err error) {
			more, err = t.migrate(files)
			return err
		})
		switch {
		case err == nil && !more:
			return nil
		case err == nil, again(err):
		case stateOf(err) == lockTimeout && wait:
			if !told {
				s.log.Warn("the tables can't be brought to this version yet: others hold them, or another node is at it (pg_stat_activity tells who); it is tried again", "error", err)
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
func (t *tx) migrate(files []string) (more bool, err error) {
	for _, setting := range []string{"SET LOCAL lock_timeout = '3s'", "SET LOCAL statement_timeout = 0"} {
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
	if least > len(files) {
		return false, core.Errorf(core.CodeConflict, "the database's tables are of a newer relais (version %d, at least %d is needed, this program knows %d): use that one",
			version, least, len(files))
	}
	if version >= len(files) {
		return false, nil
	}
	file, step := files[version], schemaSteps[version]
	text, err := migrations.ReadFile(file)
	if err != nil {
		return false, err
	}
	if step.alters != "" {
		// In the way of nobody but autovacuum, which gives way to who waits for a second: longer than the step will.
		if err := t.exec("LOCK TABLE " + step.alters + " IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
			return false, err
		}
	}
	if err := t.exec("SET LOCAL lock_timeout = '500ms'"); err != nil {
		return false, err
	}
	// More than one statement: only the simple protocol takes them.
	if _, err := t.conn.Exec(t.ctx, string(text), pgx.QueryExecModeSimpleProtocol); err != nil {
		return false, fmt.Errorf("migration %s: %w", file, err)
	}
	return version+1 < len(files), t.exec("UPDATE relais_schema SET version = $1, min_compatible = greatest(min_compatible, $2)",
		version+1, step.oldest)
}

// schemaStep is what there is to know of a migration besides its text.
type schemaStep struct {
	// oldest is the version of the oldest program that may go on working on the tables after it: a step only adds in one
	// release, and removes in a later one. A program refuses tables that need a newer one.
	oldest int
	alters string // the tables that were there before it, and that it alters
}

var schemaSteps = []schemaStep{
	{oldest: 1},
	{oldest: 1},
	{oldest: 1, alters: "rejection"},
	{oldest: 1, alters: "delivery_done, delivery_kept"},
	{oldest: 1, alters: "delivery_done, delivery_kept"},
	{oldest: 1, alters: "dedup"},
	{oldest: 1},
}
