package postgres

import (
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"relais/internal/core"
	"relais/internal/store"
)

// uniqueViolation is PostgreSQL's refusal of a second row under one key.
const uniqueViolation = "23505"

// Append implements store.Appender. It is one round trip: what depends on what is stored is decided in SQL.
//
// Nearly always every dedup key of a batch is new, and one statement that counts on it does it all. Where a key
// is held it fails by the index on keys, and the batch is stored by a transaction that looks who holds it; so are
// the next few, since repeats come together.
//
// An id that is stored already fails the transaction by the index on ids, which waits for whoever is storing
// the same id. Then, and where the index of one day can't tell, the ids are looked for first, and what was
// found is left out.
func (s *Store) Append(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	return s.appendAt(ctx, batch, s.given(), s.now())
}

// appendAt is told the database's clock in tests, and this node's.
func (s *Store) appendAt(ctx context.Context, batch []store.Accepted, given *int64, now time.Time) ([]store.Appended, error) {
	p := appending{given: given}
	if err := p.take(batch); err != nil {
		return nil, err
	}
	if err := p.findLanes(ctx, s); err != nil {
		return nil, err
	}
	look, allNew := mayBeStored(p.events, now), !s.repeats.expected()
	for try := 0; ; try++ {
		if look {
			if err := p.leaveStored(ctx, s); err != nil {
				return nil, err
			}
		}
		if len(p.events) == 0 {
			return p.finished(), nil
		}
		p.rows = rowsOf(p.events, p.lanes, allNew, now)
		err := p.store(ctx, s)
		if err == nil {
			return p.finished(), nil
		}
		switch {
		case stateOf(err) == lockTimeout && len(p.rows.chains) > 0:
			if busy := p.busy(ctx, s, err); busy != nil {
				return nil, busy
			}
			if try > 0 {
				return nil, err
			}
		case noPartition(err) && !now.IsZero():
			now, look = time.Time{}, true // a day that the database hasn't, or refuses: it takes its own
		case stateOf(err) != uniqueViolation || try == tries:
			return nil, err
		case constraintOf(err) == "dedup_pkey":
			allNew = false
			s.repeats.met()
		default:
			look = true
		}
	}
}

// repeats remembers that a batch held one.
type repeats struct{ careful atomic.Int32 }

// carefulFor is how many batches after one with a repeat are taken to have some too.
const carefulFor = 16

func (r *repeats) met() { r.careful.Store(carefulFor) }

func (r *repeats) expected() bool { return r.careful.Load() > 0 && r.careful.Add(-1) >= 0 }

// now is the tests' clock, or this node's.
func (s *Store) now() time.Time {
	if s.clock != nil {
		return s.clock()
	}
	return time.Now()
}

// appending is a batch on its way into the database.
type appending struct {
	given   *int64
	events  []*store.Accepted    // to be stored, each id once
	at      map[core.EventID]int // where an id's result goes
	twice   map[int]int          // results that are those of the same id before
	lanes   map[core.Destination]int64
	rows    *appendRows
	results []store.Appended
}

func (p *appending) take(batch []store.Accepted) error {
	p.results = make([]store.Appended, len(batch))
	p.events = make([]*store.Accepted, 0, len(batch))
	p.at = make(map[core.EventID]int, len(batch))
	for i := range batch {
		a := &batch[i]
		for d := range a.Deliveries {
			if err := checkPriority(a.Deliveries[d].Priority); err != nil {
				return err
			}
		}
		if before, there := p.at[a.Event.ID]; there {
			if p.twice == nil {
				p.twice = map[int]int{}
			}
			p.twice[i] = before
			continue
		}
		p.at[a.Event.ID] = i
		p.events = append(p.events, a)
	}
	return nil
}

func (p *appending) findLanes(ctx context.Context, s *Store) (err error) {
	var destinations []core.Destination
	for _, a := range p.events {
		for d := range a.Deliveries {
			destinations = append(destinations, a.Deliveries[d].Destination)
		}
	}
	p.lanes, err = s.knowLanes(ctx, destinations)
	return err
}

// knowLanes finds the lanes before a transaction needs them: within one, it would hold a connection while it
// waits for another.
func (s *Store) knowLanes(ctx context.Context, destinations []core.Destination) (map[core.Destination]int64, error) {
	if !s.prepared.Load() {
		return nil, s.notPrepared()
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	lanes, err := s.lanesOf(ctx, destinations)
	return lanes, public(err)
}

// store runs the transaction.
func (p *appending) store(ctx context.Context, s *Store) error {
	if !p.rows.plain() {
		return s.exchange(ctx, p.queue, p.read)
	}
	return s.alone(ctx, p.rows.statement(), p.rows.arguments(p.given), p.readRows)
}

// queue writes the transaction. Locks come in the order that all transactions keep: chains, then keys; the
// keys are sorted.
func (p *appending) queue(b *pgx.Batch) {
	r := p.rows
	if len(r.chains) > 0 {
		lanes, keys := chainArgs(r.chains)
		b.Queue(takeChains, lanes, keys)
	}
	if r.claims.keys.n > 0 {
		b.Queue(claimKeys, p.given, &r.claims.keys, &r.claims.events, &r.claims.windows)
		b.Queue(claimForgotten, p.given, &r.claims.keys, &r.claims.events, &r.claims.windows)
	}
	b.Queue(r.statement(), r.arguments(p.given)...)
	if r.forced.keys.n > 0 {
		b.Queue(forceKeys, p.given, &r.forced.keys, &r.forced.events, &r.forced.windows)
	}
}

func (p *appending) read(results pgx.BatchResults) error {
	before, after := 0, 0
	if len(p.rows.chains) > 0 {
		before++
	}
	if p.rows.claims.keys.n > 0 {
		before += 2
	}
	if p.rows.forced.keys.n > 0 {
		after++
	}
	if err := skip(results, before); err != nil {
		return err
	}
	if err := p.readStored(results); err != nil {
		return err
	}
	return skip(results, after)
}

func (p *appending) readStored(results pgx.BatchResults) error { return p.readRows(results.Query()) }

func (p *appending) readRows(rows pgx.Rows, err error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	var id [16]byte
	var repeatOf pgtype.UUID
	var seq int64
	for rows.Next() {
		if err := rows.Scan(&id, &seq, &repeatOf); err != nil {
			return err
		}
		p.results[p.at[id]] = store.Appended{Seq: seq, RepeatOf: repeatOf.Bytes}
	}
	return rows.Err()
}

func (p *appending) finished() []store.Appended {
	for i, before := range p.twice {
		p.results[i] = p.results[before]
	}
	return p.results
}

// An id holds when it was made, and a young event is stored under the day of its id: sent again, at whatever time, it
// meets the first in that day's index. What is older, or from the future by this node's clock, is stored under today,
// after a look at all days. The look begins at idLook already: a clock that steps back must not make an event young
// again that was stored as an old one. The database looks at a told day by its own clock, and allows idDaySlack (in
// microseconds): less than dayOver, and more than idYoung by what the two clocks may differ.
const (
	idYoung    = 40 * time.Minute
	idLook     = 30 * time.Minute // from this age on it is looked for: clocks step
	idDaySlack = "3000000000"
)

// dayOfID is the day under which an event is stored that is young now.
func dayOfID(id core.EventID, now time.Time) (day int32, young bool) {
	made := madeAt(id)
	if now.Sub(made).Abs() > idYoung {
		return 0, false
	}
	return int32(dayOf(made)), true //nolint:gosec // days since 1970
}

// mayBeStored tells whether one of the ids may be stored elsewhere than it would be now: under another day, or aside,
// as yesterday's can be that were replayed.
func mayBeStored(events []*store.Accepted, now time.Time) bool {
	today := dayOf(now)
	return slices.ContainsFunc(events, func(a *store.Accepted) bool {
		made := madeAt(a.Event.ID)
		return now.Sub(made).Abs() > idLook || dayOf(made) != today
	})
}

func dayOf(t time.Time) int64 { return t.UnixMicro() / microsPerDay }

// madeAt is the time in a UUIDv7.
func madeAt(id core.EventID) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16))
}

// leaveStored reports the events that are stored as they were, and leaves them out. It looks from the day
// before the oldest id was made; an id from the future says nothing about when it was stored.
func (p *appending) leaveStored(ctx context.Context, s *Store) error {
	ids := make([][16]byte, len(p.events))
	oldest, newest := madeAt(p.events[0].Event.ID), time.Time{}
	for i, a := range p.events {
		ids[i] = a.Event.ID
		p.results[p.at[a.Event.ID]] = store.Appended{} // of a transaction that failed
		made := madeAt(a.Event.ID)
		if made.Before(oldest) {
			oldest = made
		}
		if made.After(newest) {
			newest = made
		}
	}
	from := dayOf(oldest) - 1
	if newest.After(s.now().Add(24 * time.Hour)) {
		from = 0
	}
	// As an exchange, for its settings: where tables are small, the plan would be to read them whole. What is found
	// may have been committed by who gave up waiting for a standby: its message makes this commit wait for it.
	if err := s.exchange(ctx, func(b *pgx.Batch) {
		b.Queue("SELECT pg_logical_emit_message(true, 'relais', '')")
		b.Queue("SELECT e.id, e.seq, e.repeat_of FROM "+allEvents+" e WHERE e.id = ANY ($1) AND e.day >= $2", ids, from)
	}, func(results pgx.BatchResults) error {
		if err := skip(results, 1); err != nil {
			return err
		}
		return p.readStored(results)
	}); err != nil {
		return err
	}
	left := p.events[:0]
	for _, a := range p.events {
		if p.results[p.at[a.Event.ID]].Seq == 0 {
			left = append(left, a)
		}
	}
	p.events = left
	return nil
}
