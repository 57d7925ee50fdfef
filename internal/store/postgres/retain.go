package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"relais/internal/store"
)

// A day goes as a whole: its partition is detached while others read and write on, and then dropped. What
// somebody needs of it is moved aside first, so that one delivery that waits for a month doesn't keep a
// month of events:
//
//   - an event that a live delivery, an order to fan out, or a dead delivery that can still be replayed is
//     of, to event_kept;
//   - a dead delivery that can still be replayed, to delivery_kept;
//   - an event of a source whose events are kept longer than the rest, to event_kept. Its deliveries that
//     succeeded go with their days.
//
// What is kept shorter than the rest goes row by row, see retainShort and retainAttempts.
//
// Nobody begins to need an event of a past day meanwhile but a replay, and that moves it aside itself.
const (
	retainSlice = 1000
	// dayOver is how long after midnight nobody writes into the day any more: events go there by their ids until
	// idDaySlack after it, and transactions take seconds.
	dayOver = time.Hour
	// detachTime bounds how long a detachment waits for who reads the day. One that takes longer is
	// finished by a later slice.
	detachTime = 20 * time.Second
	// lookEvery is how often it is looked for days to drop while there are rows to delete.
	lookEvery = time.Minute
)

// retention is how far this node has come. Nothing is lost with it: what was begun is found again.
type retention struct {
	mu     sync.Mutex
	looked time.Time // when there was no day to drop
	pass
	attemptsFirst atomic.Bool // attemptsGoFirst, as last told
}

// pass is as far as the last transaction that was committed has come.
type pass struct {
	// The partition that is being emptied: which of those who may need its rows was asked, and up to where.
	name   string
	asked  int
	cursor int64
	// kept is how far event_kept was gone through, keptNext when that starts again.
	kept, keptNext int64
	// short is how far the events were gone through for the sources that are kept shorter than the rest, shortNext
	// when that starts again, shortAges what it was for.
	short, shortNext int64
	shortAges        string
	// keys is the page that the keys are gone through to, keysNext when that starts again.
	keys, keysNext int64
	// tried is the last day whose ended deliveries have lost their attempts, triedAt how far the day after it is gone
	// through.
	tried, triedAt int64
}

// Retain implements store.Keeper. A slice is one transaction with up to 1,000 rows, or the end of a
// partition.
func (s *Store) Retain(ctx context.Context, p store.RetainParams) (store.Retained, error) {
	r := &s.retention
	r.attemptsFirst.Store(attemptsGoFirst(p))
	r.mu.Lock()
	defer r.mu.Unlock()
	var done store.Retained
	if time.Since(r.looked) > lookEvery {
		part, now, err := s.duePartition(ctx, p)
		if err != nil {
			return done, err
		}
		if part != nil {
			err := s.retire(ctx, part, p, now, &done)
			return done, err
		}
		r.looked = time.Now()
	}
	next := r.pass
	err := s.transact(ctx, func(t *tx) error {
		done, next = store.Retained{}, r.pass
		mine, err := t.retains()
		if err != nil || !mine {
			return err
		}
		return t.retainRows(p, &next, &done)
	})
	if err != nil {
		return store.Retained{}, err
	}
	if r.pass = next; !done.More {
		r.looked = time.Time{}
	}
	return done, nil
}

// retains tells whether no other node deletes at the moment; then none does until the transaction ends.
func (t *tx) retains() (mine bool, err error) {
	err = t.row("SELECT pg_try_advisory_xact_lock(hashtext('relais retention'), 0)").Scan(&mine)
	return mine, err
}

// partition is a day of a table.
type partition struct {
	table, name string
	day         int64
	attached    bool
	detaching   bool // a detachment was begun
	tooLarge    bool
}

// duePartition returns the oldest partition that can go: it is over its age, or beyond the size, or somebody
// began to drop it.
func (s *Store) duePartition(ctx context.Context, p store.RetainParams) (due *partition, now int64, err error) {
	err = s.read(ctx, func(t *tx) error {
		if err := t.row("SELECT relais_now($1)", t.now).Scan(&now); err != nil {
			return err
		}
		tooLarge := false
		if p.SizeBytes > 0 {
			used, err := t.usedBytes()
			if err != nil {
				return err
			}
			tooLarge = used > p.SizeBytes
		}
		rows, err := t.query(`SELECT n.parent, c.relname, substring(c.relname FROM length(n.parent) + 3)::bigint, i.inhrelid IS NOT NULL,
			coalesce(i.inhdetachpending, false)
			FROM unnest($1::text[]) WITH ORDINALITY AS n(parent, place)
			JOIN pg_class p ON p.oid = to_regclass(n.parent)
			JOIN pg_class c ON c.relnamespace = p.relnamespace AND c.relkind = 'r' AND c.relname ~ ('^' || n.parent || '_d[0-9]+$')
			LEFT JOIN pg_inherits i ON i.inhrelid = c.oid ORDER BY 3, n.place`, partitioned)
		if err != nil {
			return err
		}
		part := partition{tooLarge: tooLarge}
		_, err = pgx.ForEachRow(rows, []any{&part.table, &part.name, &part.day, &part.attached, &part.detaching}, func() error {
			if due == nil && part.due(p, now) {
				found := part
				due = &found
			}
			return nil
		})
		return err
	})
	return due, now, err
}

func (p *partition) due(keep store.RetainParams, now int64) bool {
	end := (p.day + 1) * microsPerDay
	if end+dayOver.Microseconds() > now {
		return false
	}
	age := keep.Events
	if p.table == "attempt" && keep.Attempts > 0 {
		age = keep.Attempts
	}
	return !p.attached || p.detaching || p.tooLarge || age > 0 && end <= now-age.Microseconds()
}

// retire does the next slice of what a partition needs to go.
func (s *Store) retire(ctx context.Context, p *partition, keep store.RetainParams, now int64, done *store.Retained) error {
	done.More = true
	mine, emptied, next := false, false, s.retention.pass
	err := s.transact(ctx, func(t *tx) (err error) {
		if mine, err = t.retains(); err != nil || !mine {
			return err
		}
		next = s.retention.pass
		emptied, err = t.empty(p, keep, now, &next)
		return err
	})
	if err == nil {
		s.retention.pass = next
	}
	switch {
	case err == nil && !mine:
		done.More = false // another node is at it
		return nil
	case missing(err):
		return nil // it was, and has dropped it
	case err != nil || !emptied:
		return err
	case p.attached:
		return s.detach(ctx, p)
	default:
		return s.drop(ctx, p, done)
	}
}

// detach takes the partition out of its table. Nothing that goes on is stopped: it only waits until those
// who may still look at the partition have ended.
func (s *Store) detach(ctx context.Context, p *partition) error {
	ctx, cancel := context.WithTimeout(ctx, detachTime)
	defer cancel()
	how := "CONCURRENTLY"
	if p.detaching {
		how = "FINALIZE"
	}
	sql := fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s %s", p.table, p.name, how)
	_, err := s.pool.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	if missing(err) || stateOf(err) == "55000" {
		return nil // another node did it, or is at it
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s can't be dropped while a transaction that may read it goes on (pg_stat_activity tells whose); nothing else waits for it: %w",
			p.name, public(err))
	}
	return public(err)
}

// drop drops a partition that is detached, and tells how many rows went with it.
func (s *Store) drop(ctx context.Context, p *partition, done *store.Retained) error {
	rows := int64(0)
	err := s.transact(ctx, func(t *tx) error {
		// A large one is not read for the sake of a figure.
		if err := t.row(`SELECT CASE WHEN pg_relation_size(oid) > 64 << 20 THEN reltuples::bigint ELSE -1 END
			FROM pg_class WHERE oid = $1::text::regclass`, p.name).Scan(&rows); err != nil {
			return err
		}
		if rows < 0 {
			if err := t.row("SELECT count(*) FROM " + p.name).Scan(&rows); err != nil {
				return err
			}
		}
		return t.exec("DROP TABLE " + p.name)
	})
	if missing(err) || errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	switch p.table {
	case "event":
		done.Events += int(rows)
	case "attempt":
		done.Attempts += int(rows)
	}
	return nil
}

// missing tells whether a table isn't there: another node has dropped it.
func missing(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "42P01"
}
