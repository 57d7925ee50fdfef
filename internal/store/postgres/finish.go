package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// The numbers of core's states in delivery.state.
const (
	statePending int16 = iota
	stateRunning
	stateSucceeded
	stateDead
	stateCancelled
)

// deliveryFields are the columns of delivery, as delivery_done has them too.
const deliveryFields = `id, event, event_day, event_seq, lane, source, state, wait, class, due, claim, attempts,
	interruptions, node, replay, route_set, created, finished, skipped, stops, order_key, from_step, reason, message`

// Finish implements store.Lanes. It is one round trip: the chains and the lanes are locked, in that order, and
// then two statements, one for what succeeded and one for the rest, write the outcomes of those deliveries that their
// holders still hold. What the locks waited for is committed, and those statements see it.
func (s *Store) Finish(ctx context.Context, outcomes []store.Outcome) ([]error, error) {
	if len(outcomes) == 0 {
		return nil, nil
	}
	w, err := newWritten(outcomes, s.retention.attemptsFirst.Load())
	if err != nil {
		return nil, err
	}
	now := s.given()
	if err := s.exchange(ctx, func(b *pgx.Batch) { w.queue(b, now) }, w.read); err != nil {
		return nil, err
	}
	results := make([]error, len(outcomes))
	var lost []int
	for i, n := range w.as {
		if !w.written[n] || string(outcomes[i].Verdict) != w.verdict[n] {
			results[i] = store.ErrLostClaim
			lost = append(lost, i)
		}
	}
	if len(lost) == 0 {
		return results, nil
	}
	known, err := s.recognize(ctx, outcomes, lost)
	if err != nil {
		return nil, err
	}
	for _, i := range known {
		results[i] = nil
	}
	return results, nil
}

// recognize returns those of the outcomes that weren't written because they were before: their commit's
// answer was lost, and they are sent again.
func (s *Store) recognize(ctx context.Context, outcomes []store.Outcome, lost []int) (known []int, err error) {
	ids := make([]int64, len(lost))
	for n, i := range lost {
		ids[n] = int64(outcomes[i].Holder.Delivery)
	}
	type tried struct {
		delivery      int64
		claim         int
		node, verdict string
	}
	written := map[tried]bool{}
	err = s.read(ctx, func(t *tx) error {
		rows, err := t.query("SELECT delivery, claim, node, verdict FROM every_attempt WHERE delivery = ANY($1::bigint[])", ids)
		if err != nil {
			return err
		}
		var a tried
		_, err = pgx.ForEachRow(rows, []any{&a.delivery, &a.claim, &a.node, &a.verdict}, func() error {
			written[a] = true
			return nil
		})
		return err
	})
	for _, i := range lost {
		o := &outcomes[i]
		if written[tried{int64(o.Holder.Delivery), o.Holder.Claim, clean(o.Holder.Node), string(o.Verdict)}] {
			known = append(known, i)
		}
	}
	return known, err
}

// writtenOutcomes are outcomes as a statement takes them: for each column an array. Of several for one claim
// the first is written.
type writtenOutcomes struct {
	as      []int    // for each outcome, which one is written for its claim
	written []bool   // for each of these
	verdict []string // of each of these

	succeeded succeeded
	at        []int // of each of the rest, its place among all that are written

	chains bool    // one may end that others wait for
	lanes  []int64 // each once; 0 where one isn't told

	ids, delays, started, durations                          column
	claims                                                   column
	states                                                   column
	counts, retries, returns, skips, stops                   column
	nodes, verdicts, reasons, messages, errReasons, errTexts column
	traces, doneSteps                                        column
	steps                                                    stepColumns
}

// ending is what a verdict makes of a delivery.
type ending struct {
	state                          int16
	counts, retry, returned, delay bool
}

func endingOf(v store.Verdict) (ending, error) {
	switch v {
	case store.VerdictSucceeded, store.VerdictSkipped:
		return ending{state: stateSucceeded, counts: true}, nil
	case store.VerdictDead:
		return ending{state: stateDead, counts: true}, nil
	case store.VerdictRetry:
		return ending{state: statePending, counts: true, retry: true, delay: true}, nil
	case store.VerdictDefer:
		return ending{state: statePending, delay: true}, nil
	case store.VerdictReturn:
		// A stop says nothing on whether the delivery is poison: what was counted stays counted.
		return ending{state: statePending, returned: true}, nil
	default:
		return ending{}, core.Errorf(core.CodeInvalid, "verdict %q is not one", v)
	}
}

// newWritten arranges outcomes; attemptsApart keeps each attempt in a row of its own.
func newWritten(outcomes []store.Outcome, attemptsApart bool) (*writtenOutcomes, error) {
	n := len(outcomes)
	w := &writtenOutcomes{as: make([]int, n), verdict: make([]string, 0, n)}
	w.succeeded.room(n)
	simple := !attemptsApart && !slices.ContainsFunc(outcomes, func(o store.Outcome) bool { return o.Lane == 0 })
	first := make(map[store.Holder]int, n)
	for i := range outcomes {
		o := &outcomes[i]
		end, err := endingOf(o.Verdict)
		if err != nil {
			return nil, err
		}
		place, twice := first[o.Holder]
		if !twice {
			place = len(w.verdict)
			first[o.Holder] = place
			w.verdict = append(w.verdict, string(o.Verdict))
			if !slices.Contains(w.lanes, int64(o.Lane)) {
				w.lanes = append(w.lanes, int64(o.Lane))
			}
			if !simple || !w.succeeded.add(o, place) {
				w.add(o, end, place)
			}
		}
		w.as[i] = place
	}
	w.written = make([]bool, len(w.verdict))
	return w, nil
}

func (w *writtenOutcomes) add(o *store.Outcome, end ending, place int) {
	if len(w.at) == 0 {
		w.room(cap(w.verdict) - place)
	}
	a := &o.Attempt
	var done []byte
	together := false
	if end.state == stateSucceeded {
		done, together = encodeSteps(o.Steps)
	}
	if !together {
		w.steps.add(len(w.at), o.Steps)
	}
	w.doneSteps.bytes(done)
	w.at = append(w.at, place)
	w.chains = w.chains || end.state > stateRunning && !o.Unordered
	w.ids.bigint(int64(o.Holder.Delivery))
	w.claims.integer(int32(o.Holder.Claim)) //nolint:gosec // a count
	w.nodes.text(clean(o.Holder.Node))
	w.states.smallint(end.state)
	w.counts.boolean(end.counts)
	w.retries.boolean(end.retry)
	w.returns.boolean(end.returned)
	w.skips.boolean(o.Verdict == store.VerdictSkipped)
	w.stops.boolean(end.state == stateDead && o.FIFOStop)
	delay := int64(0)
	if end.delay {
		delay = o.Delay.Microseconds()
	}
	w.delays.bigint(delay)
	w.reasons.text(clean(string(o.Reason)))
	w.messages.text(clean(o.Message))
	w.verdicts.text(string(o.Verdict))
	w.started.bigint(micros(a.Started))
	w.durations.bigint(int64(a.Duration))
	w.errReasons.text(clean(string(a.Reason)))
	w.errTexts.text(clean(a.Message))
	w.traces.bytes(a.Trace)
}

func (w *writtenOutcomes) room(n int) {
	room(n, 8, &w.ids, &w.delays, &w.started, &w.durations, &w.claims)
	room(n, 2, &w.states, &w.counts, &w.retries, &w.returns, &w.skips, &w.stops)
	room(n, 16, &w.nodes, &w.verdicts)
	room(n, 0, &w.reasons, &w.messages, &w.errReasons, &w.errTexts)
	room(n, 128, &w.traces)
}

// lockEndingChains locks the chains of deliveries, as takeChains does. (OFFSET 0 keeps the planner from going through
// all that is ordered.)
const lockEndingChains = `SELECT pg_advisory_xact_lock(l.number) FROM (
	SELECT DISTINCT ` + chainLock + ` AS number FROM (SELECT lane, order_key FROM delivery WHERE id = ANY($1::bigint[]) OFFSET 0) c
	WHERE c.order_key IS NOT NULL ORDER BY number) l`

const lockLanesOf = `SELECT FROM lane WHERE id = ANY(ARRAY(SELECT lane FROM delivery WHERE id = ANY($1::bigint[])))
	ORDER BY id FOR NO KEY UPDATE`

// finishHeld writes the outcomes whose claim is their delivery's newest and still runs. Ended deliveries
// leave the table; the first that waits behind one of them goes on. An outcome that isn't written is known if
// it was written before: its commit's answer was lost, and it is sent again. (state + 0 keeps the planner from
// looking through all that the node runs for each outcome; IS TRUE has it look steps up in a table of what is held,
// where a join would compare each with each.)
const finishHeld = `WITH clock AS MATERIALIZED (SELECT relais_now($1) AS now),
	o AS MATERIALIZED (
		SELECT * FROM unnest($2::bigint[], $3::integer[], $4::text[], $5::smallint[], $6::boolean[], $7::boolean[],
			$8::boolean[], $9::boolean[], $10::boolean[], $11::bigint[], $12::text[], $13::text[], $14::text[],
			$15::bigint[], $16::bigint[], $17::text[], $18::text[], $19::bytea[], $26::bytea[])
		WITH ORDINALITY AS u(id, claim, node, state, counts, retry, returned, skips, stops, delay, reason, message,
			verdict, started, duration, failed, failure, trace, steps, n)),
	ended AS (
		DELETE FROM delivery d USING o WHERE d.id = ANY (ARRAY[o.id]) AND d.claim = o.claim AND d.node = o.node AND d.state + 0 = 1
			AND o.state > 1 AND NOT (o.stops AND d.order_key IS NOT NULL)
		RETURNING d.*, o.n, o.state AS becomes, o.counts, o.skips, o.reason AS why, o.message AS says,
			o.started, o.duration, o.verdict, o.failed, o.failure, o.trace, o.steps),
	stays AS (
		UPDATE delivery d SET state = o.state, class = CASE WHEN o.retry THEN d.class | 1::smallint ELSE d.class END,
			due = clock.now + o.delay, finished = CASE WHEN o.state > 1 THEN clock.now ELSE 0 END,
			attempts = d.attempts + o.counts::integer, interruptions = CASE WHEN o.returned THEN d.interruptions ELSE 0 END,
			skipped = false, stops = o.state > 1, reason = nullif(o.reason, ''), message = nullif(o.message, '')
		FROM o CROSS JOIN clock WHERE d.id = ANY (ARRAY[o.id]) AND d.claim = o.claim AND d.node = o.node AND d.state + 0 = 1
			AND NOT (o.state > 1 AND NOT (o.stops AND d.order_key IS NOT NULL))
		RETURNING d.id, d.claim, d.lane, d.node, o.n, o.started, o.duration, o.verdict, o.failed, o.failure, o.trace),
	held AS (
		SELECT id, claim, lane, node, n, started, duration, verdict, failed, failure, trace FROM ended
		UNION ALL SELECT id, claim, lane, node, n, started, duration, verdict, failed, failure, trace FROM stays),
	done AS (
		INSERT INTO delivery_done (day, ` + deliveryFields + `, steps)
		SELECT clock.now / $20::bigint, e.id, e.event, e.event_day, e.event_seq, e.lane, e.source, e.becomes, e.wait, e.class,
			clock.now, e.claim, e.attempts + e.counts::integer, 0, e.node, e.replay, e.route_set, e.created, clock.now,
			e.skips, false, e.order_key, e.from_step, nullif(e.why, ''), nullif(e.says, ''), e.steps FROM ended e CROSS JOIN clock),
	heads AS MATERIALIZED (
		SELECT d.id FROM delivery d WHERE d.id = ANY (ARRAY(
			SELECT (SELECT n.id FROM delivery n WHERE n.lane = e.lane AND n.order_key = e.order_key AND n.id <> e.id
				AND (n.state < 2 OR n.stops) ORDER BY n.id LIMIT 1) FROM ended e WHERE e.order_key IS NOT NULL))
		AND d.wait & 1 = 1 ORDER BY d.id FOR NO KEY UPDATE),
	released AS (UPDATE delivery d SET wait = d.wait & ~1::smallint WHERE d.id = ANY (ARRAY(SELECT id FROM heads))),
	counted AS (
		UPDATE lane l SET running = l.running - c.count FROM (SELECT lane, count(*) FROM held GROUP BY lane) c
		WHERE l.id = ANY (ARRAY[c.lane])),
	tried AS (
		INSERT INTO attempt (day, delivery, claim, node, started, duration, verdict, reason, message, trace)
		SELECT clock.now / $20::bigint, id, claim, node, started, duration, verdict, nullif(failed, ''), nullif(failure, ''), trace
		FROM held CROSS JOIN clock),
	stepped AS (
		INSERT INTO step (delivery, step, definition, ordinal, result)
		SELECT ($2::bigint[])[s.n], s.step, s.definition,
			s.place + coalesce((SELECT max(b.ordinal) + 1 FROM step b WHERE b.delivery = ($2::bigint[])[s.n]), 0), s.result
		FROM unnest($21::integer[], $22::text[], $23::text[], $24::integer[], $25::bytea[]) s(n, step, definition, place, result)
		WHERE (s.n IN (SELECT n::integer FROM held)) IS TRUE
		ON CONFLICT (delivery, step) DO UPDATE SET definition = excluded.definition, result = excluded.result)
	SELECT n - 1 FROM held`

func (w *writtenOutcomes) queue(b *pgx.Batch, now *int64) {
	b.Queue(steadyPlans)
	if w.chains {
		b.Queue(lockEndingChains, &w.ids)
	}
	if slices.Contains(w.lanes, 0) {
		b.Queue(lockLanesOf, &w.ids)
	} else {
		b.Queue(takeLanes, w.lanes)
	}
	if len(w.succeeded.at) > 0 {
		w.succeeded.queue(b, now)
	}
	if len(w.at) > 0 {
		b.Queue(finishHeld, now, &w.ids, &w.claims, &w.nodes, &w.states, &w.counts, &w.retries, &w.returns, &w.skips, &w.stops,
			&w.delays, &w.reasons, &w.messages, &w.verdicts, &w.started, &w.durations, &w.errReasons, &w.errTexts, &w.traces,
			microsPerDay, w.steps.of, w.steps.names, w.steps.definitions, w.steps.places, w.steps.results, &w.doneSteps)
	}
}

// read notes which outcomes were written.
func (w *writtenOutcomes) read(answers pgx.BatchResults) error {
	locks := 2
	if w.chains {
		locks++
	}
	if err := skip(answers, locks); err != nil {
		return err
	}
	clear(w.written) // of a try that was rolled back
	for _, at := range [][]int{w.succeeded.at, w.at} {
		if len(at) == 0 {
			continue
		}
		rows, err := answers.Query()
		if err != nil {
			return err
		}
		var n int64
		if _, err := pgx.ForEachRow(rows, []any{&n}, func() error {
			w.written[at[n]] = true
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// moveDone moves ended deliveries, whose rows say already how they ended, out of the way of those that
// live. A dead one that stops its chain is not ended.
func (t *tx) moveDone(ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return t.exec(`WITH ended AS (DELETE FROM delivery WHERE id = ANY($1::bigint[]) RETURNING *)
		INSERT INTO delivery_done (day, `+deliveryFields+`)
		SELECT relais_now($2) / $3::bigint, `+deliveryFields+` FROM ended`, ids, t.now, microsPerDay)
}
