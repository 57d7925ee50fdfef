package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// Import is a database that another store is copied into.
//
// How far each table is stands in relais_copy_table, and moves in the transaction that writes the rows: a
// copy that is killed at any line goes on where it was, and no row comes twice. Until the copy is finished
// no relais works on the database; see refuseHalfCopied.
type Import struct {
	s    *Store
	days map[string]map[int64]bool // the partitions that are known to be there; one goroutine for each table
}

// CopyState is how far a copy is.
type CopyState struct {
	Begun time.Time
	// Resumed tells that the copy was begun before, Finished that it was also finished.
	Resumed, Finished bool
	Places            map[string]store.CopyPlace
	Rows              map[string]int64
}

const (
	// importPatience bounds a transaction of a copy. Nobody waits for it.
	importPatience = 2 * time.Minute
	// Each transaction is synced, as everywhere: whoever copies goes on behind it when the server has crashed.
	importSettings = `SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '100s';
		SET LOCAL idle_in_transaction_session_timeout = '60s'`

	copyTables = `CREATE TABLE IF NOT EXISTS relais_copy (
			id integer PRIMARY KEY CHECK (id = 1), identity text NOT NULL, state text NOT NULL, name text NOT NULL,
			begun bigint NOT NULL, finished bigint);
		CREATE TABLE IF NOT EXISTS relais_copy_table (
			name text PRIMARY KEY, number bigint NOT NULL, word bytea NOT NULL, rows bigint NOT NULL)`
)

// refuseHalfCopied keeps relais from working on a database that another store is being copied into: it would
// receive and deliver beside what is still to come.
func (s *Store) refuseHalfCopied(ctx context.Context) error {
	if s.importing {
		return nil
	}
	var there bool
	if err := s.pool.QueryRow(ctx, "SELECT to_regclass('relais_copy') IS NOT NULL").Scan(&there); err != nil || !there {
		return err
	}
	var name string
	rows, err := s.pool.Query(ctx, "SELECT name FROM relais_copy WHERE finished IS NULL")
	if err != nil {
		return err
	}
	unfinished := false
	if _, err := pgx.ForEachRow(rows, []any{&name}, func() error { unfinished = true; return nil }); err != nil || !unfinished {
		return err
	}
	return core.Errorf(core.CodeConflict, `the database holds an unfinished copy of %s: end it with "relais store copy", or take another database`, name)
}

// OpenImport connects, and makes the tables in a database that is empty.
func OpenImport(ctx context.Context, o Options) (*Import, error) {
	o.Patience, o.Later = importPatience, false
	s, err := connect(o.withDefaults())
	if err != nil {
		return nil, err
	}
	s.importing = true
	if err := s.prepare(ctx, true); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Import{s: s, days: map[string]map[int64]bool{"event": {}, "attempt": {}, "delivery_done": {}}}, nil
}

// Close ends the connections.
func (i *Import) Close() error { return i.s.Close() }

// occupied finds out whether a relais has worked on the database, or works on it: it leaves a node.
const occupied = `SELECT EXISTS (SELECT FROM node) OR `

// Begin says where to go on. The database must be empty, or hold a copy of the same data in the same state.
func (i *Import) Begin(ctx context.Context, from store.CopySource) (CopyState, error) {
	var state CopyState
	err := i.s.transact(ctx, func(t *tx) error {
		state = CopyState{Places: map[string]store.CopyPlace{}, Rows: map[string]int64{}}
		if _, err := t.conn.Exec(t.ctx, copyTables, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		fresh, err := t.affect(`INSERT INTO relais_copy VALUES (1, $1, $2, $3, relais_now($4)) ON CONFLICT DO NOTHING`,
			from.Identity, from.State, clean(from.Name), t.now)
		if err != nil {
			return err
		}
		if state.Resumed = fresh == 0; state.Resumed {
			if err := t.resume(from, &state); err != nil {
				return err
			}
		} else if err := t.startCopy(from, &state); err != nil {
			return err
		}
		return t.readPlaces(&state)
	})
	return state, err
}

func (t *tx) startCopy(from store.CopySource, state *CopyState) error {
	checks := make([]string, 0, len(store.CopyTables)+1)
	for _, table := range store.CopyTables {
		checks = append(checks, "EXISTS (SELECT FROM "+table.Name+")")
		if err := t.exec("INSERT INTO relais_copy_table VALUES ($1, 0, '', 0)", table.Name); err != nil {
			return err
		}
	}
	checks = append(checks, "EXISTS (SELECT FROM event_kept) OR EXISTS (SELECT FROM delivery_done) OR EXISTS (SELECT FROM delivery_kept)")
	var worked bool
	if err := t.row(occupied + strings.Join(checks, " OR ")).Scan(&worked); err != nil {
		return err
	}
	if worked {
		return core.Errorf(core.CodeConflict, "a relais has worked on this database already: %s is copied into an empty one only", from.Name)
	}
	var begun int64
	err := t.row("SELECT begun FROM relais_copy").Scan(&begun)
	state.Begun = moment(begun)
	return err
}

func (t *tx) resume(from store.CopySource, state *CopyState) error {
	var was store.CopySource
	var begun int64
	var finished *int64
	if err := t.row("SELECT identity, state, name, begun, finished FROM relais_copy FOR UPDATE").
		Scan(&was.Identity, &was.State, &was.Name, &begun, &finished); err != nil {
		return err
	}
	state.Begun, state.Finished = moment(begun), finished != nil
	var worked bool
	if err := t.row(occupied + "false").Scan(&worked); err != nil {
		return err
	}
	switch {
	case was.Identity != from.Identity:
		return core.Errorf(core.CodeConflict, "the database holds a copy of other data, of %s: %s is copied into an empty one only", was.Name, from.Name)
	case worked && state.Finished:
		return core.Errorf(core.CodeConflict, "%s was copied into this database on %s, and relais has worked there since: there is nothing to copy",
			from.Name, moment(*finished).Format(time.DateTime+" MST"))
	case worked:
		return core.Errorf(core.CodeConflict, "a relais works on this database since the copy of %s was begun: copy into another, empty one", from.Name)
	case was.State != from.State:
		return core.Errorf(core.CodeConflict, "relais has worked on %s since its copy was begun: copy it again, into another, empty database", from.Name)
	}
	return nil
}

func (t *tx) readPlaces(state *CopyState) error {
	rows, err := t.query("SELECT name, number, word, rows FROM relais_copy_table")
	if err != nil {
		return err
	}
	var name string
	var number, count int64
	var word []byte
	_, err = pgx.ForEachRow(rows, []any{&name, &number, &word, &count}, func() error {
		state.Places[name], state.Rows[name] = store.CopyPlace{Number: number, Word: string(word)}, count
		return nil
	})
	return err
}

// Write stores rows of a table, and that the table is copied up to there. Rows of several tables may be
// written at once, of one table by one goroutine. It may be called again with the same rows.
func (i *Import) Write(ctx context.Context, table store.CopyTable, from, to store.CopyPlace, rows [][]any) error {
	parts := i.partsOf(table, rows)
	for _, p := range parts {
		if err := i.makeDays(ctx, p); err != nil {
			return err
		}
	}
	return i.s.transact(ctx, func(t *tx) error {
		if _, err := t.conn.Exec(t.ctx, importSettings, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		var at store.CopyPlace
		var word []byte
		if err := t.row("SELECT number, word FROM relais_copy_table WHERE name = $1 FOR UPDATE", table.Name).Scan(&at.Number, &word); err != nil {
			return err
		}
		switch at.Word = string(word); at {
		case to:
			return nil // committed by a try whose answer was lost
		case from:
		default:
			return core.Errorf(core.CodeConflict, "another copy into this database is under way")
		}
		for _, p := range parts {
			if _, err := t.conn.CopyFrom(t.ctx, pgx.Identifier{p.table}, p.columns, pgx.CopyFromRows(p.rows)); err != nil {
				return err
			}
		}
		return t.exec("UPDATE relais_copy_table SET number = $2, word = $3, rows = rows + $4 WHERE name = $1",
			table.Name, to.Number, []byte(to.Word), len(rows))
	})
}

// part is rows on their way into one table; day is which column a partitioned one has its days in, or -1.
type part struct {
	table   string
	columns []string
	rows    [][]any
	day     int
}

// partsOf puts deliveries where they belong: those that live, or stop what waits behind them, and those that
// have ended. Texts are made such as PostgreSQL takes them.
func (i *Import) partsOf(table store.CopyTable, rows [][]any) []part {
	for _, row := range rows {
		for n, value := range row {
			if text, ok := value.(string); ok {
				row[n] = clean(text)
			}
		}
	}
	if table.Name != "delivery" {
		return []part{{table.Name, table.Columns, rows, slices.Index(table.Columns, "day")}}
	}
	state, stops := slices.Index(table.Columns, "state"), slices.Index(table.Columns, "stops")
	day := slices.Index(table.Columns, "day")
	live := part{"delivery", slices.Delete(slices.Clone(table.Columns), day, day+1), nil, -1}
	done := part{"delivery_done", table.Columns, nil, day}
	for _, row := range rows {
		if row[state].(int64) <= int64(stateRunning) || row[stops].(bool) {
			live.rows = append(live.rows, slices.Concat(row[:day], row[day+1:]))
		} else {
			done.rows = append(done.rows, row)
		}
	}
	return slices.DeleteFunc([]part{live, done}, func(p part) bool { return len(p.rows) == 0 })
}

// makeDays makes the partitions that rows need. One of a day that is long past stays until retention takes it.
func (i *Import) makeDays(ctx context.Context, p part) error {
	known, ok := i.days[p.table]
	if !ok {
		return nil
	}
	for _, row := range p.rows {
		day := row[p.day].(int64)
		if known[day] {
			continue
		}
		if err := i.s.retry(ctx, func(ctx context.Context) error { return i.s.makePartition(ctx, p.table, day) }); err != nil {
			return err
		}
		known[day] = true
	}
	return nil
}

// Counts are how many rows of each table the database has.
func (i *Import) Counts(ctx context.Context) (map[string]int64, error) {
	counts := map[string]int64{}
	err := i.s.readWithin(ctx, time.Hour, func(t *tx) error {
		for _, table := range store.CopyTables {
			sql := "SELECT (SELECT count(*) FROM " + table.Name + ")"
			switch table.Name {
			case "event":
				sql += " + (SELECT count(*) FROM event_kept)"
			case "delivery":
				sql += " + (SELECT count(*) FROM delivery_done) + (SELECT count(*) FROM delivery_kept)"
			}
			var n int64
			if err := t.row(sql).Scan(&n); err != nil {
				return err
			}
			counts[table.Name] = n
		}
		return nil
	})
	return counts, err
}

// Finish sets the sequences behind all numbers that were ever given, has the server look at its tables, and
// opens the database to relais.
func (i *Import) Finish(ctx context.Context, n store.CopyNumbers) error {
	tables := []string{"event", "delivery_done"}
	for _, table := range store.CopyTables[1:] {
		tables = append(tables, table.Name)
	}
	if err := i.s.readWithin(ctx, time.Hour, func(t *tx) error {
		for _, table := range slices.Compact(slices.Sorted(slices.Values(tables))) {
			if err := t.exec("ANALYZE " + table); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return i.s.transact(ctx, func(t *tx) error {
		var worked bool
		if err := t.row(occupied + "false").Scan(&worked); err != nil {
			return err
		}
		if worked {
			return core.Errorf(core.CodeConflict, "a relais has begun to work on this database while it was copied into: copy into another, empty one")
		}
		for sequence, highest := range map[string]int64{
			"'event_seq'": n.Event, "'replay_seq'": n.Replay, "'delivery_id'": n.Delivery, "'activation_seq'": 1,
			"pg_get_serial_sequence('rejection', 'id')": n.Rejection, "pg_get_serial_sequence('lane', 'id')": n.Lane,
			"pg_get_serial_sequence('route_set', 'id')": n.RouteSet, "pg_get_serial_sequence('audit', 'id')": n.Audit,
		} {
			if highest == 0 {
				continue
			}
			if err := t.exec(fmt.Sprintf("SELECT setval(%s, %d)", sequence, highest)); err != nil {
				return err
			}
		}
		return t.exec("UPDATE relais_copy SET finished = relais_now($1)", t.now)
	})
}
