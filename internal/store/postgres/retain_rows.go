package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/store"
)

// keptEvery is how often event_kept is gone through.
const keptEvery = time.Hour

// needs are those who may need an event, in the order of a number, and whether they need one of the day $1: $2
// is the number that the slice before ended with, $3 when a dead delivery must have ended to be replayable. A
// slice is so many that are looked at, of whatever day: millions may wait that need none of this one.
var needs = [...]string{
	"SELECT event_seq AS at, event, event_day = $1 AND $3::bigint IS NOT NULL AS wanted FROM fan_out WHERE event_seq > $2 ORDER BY event_seq",
	"SELECT id AS at, event, event_day = $1 AND $3::bigint IS NOT NULL AS wanted FROM delivery WHERE id > $2 ORDER BY id",
	"SELECT id AS at, event, event_day = $1 AND finished > $3 AS wanted FROM delivery_done WHERE state = 3 AND id > $2 ORDER BY id",
	"SELECT id AS at, event, event_day = $1 AND finished > $3 AS wanted FROM delivery_kept WHERE id > $2 ORDER BY id",
}

// empty moves the next rows that are needed out of a partition, and tells whether none is left in it.
func (t *tx) empty(p *partition, keep store.RetainParams, now int64, r *pass) (emptied bool, err error) {
	if r.name != p.name {
		r.name, r.asked, r.cursor = p.name, 0, 0
	}
	replayable := now - keep.Dead.Microseconds()
	if p.tooLarge {
		replayable = now
	}
	var looked, last int64
	steps := 1
	switch p.table {
	case "event":
		if steps = len(needs) + 1; r.asked == len(needs) {
			looked, last, err = t.keepLonger(p, keep, now, r.cursor)
			break
		}
		err = t.row(`WITH looked AS MATERIALIZED (`+needs[r.asked]+` LIMIT $4),
			moved AS (DELETE FROM `+p.name+` WHERE id IN (SELECT event FROM looked WHERE wanted) RETURNING `+eventFields+`),
			kept AS (INSERT INTO event_kept (`+eventFields+`) SELECT `+eventFields+` FROM moved ON CONFLICT DO NOTHING)
			SELECT count(*), coalesce(max(at), 0) FROM looked`, p.day, r.cursor, replayable, retainSlice).Scan(&looked, &last)
	case "delivery_done":
		if p.attached {
			looked, last, err = t.keepDead(p, r.cursor, replayable)
			break
		}
		if steps = 2; r.asked == 0 {
			looked, last, err = t.keepDead(p, r.cursor, replayable)
		} else {
			looked, last, err = t.dropSteps(p, r.cursor)
		}
	default:
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if r.cursor = last; looked < retainSlice {
		r.asked, r.cursor = r.asked+1, 0
	}
	if r.asked < steps {
		return false, nil
	}
	r.name = ""
	return true, nil
}

// keepLonger moves the events of sources that are kept longer than the rest. A day that goes because the database is too
// large takes them along.
func (t *tx) keepLonger(p *partition, keep store.RetainParams, now, after int64) (looked, last int64, err error) {
	var longer []string
	end := (p.day + 1) * microsPerDay
	for source, own := range keep.Sources {
		if own.Events > 0 && end > now-own.Events.Microseconds() {
			longer = append(longer, clean(source))
		}
	}
	if len(longer) == 0 || p.tooLarge {
		return 0, 0, nil
	}
	err = t.row(`WITH looked AS MATERIALIZED (SELECT seq, id, source = ANY($1::text[]) AS wanted FROM `+p.name+` WHERE seq > $2 ORDER BY seq LIMIT $3),
		moved AS (DELETE FROM `+p.name+` WHERE id IN (SELECT id FROM looked WHERE wanted) RETURNING `+eventFields+`),
		kept AS (INSERT INTO event_kept (`+eventFields+`) SELECT `+eventFields+` FROM moved ON CONFLICT DO NOTHING)
		SELECT count(*), coalesce(max(seq), 0) FROM looked`, longer, after, retainSlice).Scan(&looked, &last)
	return looked, last, err
}

func (t *tx) keepDead(p *partition, after, replayable int64) (looked, last int64, err error) {
	err = t.row(`WITH needed AS MATERIALIZED (SELECT id FROM `+p.name+` WHERE state = 3 AND id > $1 AND finished > $2 ORDER BY id LIMIT $3),
		moved AS (DELETE FROM `+p.name+` WHERE id IN (SELECT id FROM needed) RETURNING day, `+deliveryFields+`),
		kept AS (INSERT INTO delivery_kept (day, `+deliveryFields+`) SELECT day, `+deliveryFields+` FROM moved ON CONFLICT DO NOTHING)
		SELECT count(*), coalesce(max(id), 0) FROM needed`, after, replayable, retainSlice).Scan(&looked, &last)
	return looked, last, err
}

// dropSteps deletes the steps of deliveries that are about to go.
func (t *tx) dropSteps(p *partition, after int64) (looked, last int64, err error) {
	err = t.row(`WITH going AS MATERIALIZED (SELECT id FROM `+p.name+` WHERE id > $1 ORDER BY id LIMIT $2),
		gone AS (DELETE FROM step WHERE delivery IN (SELECT id FROM going))
		SELECT count(*), coalesce(max(id), 0) FROM going`, after, retainSlice).Scan(&looked, &last)
	return looked, last, err
}

// retainRows deletes what has no day of its own: keys whose window has passed, and what was kept for as long
// as it could be replayed.
func (t *tx) retainRows(p store.RetainParams, r *pass, done *store.Retained) error {
	dead, err := t.affect(`WITH gone AS (DELETE FROM delivery_kept WHERE id = ANY(ARRAY(
			SELECT id FROM delivery_kept WHERE finished <= relais_now($1) - $2::bigint ORDER BY finished LIMIT $3 FOR UPDATE SKIP LOCKED)) RETURNING id),
		steps AS (DELETE FROM step WHERE delivery IN (SELECT id FROM gone))
		SELECT FROM gone`, t.now, p.Dead.Microseconds(), retainSlice)
	if err != nil {
		return err
	}
	done.More = dead == retainSlice
	if err := t.retainKeys(r, done); err != nil {
		return err
	}
	if err := t.retainRejections(p, done); err != nil {
		return err
	}
	if err := t.retainShort(p, r, done); err != nil {
		return err
	}
	if err := t.retainAttempts(p, r, done); err != nil {
		return err
	}
	return t.retainKept(p, r, done)
}

// retainKept deletes kept events that nobody needs any more, and that are old enough: a replay keeps young
// ones too.
func (t *tx) retainKept(p store.RetainParams, r *pass, done *store.Retained) error {
	sources, ages := agesOf(p, func(own store.SourceAges) time.Duration { return own.Events })
	if p.Events <= 0 && len(sources) == 0 {
		return nil
	}
	var now int64
	if err := t.row("SELECT relais_now($1)", t.now).Scan(&now); err != nil {
		return err
	}
	if now < r.keptNext {
		return nil
	}
	// Locked by a statement of its own: the one that looks who needs them then sees the replays that had
	// them locked before; those that come later wait, and find them gone.
	rows, err := t.query(`SELECT id, seq FROM event_kept WHERE seq > $1 ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED`, r.kept, retainSlice)
	if err != nil {
		return err
	}
	var ids [][16]byte
	var id [16]byte
	last := int64(0)
	if _, err := pgx.ForEachRow(rows, []any{&id, &last}, func() error {
		ids = append(ids, id)
		return nil
	}); err != nil {
		return err
	}
	gone, err := t.affect(`DELETE FROM event_kept e WHERE id = ANY($1::uuid[]) AND (day + 1) * $2::bigint <= $3 - coalesce(
			(SELECT a.age FROM unnest($4::text[], $5::bigint[]) a (source, age) WHERE a.source = e.source), $6::bigint)
		AND NOT EXISTS (SELECT FROM fan_out o WHERE o.event = e.id) AND NOT EXISTS (SELECT FROM delivery d WHERE d.event = e.id)
		AND NOT EXISTS (SELECT FROM delivery_kept d WHERE d.event = e.id)
		AND NOT EXISTS (SELECT FROM delivery_done d WHERE d.event = e.id AND d.state = 3)`, ids, microsPerDay, now, sources, ages, ageOr(p.Events))
	if err != nil {
		return err
	}
	done.Events += int(gone)
	if r.kept = last; len(ids) < retainSlice {
		r.kept, r.keptNext = 0, now+keptEvery.Microseconds()
		return nil
	}
	done.More = true
	return nil
}
