package postgres

import (
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/store"
)

// shortEvery is how often the events are gone through again for those that were needed when their age had passed.
const shortEvery = time.Hour

// never is an age that nothing has, and that can be taken from a time.
const never = math.MaxInt64 / 4

func ageOr(age time.Duration) int64 {
	if age <= 0 {
		return never
	}
	return age.Microseconds()
}

// agesOf are the sources that have an age of their own, and their ages.
func agesOf(p store.RetainParams, of func(store.SourceAges) time.Duration) (sources []string, ages []int64) {
	for source, own := range p.Sources {
		if age := of(own); age > 0 {
			sources, ages = append(sources, clean(source)), append(ages, age.Microseconds())
		}
	}
	return sources, ages
}

// retainRejections deletes old refused requests, the oldest of each source. Who adds some at the moment is not waited
// for: the next slice comes.
func (t *tx) retainRejections(p store.RetainParams, done *store.Retained) error {
	sources, ages := agesOf(p, func(own store.SourceAges) time.Duration { return own.Rejections })
	if p.Rejections <= 0 && len(sources) == 0 {
		return nil
	}
	var mine bool
	if err := t.row("SELECT pg_try_advisory_xact_lock(hashtextextended('relais rejections', 0))").Scan(&mine); err != nil || !mine {
		return err
	}
	gone, err := t.affect(`DELETE FROM rejection WHERE id = ANY(ARRAY(
		SELECT o.id FROM rejection_tally s LEFT JOIN unnest($1::text[], $2::bigint[]) a (source, age) ON a.source = s.source
		CROSS JOIN LATERAL (SELECT r.id, r.at FROM rejection r WHERE r.source = s.source ORDER BY r.id LIMIT $3) o
		WHERE o.at < relais_now($4) - coalesce(a.age, $5::bigint) LIMIT $6))`, sources, ages, retainSlice/10, t.now, ageOr(p.Rejections), retainSlice)
	if done.Rejections = int(gone); gone > 0 {
		done.More = true
	}
	return err
}

// retainShort deletes events of the sources that are kept shorter than the rest: within days that stay. It goes
// through all events in order of arrival, up to the first that is young for the shortest age, and goes on from there;
// each hour it starts again, for those that had an hour less to go, or that somebody needed.
func (t *tx) retainShort(p store.RetainParams, r *pass, done *store.Retained) error {
	sources, ages, shortest := shorter(p)
	if len(sources) == 0 {
		return nil
	}
	var now int64
	if err := t.row("SELECT relais_now($1)", t.now).Scan(&now); err != nil {
		return err
	}
	if of := fmt.Sprint(p.Events, p.Sources); of != r.shortAges || now >= r.shortNext {
		r.short, r.shortAges, r.shortNext = 0, of, now+shortEvery.Microseconds()
	}
	rows, err := t.query(`WITH looked AS MATERIALIZED (SELECT seq, id, source, at FROM event WHERE seq > $1 ORDER BY seq LIMIT $2)
		SELECT l.seq, l.id, l.at < $3 - coalesce(a.age, $4::bigint), l.at >= $3 - $5::bigint
		FROM looked l LEFT JOIN unnest($6::text[], $7::bigint[]) a (source, age) ON a.source = l.source ORDER BY l.seq`,
		r.short, retainSlice, now, int64(never), shortest, sources, ages)
	if err != nil {
		return err
	}
	var seq int64
	var id [16]byte
	var old, young, ended bool
	var ids [][16]byte
	looked := 0
	if _, err := pgx.ForEachRow(rows, []any{&seq, &id, &old, &young}, func() error {
		looked++
		if ended = ended || young; ended {
			return nil
		}
		if r.short = seq; old {
			ids = append(ids, id)
		}
		return nil
	}); err != nil {
		return err
	}
	done.More = done.More || looked == retainSlice && !ended
	return t.deleteUnneeded(ids, now-p.Dead.Microseconds(), done)
}

// shorter are the sources that are kept shorter than the rest, and the shortest age.
func shorter(p store.RetainParams) (sources []string, ages []int64, shortest int64) {
	shortest = never
	sources, ages = agesOf(p, func(own store.SourceAges) time.Duration {
		if p.Events > 0 && own.Events >= p.Events {
			return 0
		}
		return own.Events
	})
	for _, age := range ages {
		shortest = min(shortest, age)
	}
	return sources, ages, shortest
}

// deleteUnneeded deletes those of the events that nobody needs, with what belongs to them. They are locked by a
// statement of its own: the next one then sees the replays that had them locked before, and later ones wait and
// find them gone.
func (t *tx) deleteUnneeded(ids [][16]byte, replayable int64, done *store.Retained) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := t.query("SELECT id FROM event WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE SKIP LOCKED", ids)
	if err != nil {
		return err
	}
	locked, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	if err != nil {
		return err
	}
	rows, err = t.query(`SELECT e.id FROM unnest($1::uuid[]) e (id)
		WHERE NOT EXISTS (SELECT FROM fan_out o WHERE o.event = e.id) AND NOT EXISTS (SELECT FROM delivery d WHERE d.event = e.id)
		AND NOT EXISTS (SELECT FROM delivery_kept d WHERE d.event = e.id AND d.finished > $2)
		AND NOT EXISTS (SELECT FROM delivery_done d WHERE d.event = e.id AND d.state = 3 AND d.finished > $2)`, locked, replayable)
	if err != nil {
		return err
	}
	unneeded, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	if err != nil || len(unneeded) == 0 {
		return err
	}
	gone := purge{tx: t, events: unneeded, tables: map[string]bool{}}
	done.Events += len(unneeded)
	return gone.removeEnded()
}
