package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	// asideRounds bounds how often a claim reads again because it met deliveries of paused sources, and
	// asidePerRound how many it looks at for one lane and class to put those aside.
	asideRounds   = 3
	asidePerRound = 256
)

var errLapsed = core.Errorf(core.CodeUnavailable, "this node's lease has lapsed, and others may have taken over what it runs: %w", store.ErrUnavailable)

// Claim implements store.Lanes. The lanes are locked first, and the candidates read by a statement of its
// own after that: two nodes that claim from one lane take turns, and the second sees what the first took.
//
// A node whose lease has lapsed gets nothing. It may have been stopped between looking at its lease and
// coming here, and what it took would be taken from it at once.
func (s *Store) Claim(ctx context.Context, p store.ClaimParams) ([]store.Claimed, error) {
	lanes := p.Lanes[:0:0]
	seen := make(map[store.LaneID]bool, len(p.Lanes))
	for _, room := range p.Lanes {
		if room.Max > 0 && !seen[room.Lane] {
			seen[room.Lane] = true
			lanes = append(lanes, room)
		}
	}
	p.Lanes = lanes
	if p.Max <= 0 || len(lanes) == 0 {
		return nil, nil
	}
	var claimed []store.Claimed
	if !s.prepared.Load() {
		return nil, s.notPrepared()
	}
	err := s.retry(ctx, func(ctx context.Context) error {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release() // one that is within a transaction is closed, not used again
		return s.within(ctx, conn, func(t *tx) (err error) {
			claimed, err = t.claim(&p)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// claim is a transaction of two round trips: its first statements go out with its BEGIN, its last with its COMMIT.
func (t *tx) claim(p *store.ClaimParams) ([]store.Claimed, error) {
	for round := 0; ; round++ {
		found, err := t.candidates(p, round == 0)
		if err != nil {
			return nil, err
		}
		if found.aside && round < asideRounds {
			if err := t.putAside(p); err != nil {
				return nil, err
			}
			continue
		}
		chosen := found.choose(p)
		if len(chosen) == 0 {
			return nil, nil
		}
		return t.take(p, found, chosen)
	}
}

// candidate is a delivery that could be claimed, as it is when it has been.
type candidate struct {
	core.Delivery
	lane int64
	day  int32
}

// before tells whether it was claimed before, or is a replay: there may be steps.
func (c *candidate) before() bool { return c.Claim > 1 || c.Replay > 0 }

// laneFree is what a lane can give: its free places, and its candidates by class, each class at most as many.
type laneFree struct {
	destination core.Destination
	free        int
	tokens      float64
	waiting     [core.Classes][]candidate
}

// found is what a claim sees.
type found struct {
	now   int64
	lanes map[int64]*laneFree
	// aside tells that deliveries of paused sources were met; they are no candidates.
	aside bool
}

// candidates locks the lanes and reads what could be claimed. It reads as many rows of the index as the
// lane has free places for each class that has any, whatever waits behind them.
const readCandidates = `WITH RECURSIVE clock AS MATERIALIZED (SELECT relais_now($1) AS now),
	refilled AS (
		SELECT l.id, l.running, a.most, a.places, a.rate, CASE WHEN a.rate <= 0 THEN 0 WHEN l.tokens_at = 0 THEN a.burst
			ELSE least(a.burst, l.tokens + greatest(clock.now - l.tokens_at, 0) / 1e6 * a.rate) END AS tokens
		FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::float8[], $6::float8[]) AS a(lane, most, places, rate, burst)
		JOIN lane l ON l.id = ANY (ARRAY[a.lane]) CROSS JOIN clock
		WHERE NOT EXISTS (SELECT FROM pause p WHERE p.scope = 'all' OR (p.scope = l.kind AND p.name = l.name))),
	room AS MATERIALIZED (
		SELECT id AS lane, tokens, least(most, CASE WHEN places > 0 THEN places - running ELSE most END,
			CASE WHEN rate > 0 THEN floor(tokens)::bigint ELSE most END) AS free FROM refilled),
	hop AS (
		SELECT r.lane, r.free, r.tokens, d.class, d.due FROM room r CROSS JOIN LATERAL (
			SELECT class, due FROM delivery WHERE state = 0 AND wait = 0 AND lane = r.lane
			ORDER BY class, due LIMIT 1) d WHERE r.free > 0
		UNION ALL
		SELECT h.lane, h.free, h.tokens, d.class, d.due FROM hop h CROSS JOIN LATERAL (
			SELECT class, due FROM delivery WHERE state = 0 AND wait = 0 AND lane = h.lane AND class > h.class
			ORDER BY class, due LIMIT 1) d)
	SELECT clock.now, h.lane, h.free, h.tokens, h.class, c.source = ANY(ARRAY(SELECT name FROM pause WHERE scope = 'source')),
		c.event_day, c.id, c.event, c.event_seq, c.attempts, c.claim + 1, c.interruptions, c.order_key, c.replay,
		coalesce(c.from_step, ''), c.route_set, c.created, c.due, coalesce(c.reason, ''), coalesce(c.message, '')
	FROM clock CROSS JOIN hop h CROSS JOIN LATERAL (
		SELECT * FROM delivery WHERE state = 0 AND wait = 0 AND lane = h.lane
		AND class = h.class AND due <= clock.now ORDER BY due, id LIMIT h.free) c
	WHERE h.due <= clock.now`

func (t *tx) candidates(p *store.ClaimParams, begin bool) (*found, error) {
	n := len(p.Lanes)
	lanes, most, places := laneNumbers(p.Lanes), make([]int64, n), make([]int64, n)
	rates, bursts := make([]float64, n), make([]float64, n)
	for i, room := range p.Lanes {
		most[i], places[i] = int64(min(room.Max, p.Max)), int64(room.Window)
		rates[i], bursts[i] = room.Rate, max(float64(room.Burst), 1)
	}
	f := &found{lanes: make(map[int64]*laneFree, n)}
	before := 0
	err := t.send(func(b *pgx.Batch) {
		if begin {
			b.Queue("BEGIN")
			b.Queue(claimSettings)
			before = 2
		}
		b.Queue("SELECT EXISTS (SELECT FROM node WHERE name = $1 AND lease > 0 AND beat + lease < relais_now($2))", clean(p.Node), t.now)
		b.Queue(takeNamedLanes, lanes)
		b.Queue(readCandidates, t.now, lanes, most, places, rates, bursts)
	}, func(results pgx.BatchResults) error {
		if err := skip(results, before); err != nil {
			return err
		}
		var lapsed bool
		if err := results.QueryRow().Scan(&lapsed); err != nil {
			return err
		}
		if lapsed {
			return errLapsed
		}
		if err := f.readLanes(results); err != nil {
			return err
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		return f.read(rows)
	})
	return f, err
}

// takeNamedLanes locks lanes, as takeLanes does, and says which destinations they are of.
const takeNamedLanes = "SELECT id, tenant, kind, name FROM lane WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE"

func (f *found) readLanes(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	var id int64
	var d core.Destination
	_, err = pgx.ForEachRow(rows, []any{&id, &d.Tenant, (*string)(&d.Kind), &d.Name}, func() error {
		f.lanes[id] = &laneFree{destination: d}
		return nil
	})
	return err
}

func (f *found) read(rows pgx.Rows) error {
	defer rows.Close()
	for rows.Next() {
		var c candidate
		var created, due int64
		var free, class int
		var tokens float64
		var paused bool
		var orderKey []byte
		var reason string
		if err := rows.Scan(&f.now, &c.lane, &free, &tokens, &class, &paused, &c.day, (*int64)(&c.ID), (*[16]byte)(&c.Event), &c.EventSeq,
			&c.Attempts, &c.Claim, &c.Interruptions, &orderKey, &c.Replay, &c.FromStep, &c.RouteSet, &created, &due, &reason, &c.Message); err != nil {
			return err
		}
		if paused {
			f.aside = true
			continue
		}
		l := f.lanes[c.lane]
		l.free, l.tokens = free, tokens
		if l.waiting[class] == nil {
			l.waiting[class] = make([]candidate, 0, free)
		}
		c.Destination, c.State = l.destination, core.StateRunning
		c.Priority = core.Priority(class / 2) //nolint:gosec // 0 to 3
		c.Ordered, c.OrderKey = orderKey != nil, string(orderKey)
		c.CreatedAt, c.DueAt, c.Reason = moment(created), moment(due), core.Reason(reason)
		l.waiting[class] = append(l.waiting[class], c)
	}
	return rows.Err()
}

// choose shares each lane's free places among its classes, in the order in which lanes were asked for.
func (f *found) choose(p *store.ClaimParams) []candidate {
	var chosen []candidate
	for _, room := range p.Lanes {
		lane := f.lanes[int64(room.Lane)]
		if lane == nil {
			continue
		}
		var counts [core.Classes]int
		for class := range lane.waiting {
			counts[class] = len(lane.waiting[class])
		}
		for class, share := range core.SharePriorities(min(lane.free, p.Max-len(chosen)), counts) {
			chosen = append(chosen, lane.waiting[class][:share]...)
		}
	}
	return chosen
}

// putAside makes deliveries of paused sources wait: a pause costs nothing for what nobody claims. The pauses
// are locked, so that who ends one waits for this transaction, and releases what it put aside.
func (t *tx) putAside(p *store.ClaimParams) error {
	return t.exec(`WITH clock AS MATERIALIZED (SELECT relais_now($1) AS now),
		paused AS MATERIALIZED (SELECT name FROM pause WHERE scope = 'source' FOR KEY SHARE)
		UPDATE delivery SET wait = wait | 2::smallint WHERE id = ANY(ARRAY(
			SELECT c.id FROM clock, unnest($2::bigint[]) a(lane), generate_series(0, $3::int) k(class), LATERAL (
				SELECT id, source FROM delivery d WHERE d.state = 0 AND d.wait = 0 AND d.lane = a.lane
				AND d.class = k.class AND d.due <= clock.now ORDER BY d.due, d.id LIMIT $4) c
			WHERE c.source IN (SELECT name FROM paused) ORDER BY c.id))
		AND state = 0 AND wait = 0`, t.now, laneNumbers(p.Lanes), core.Classes-1, asidePerRound)
}

func laneNumbers(rooms []store.LaneRoom) []int64 {
	lanes := make([]int64, len(rooms))
	for i, room := range rooms {
		lanes[i] = int64(room.Lane)
	}
	return lanes
}

// markRunning makes the chosen running, and counts them and their tokens in their lanes. One that was
// cancelled meanwhile isn't given. (state + wait = 0 says no more than both being 0, but the planner doesn't see
// that: before it has statistics it takes the index of what waits to be nearly empty, and reads all of it.)
const markRunning = `WITH taken AS (
		UPDATE delivery SET state = 1, claim = claim + 1, node = $2 WHERE id = ANY($1::bigint[]) AND state + wait = 0
		RETURNING id, lane),
	counted AS (
		UPDATE lane l SET running = l.running + n.count, tokens = coalesce(k.tokens - n.count, l.tokens),
			tokens_at = CASE WHEN k.tokens IS NULL THEN l.tokens_at ELSE $3 END
		FROM (SELECT lane, count(*) FROM taken GROUP BY lane) n
		LEFT JOIN unnest($4::bigint[], $5::float8[]) k(lane, tokens) ON k.lane = n.lane WHERE l.id = ANY (ARRAY[n.lane]))
	SELECT id FROM taken`

// readEvents reads events of one day: the server then looks into that day's partition only. readKept reads those
// whose day's partition is gone.
const (
	readEvents = "SELECT " + eventColumns + " FROM event e WHERE e.day = $1 AND e.id = ANY($2::uuid[])"
	readKept   = "SELECT " + eventColumns + " FROM event_kept e WHERE e.id = ANY($1::uuid[])"
)

// take makes the chosen running, and loads what their attempts need.
func (t *tx) take(p *store.ClaimParams, f *found, chosen []candidate) ([]store.Claimed, error) {
	w := newWanted(chosen, int32(f.now/microsPerDay)) //nolint:gosec // days since 1970
	var limited []int64
	var tokens []float64
	for _, room := range p.Lanes {
		if lane := f.lanes[int64(room.Lane)]; lane != nil && room.Rate > 0 {
			limited, tokens = append(limited, int64(room.Lane)), append(tokens, lane.tokens)
		}
	}
	err := t.send(func(b *pgx.Batch) {
		b.Queue(markRunning, w.ids, clean(p.Node), f.now, limited, tokens)
		for day, ids := range w.events {
			b.Queue(readEvents, day, ids)
		}
		if len(w.old) > 0 {
			b.Queue(readKept, w.old)
		}
		if len(w.before) > 0 {
			b.Queue("SELECT delivery, step, definition, result FROM step WHERE delivery = ANY($1::bigint[]) ORDER BY delivery, ordinal", w.before)
		}
		b.Queue("COMMIT")
	}, func(results pgx.BatchResults) error {
		if err := w.readTaken(results); err != nil {
			return err
		}
		tables := len(w.events)
		if len(w.old) > 0 {
			tables++
		}
		for range tables {
			if err := w.readEvents(results.Query()); err != nil {
				return err
			}
		}
		if len(w.before) > 0 {
			if err := w.readSteps(results); err != nil {
				return err
			}
		}
		err := committed(results.Exec())
		t.ended = err == nil
		return err
	})
	if err != nil {
		return nil, err
	}
	// Nothing that can fail comes after the COMMIT: what was claimed would run nowhere.
	given := make([]store.Claimed, 0, len(chosen))
	for i := range chosen {
		if c := &chosen[i]; w.taken[c.ID] {
			given = append(given, store.Claimed{Delivery: c.Delivery, Event: w.found[c.Event], Lane: store.LaneID(c.lane), Steps: w.steps[c.ID]})
		}
	}
	return given, nil
}
