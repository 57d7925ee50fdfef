package postgres

import (
	"time"

	"relais/internal/core"
)

// newRow is a delivery to be stored.
type newRow struct {
	event       core.EventID
	eventDay    int32
	eventSeq    int64
	source      string
	destination core.Destination
	priority    core.Priority
	delay       time.Duration
	ordered     bool
	orderKey    string
	routeSet    string
	replay      int64
	fromStep    string
	// first puts an ordered delivery before those that wait.
	first bool
}

// rowColumns are newRow's members, one array for each, as a statement takes them.
type rowColumns struct {
	events    [][16]byte
	days      []int32
	seqs      []int64
	sources   []string
	lanes     []int64
	classes   []int16
	delays    []int64
	keys      [][]byte
	sets      []string
	replays   []int64
	fromSteps []*string
	firsts    []bool
	chains    []chain
}

// insertDeliveries stores deliveries and returns their numbers, 0 for one whose event has it for that
// destination and replay. Who expects new destinations asks lanesOf before the transaction: it takes a
// connection of its own.
//
// The chains are locked by a statement of its own before the one that looks whether they are busy: that one
// then sees what those who held the locks before committed.
func (t *tx) insertDeliveries(rows []newRow) ([]int64, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	c, err := t.columnsOf(rows)
	if err != nil {
		return nil, err
	}
	if len(c.chains) > 0 {
		if err := t.lockChains(c.chains); err != nil {
			return nil, err
		}
	}
	answer, err := t.query(makeDeliveries, t.now, c.events, c.days, c.seqs, c.sources, c.lanes, c.classes,
		c.delays, c.keys, c.sets, c.replays, c.fromSteps, c.firsts)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	ids := make([]int64, len(rows))
	given := make(map[int64]bool, len(rows))
	for answer.Next() {
		var n, id int64
		if err := answer.Scan(&n, &id); err != nil {
			return nil, err
		}
		if !given[id] { // of two rows that are the same delivery the first made it
			ids[n-1], given[id] = id, true
		}
	}
	return ids, answer.Err()
}

// makeDeliveries: what is there is looked for among live and ended deliveries; that of a replay can't be,
// its number is new. Of the rows of one chain all but the first wait. A pause is locked, so that who ends it
// waits for this transaction, and releases what it put aside.
const makeDeliveries = `WITH
clock AS MATERIALIZED (SELECT relais_now($1) AS now),
paused AS MATERIALIZED (SELECT name FROM pause WHERE scope = 'source' AND name = ANY ($5::text[]) FOR KEY SHARE),
input AS MATERIALIZED (
	SELECT * FROM unnest($2::uuid[], $3::integer[], $4::bigint[], $5::text[], $6::bigint[], $7::smallint[], $8::bigint[],
		$9::bytea[], $10::text[], $11::bigint[], $12::text[], $13::boolean[])
	WITH ORDINALITY AS u (event, day, seq, source, lane, class, delay, order_key, route_set, replay, from_step, first, n)),
made AS (
	INSERT INTO delivery (event, event_day, event_seq, lane, source, wait, class, due, replay, route_set, created, order_key, from_step)
	SELECT i.event, i.day, i.seq, i.lane, i.source,
		CASE WHEN i.order_key IS NOT NULL AND NOT i.first AND (
			row_number() OVER (PARTITION BY i.lane, i.order_key ORDER BY i.n) > 1
			OR EXISTS (SELECT FROM delivery d WHERE d.lane = i.lane AND d.order_key = i.order_key AND (d.state < 2 OR d.stops)))
			THEN 1 ELSE 0 END
		+ CASE WHEN i.source = ANY (ARRAY(SELECT name FROM paused)) THEN 2 ELSE 0 END,
		i.class, c.now + i.delay, i.replay, i.route_set, c.now, i.order_key, i.from_step
	FROM input i CROSS JOIN clock c
	WHERE i.replay <> 0 OR NOT (
		EXISTS (SELECT FROM delivery d WHERE d.event = i.event AND d.lane = i.lane AND d.replay = 0)
		OR EXISTS (SELECT FROM delivery_done d WHERE d.event = i.event AND d.lane = i.lane AND d.replay = 0)
		OR EXISTS (SELECT FROM delivery_kept d WHERE d.event = i.event AND d.lane = i.lane AND d.replay = 0))
	ORDER BY i.n
	ON CONFLICT (event, lane, replay) DO NOTHING
	RETURNING id, event, lane, replay)
SELECT i.n, made.id FROM input i JOIN made USING (event, lane, replay) ORDER BY i.n`

func (t *tx) columnsOf(rows []newRow) (*rowColumns, error) {
	destinations := make([]core.Destination, len(rows))
	for i := range rows {
		if err := checkPriority(rows[i].priority); err != nil {
			return nil, err
		}
		destinations[i] = rows[i].destination
	}
	lanes, err := t.s.lanesOf(t.ctx, destinations)
	if err != nil {
		return nil, err
	}
	c := &rowColumns{}
	for i := range rows {
		r := &rows[i]
		c.events = append(c.events, r.event)
		c.days = append(c.days, r.eventDay)
		c.seqs = append(c.seqs, r.eventSeq)
		c.sources = append(c.sources, clean(r.source))
		c.lanes = append(c.lanes, lanes[r.destination])
		c.classes = append(c.classes, int16(core.Class(r.priority, 0))) //nolint:gosec // 0 to 7
		c.delays = append(c.delays, r.delay.Microseconds())
		c.sets = append(c.sets, clean(r.routeSet))
		c.replays = append(c.replays, r.replay)
		c.firsts = append(c.firsts, r.first)
		c.fromSteps = append(c.fromSteps, textOrNull(r.fromStep))
		if !r.ordered {
			c.keys = append(c.keys, nil)
			continue
		}
		c.keys = append(c.keys, []byte(r.orderKey))
		c.chains = append(c.chains, chain{lane: lanes[r.destination], key: r.orderKey})
	}
	return c, nil
}

func checkPriority(p core.Priority) error {
	if p > core.PriorityLow {
		return core.Errorf(core.CodeInvalid, "priority %d: allowed are 0 to %d", p, core.PriorityLow)
	}
	return nil
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	s = clean(s)
	return &s
}
