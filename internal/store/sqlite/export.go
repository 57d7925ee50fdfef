package sqlite

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"relais/internal/core"
	"relais/internal/store"
)

// Export reads all of a stopped store, so that it can be copied into another. It holds the folder's lock, as a
// running relais does, and writes nothing: what it reads doesn't change until it is closed.
type Export struct {
	dir, path string
	lock      *os.File
	windows   []int64 // of dedup keys, in milliseconds
}

// ExportOptions say which data are read. Windows are the windows that dedup keys may have: it isn't kept with
// a key, and is found by them.
type ExportOptions struct {
	Dir     string
	Windows []time.Duration
}

// OpenExport locks the folder. Its tables must be as this program makes them: nothing is migrated here.
func OpenExport(ctx context.Context, o ExportOptions) (*Export, error) {
	path := filepath.Join(o.Dir, databaseName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, core.Errorf(core.CodeNotFound, "there is no store in %s: give the data folder that serve uses with --data", o.Dir)
	} else if err != nil {
		return nil, core.Errorf(core.CodeUnavailable, "the store in %s can't be read: %w", o.Dir, err)
	}
	lock, err := lockFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	x := &Export{dir: o.Dir, path: path, lock: lock}
	for _, w := range o.Windows {
		x.windows = append(x.windows, newDedupKey([16]byte{}, w, 0).window)
	}
	if err := x.with(ctx, checkVersion); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return x, nil
}

func checkVersion(c *conn) error {
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	version, err := pragmaInt(c, "PRAGMA user_version")
	if err != nil {
		return err
	}
	switch {
	case int(version) > len(steps):
		return core.Errorf(core.CodeInvalid, "the store was written by a later version of relais (schema %d, this one knows %d)", version, len(steps))
	case int(version) < len(steps):
		return core.Errorf(core.CodeInvalid, `the store is of an earlier version of relais (schema %d, this one has %d): "relais status" brings it up to date`, version, len(steps))
	}
	return nil
}

// Close lets go of the folder.
func (x *Export) Close() error { return x.lock.Close() }

// connect opens one of several connections. The first of them reads the WAL that a killed relais left, and the
// others wait for it.
func (x *Export) connect() (*conn, error) {
	return connect(x.path, readOnly, "PRAGMA busy_timeout = 60000", "PRAGMA query_only = 1", "PRAGMA cache_size = -16384", "PRAGMA temp_store = MEMORY")
}

// with runs a read on a connection of its own.
func (x *Export) with(ctx context.Context, run func(*conn) error) error {
	c, err := x.connect()
	if err != nil {
		return public(err)
	}
	defer c.close()
	defer context.AfterFunc(ctx, c.interrupt)()
	if err := run(c); err != nil {
		return said(ctx, err)
	}
	return nil
}

// said is an error for whoever asked: a read that was interrupted failed because they went.
func said(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return public(err)
}

// Source says whose data these are. Lives are never deleted, so the first one names the store; and whatever
// a relais does, or is asked to do by a person, leaves a trace in one of the figures of the state.
func (x *Export) Source(ctx context.Context) (store.CopySource, error) {
	s := store.CopySource{Name: x.dir}
	if path, err := filepath.Abs(x.dir); err == nil {
		s.Name = path
	}
	err := x.with(ctx, func(c *conn) (err error) {
		if s.Identity, err = digest(c, "SELECT node, since FROM life ORDER BY id LIMIT 1"); err != nil {
			return err
		}
		s.State, err = digest(c,
			"SELECT pending, running, dead, replay, rejection_bytes, route_set FROM tally",
			"SELECT count(*), max(seq) FROM event", "SELECT count(*), max(beat) FROM life",
			"SELECT count(*), total(state), total(wait), total(claim), total(attempts), total(interruptions), max(due), max(finished) FROM delivery",
			"SELECT count(*), max(id) FROM rejection", "SELECT count(*), max(id) FROM audit",
			"SELECT count(*), max(opened), max(sent), max(done), max(absent) FROM effect",
			"SELECT count(*), max(at) FROM pause", "SELECT count(*), group_concat(cursor) FROM fan_out",
			"SELECT count(*), total(length(result)) FROM step")
		return err
	})
	return s, err
}

// digest is one number for what the queries give.
func digest(c *conn, queries ...string) (string, error) {
	sum := sha256.New()
	for _, sql := range queries {
		q := c.q(sql)
		for q.next() {
			for _, i := range q.columns() {
				sum.Write(fmt.Appendf(nil, "%q,", q.colText(i)))
			}
		}
		if err := q.end(); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// Numbers are the highest that were given.
func (x *Export) Numbers(ctx context.Context) (store.CopyNumbers, error) {
	var n store.CopyNumbers
	err := x.with(ctx, func(c *conn) error {
		var m memory
		if err := m.loadCounts(c); err != nil {
			return err
		}
		n = store.CopyNumbers{Event: m.event, Delivery: m.delivery, Replay: m.replay, Rejection: m.rejection, Lane: m.counts.lane, RouteSet: m.set}
		var err error
		n.Audit, err = pragmaInt(c, "SELECT ifnull(max(id), 0) FROM audit")
		return err
	})
	return n, err
}

// Counts are how many rows of each table there are to be copied, of dedup keys those that haven't lapsed at
// that time.
func (x *Export) Counts(ctx context.Context, now time.Time) (map[string]int64, error) {
	counts := map[string]int64{}
	err := x.with(ctx, func(c *conn) error {
		for _, table := range store.CopyTables {
			if table.Name == dedupTable {
				continue
			}
			n, err := pragmaInt(c, "SELECT count(*) FROM "+table.Name)
			if err != nil {
				return err
			}
			counts[table.Name] = n
		}
		k := &keyExport{c: c, now: now.UnixMilli(), windows: x.windows}
		if err := k.open(0); err != nil {
			return err
		}
		for k.part < parts {
			rows, err := k.next()
			if err != nil {
				return err
			}
			counts[dedupTable] += int64(len(rows))
		}
		return nil
	})
	return counts, err
}

// exported is how a table is read: the two parts of a row's place, and its columns, each of a kind.
type exported struct{ kinds, sql string }

// The kinds of columns: i and I are numbers, r real ones, ? yes or no, t and n texts, b and B bytes. I, n and
// b may be nil.
var exportedTables = map[string]exported{
	"route_set": {"itbbnII", `SELECT id, '', id, hash, text, routes, node, at, CASE WHEN id = (SELECT route_set FROM tally) THEN 1 END
		FROM route_set WHERE id > ?1 ORDER BY id`},
	"lane": {"itttiriiii", `SELECT l.id, '', l.id, ifnull(t.text, ''), l.kind, l.name,
		(SELECT count(*) FROM delivery d WHERE d.state = 1 AND d.lane = l.id), l.tokens, l.tokens_at, l.failures, l.rest_until, l.since
		FROM lane l LEFT JOIN name t ON t.id = l.tenant WHERE l.id > ?1 ORDER BY l.id`},
	"pause": {"tttti", `SELECT 0, scope || ':' || name, scope, name, reason, by, at FROM pause
		WHERE scope || ':' || name > ?2 ORDER BY scope || ':' || name`},
	"event": {"iibtttbitibbbbb", `SELECT e.seq, '', ` + eventDay + `, e.seq, e.id, ifnull(t.text, ''), ifnull(s.text, ''), e.type, e.native, e.at,
		ifnull(f.text, ''), e.flags, e.repeat_of, p.header, p.query, p.path, p.body
		FROM event e LEFT JOIN payload p ON p.seq = e.seq LEFT JOIN name t ON t.id = e.tenant LEFT JOIN name s ON s.id = e.source
		LEFT JOIN name f ON f.id = e.format WHERE e.seq > ?1 ORDER BY e.seq`},
	"delivery": {"iBiiitiiiiiiinitii??bnnni", `SELECT d.id, '', d.id, ifnull(e.id, zeroblob(16)), ` + eventDay + `, d.event, d.lane,
		ifnull(s.text, ''), d.state, d.wait, d.class, d.due, d.claim, d.attempts, d.interruptions, v.node, d.replay, ifnull(r.hash, ''),
		d.created, d.finished, d.skipped, d.stops, d.order_key, d.from_step, d.reason, d.message,
		max(CASE d.finished WHEN 0 THEN d.created ELSE d.finished END, 0) / 86400000000
		FROM delivery d LEFT JOIN event e ON e.seq = d.event LEFT JOIN name s ON s.id = d.source LEFT JOIN route_set r ON r.id = d.route_set
		LEFT JOIN life v ON v.id = d.life WHERE d.id > ?1 ORDER BY d.id`},
	"attempt": {"iiitiitnnb", `SELECT a.delivery, a.claim, max(a.started, 0) / 86400000000, a.delivery, a.claim, ifnull(n.text, ''), a.started,
		a.duration, a.verdict, a.reason, a.message, a.trace FROM attempt a LEFT JOIN name n ON n.id = a.node
		WHERE (a.delivery, a.claim) > (?1, CAST(?2 AS INTEGER)) ORDER BY a.delivery, a.claim`},
	"step": {"ittib", `SELECT delivery, step, delivery, step, definition, ordinal, result FROM step
		WHERE (delivery, step) > (?1, ?2) ORDER BY delivery, step`},
	"effect": {"tttiitiiiibtt", `SELECT 0, key, key, kind, state, delivery, claim, node, opened, sent, done, absent, result, message, resolved_by
		FROM effect WHERE key > ?2 ORDER BY key`},
	"fan_out": {"Biitt", `SELECT o.event, '', ifnull(e.id, zeroblob(16)), ` + eventDay + `, o.event, ifnull(r.hash, ''), o.cursor
		FROM fan_out o LEFT JOIN event e ON e.seq = o.event LEFT JOIN route_set r ON r.id = o.route_set WHERE o.event > ?1 ORDER BY o.event`},
	"rejection": {"ittitBiBBBBi?bibbn", `SELECT id, '', id, tenant, source, at, reason, detail, status, address, method, path, query,
		body_size, complete, event, bytes, header, body, format FROM rejection WHERE id > ?1 ORDER BY id`},
	"audit": {"iitttt", "SELECT id, '', id, at, by, act, object, detail FROM audit WHERE id > ?1 ORDER BY id"},
}

// eventDay is the day of an event e. Clocks that said nonsense don't make days before the first.
const eventDay = "max(ifnull(e.at, 0), 0) / 86400000000"

// ExportRows goes through a table.
type ExportRows struct {
	ctx   context.Context
	c     *conn
	calm  func() bool
	q     *stmt
	kinds string
	keys  *keyExport
	place store.CopyPlace
	ended bool
}

// Rows starts to read a table after a place; of dedup keys, those that haven't lapsed at that time.
func (x *Export) Rows(ctx context.Context, table string, after store.CopyPlace, now time.Time) (*ExportRows, error) {
	c, err := x.connect()
	if err != nil {
		return nil, public(err)
	}
	r := &ExportRows{ctx: ctx, c: c, calm: context.AfterFunc(ctx, c.interrupt), place: after}
	if table == dedupTable {
		r.keys = &keyExport{c: c, now: now.UnixMilli(), windows: x.windows}
		if err := r.keys.open(after.Number); err != nil {
			r.Close()
			return nil, said(ctx, err)
		}
		return r, nil
	}
	read := exportedTables[table]
	r.kinds = read.kinds
	r.q = c.q(read.sql).int(after.Number)
	if strings.Contains(read.sql, "?2") {
		r.q.text(after.Word)
	}
	return r, nil
}

// Next reads up to that many rows, and stops earlier when they hold that many bytes. It returns the place of
// the last one; no row is the end.
func (r *ExportRows) Next(rows, bytes int) ([][]any, store.CopyPlace, error) {
	var read [][]any
	var err error
	if r.keys != nil {
		for err == nil && len(read) < rows && r.keys.part < parts {
			var some [][]any
			some, err = r.keys.next()
			read = append(read, some...)
		}
		r.place.Number = r.keys.part
	} else {
		read, err = r.nextRows(rows, bytes)
	}
	if err != nil {
		return nil, r.place, said(r.ctx, err)
	}
	return read, r.place, nil
}

func (r *ExportRows) nextRows(rows, bytes int) ([][]any, error) {
	var read [][]any
	for held := 0; len(read) < rows && held < bytes && !r.ended; {
		if !r.q.next() {
			r.ended = true // it would begin again if it was asked once more
			return read, r.q.err
		}
		row := make([]any, len(r.kinds))
		for i, kind := range []byte(r.kinds) {
			row[i] = r.q.value(int32(i)+2, kind)
			switch v := row[i].(type) {
			case []byte:
				held += len(v)
			case string:
				held += len(v)
			}
		}
		held += 8 * len(row)
		r.place = store.CopyPlace{Number: r.q.colInt(0), Word: r.q.colText(1)}
		read = append(read, row)
	}
	return read, nil
}

// Close ends the reading.
func (r *ExportRows) Close() {
	r.calm()
	r.c.close()
}

func (s *stmt) value(i int32, kind byte) any {
	if kind == 'I' || kind == 'n' || kind == 'b' {
		if sqlite3.Xsqlite3_column_type(s.c.tls, s.p, i) == sqlite3.SQLITE_NULL {
			return nil
		}
	}
	switch kind {
	case 'i', 'I':
		return s.colInt(i)
	case 'r':
		return s.colReal(i)
	case '?':
		return s.colInt(i) != 0
	case 't', 'n':
		return s.colText(i)
	default:
		return append([]byte{}, s.view(i)...)
	}
}

// columns are the numbers of a row's columns.
func (s *stmt) columns() []int32 {
	columns := make([]int32, sqlite3.Xsqlite3_column_count(s.c.tls, s.p))
	for i := range columns {
		columns[i] = int32(i)
	}
	return columns
}
