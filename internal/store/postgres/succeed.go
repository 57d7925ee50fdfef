package postgres

import (
	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// succeeded are the outcomes that nearly all are: of deliveries that nothing waits for, of one node, which succeeded
// with nothing to say. A statement of their own writes them, which does less for each than finishHeld: all of them end,
// and their attempt and their last steps go into the row of delivery_done that is written anyway.
type succeeded struct {
	node                    string
	at                      []int // of each, its place among all that are written
	ids, started, durations column
	claims, places          column
	traces, steps           column
}

func (s *succeeded) room(n int) {
	room(n, 8, &s.ids, &s.started, &s.durations, &s.claims, &s.places)
	room(n, 128, &s.traces, &s.steps)
}

// add takes an outcome that is one of these; at is its place among all.
func (s *succeeded) add(o *store.Outcome, at int) (taken bool) {
	a := &o.Attempt
	if o.Verdict != store.VerdictSucceeded || !o.Unordered || o.Lane == 0 || o.Reason != core.ReasonNone || o.Message != "" ||
		a.Reason != core.ReasonNone || a.Message != "" || len(s.at) > 0 && s.node != clean(o.Holder.Node) {
		return false
	}
	steps, ok := encodeSteps(o.Steps)
	if !ok {
		return false
	}
	s.node = clean(o.Holder.Node)
	s.places.integer(int32(len(s.at))) //nolint:gosec // of a batch
	s.at = append(s.at, at)
	s.ids.bigint(int64(o.Holder.Delivery))
	s.claims.integer(int32(o.Holder.Claim)) //nolint:gosec // a count
	s.started.bigint(micros(a.Started))
	s.durations.bigint(int64(a.Duration))
	s.traces.bytes(a.Trace)
	s.steps.bytes(steps)
	return true
}

// finishSucceeded is finishHeld for these.
const finishSucceeded = `WITH clock AS MATERIALIZED (SELECT relais_now($1) AS now),
	ended AS (
		DELETE FROM delivery d USING (SELECT unnest($3::bigint[]) AS id, unnest($4::integer[]) AS claim, unnest($5::bigint[]) AS started,
			unnest($6::bigint[]) AS duration, unnest($7::bytea[]) AS trace, unnest($8::bytea[]) AS steps, unnest($9::integer[]) AS n) o
		WHERE d.id = ANY (ARRAY[o.id]) AND d.claim = o.claim AND d.node = $2 AND d.state + 0 = 1
		RETURNING d.*, o.started, o.duration, o.trace, o.steps, o.n),
	done AS (
		INSERT INTO delivery_done (day, ` + deliveryFields + `, steps, started, duration, trace)
		SELECT clock.now / $10::bigint, e.id, e.event, e.event_day, e.event_seq, e.lane, e.source, 2, e.wait, e.class,
			clock.now, e.claim, e.attempts + 1, 0, e.node, e.replay, e.route_set, e.created, clock.now,
			false, false, e.order_key, e.from_step, NULL, NULL, e.steps, e.started, e.duration, e.trace
		FROM ended e CROSS JOIN clock),
	counted AS (
		UPDATE lane l SET running = l.running - c.count FROM (SELECT lane, count(*) FROM ended GROUP BY lane) c
		WHERE l.id = ANY (ARRAY[c.lane]))
	SELECT n FROM ended`

func (s *succeeded) queue(b *pgx.Batch, now *int64) {
	b.Queue(finishSucceeded, now, s.node, &s.ids, &s.claims, &s.started, &s.durations, &s.traces, &s.steps, &s.places, microsPerDay)
}
