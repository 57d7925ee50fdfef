package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// Activate implements store.Lanes. Of two nodes that activate at once, the one that the database numbers
// higher is in force.
func (s *Store) Activate(ctx context.Context, set store.RouteSet) error {
	if !s.prepared.Load() {
		return s.notPrepared()
	}
	if _, err := s.lanesOf(ctx, set.Destinations); err != nil {
		return public(err)
	}
	return s.transact(ctx, func(t *tx) error {
		for _, p := range set.Signed {
			if err := t.exec("INSERT INTO signature_place (source, place, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
				clean(p.Source), clean(p.In), clean(p.Name)); err != nil {
				return err
			}
		}
		return t.exec(`INSERT INTO route_set (hash, text, routes, node, at, activation)
			VALUES ($1, $2, $3, $4, relais_now($5), nextval('activation_seq'))
			ON CONFLICT (hash) DO UPDATE SET text = excluded.text, routes = excluded.routes, node = excluded.node,
				at = excluded.at, activation = excluded.activation`,
			clean(set.Hash), set.Text, []byte(set.Routes), clean(set.Node), t.now)
	})
}

// Beat implements store.Lanes. It writes, so that its success says that outcomes can be written. While
// another node takes this one's deliveries over, it waits for that.
func (s *Store) Beat(ctx context.Context, node string, lease time.Duration) error {
	// A beat that comes late is worth less than the next one.
	ctx, cancel := context.WithTimeout(ctx, max(lease/3, time.Second))
	defer cancel()
	return s.transact(ctx, func(t *tx) error {
		return t.exec(`INSERT INTO node (name, since, beat, lease) VALUES ($1, relais_now($3), relais_now($3), $2)
			ON CONFLICT (name) DO UPDATE SET beat = relais_now($3), lease = excluded.lease`,
			clean(node), lease.Microseconds(), t.now)
	})
}

// readWork hops over the index from one lane and class to the next: each step is one look, whatever a lane
// has waiting. A lane is complete when the next one is found.
const readWork = `WITH RECURSIVE hop AS (
		(SELECT lane, class, due, 1 AS n FROM delivery WHERE state = 0 AND wait = 0 AND lane > $1 ORDER BY lane, class, due LIMIT 1)
		UNION ALL
		SELECT d.lane, d.class, d.due, h.n + (d.lane <> h.lane)::integer FROM hop h CROSS JOIN LATERAL (
			SELECT lane, class, due FROM delivery WHERE state = 0 AND wait = 0 AND (lane, class) > (h.lane, h.class)
			ORDER BY lane, class, due LIMIT 1) d WHERE h.n <= $2)
	SELECT l.id, l.tenant, l.kind, l.name, w.due, l.failures, l.rest_until, l.since,
		EXISTS (SELECT FROM pause p WHERE p.scope = 'all' OR (p.scope = l.kind AND p.name = l.name))
	FROM (SELECT lane, min(due) AS due FROM hop WHERE n <= $2 GROUP BY lane) w JOIN lane l ON l.id = ANY (ARRAY[w.lane]) ORDER BY w.lane`

// Work implements store.Lanes.
func (s *Store) Work(ctx context.Context, after store.LaneID, limit int) ([]store.LaneWork, error) {
	var work []store.LaneWork
	for len(work) < limit {
		page, last, more, err := s.workPage(ctx, after, limit-len(work))
		if err != nil {
			return nil, err
		}
		work = append(work, page...)
		if after = last; !more {
			break
		}
	}
	return work, nil
}

// workPage reads the next lanes with work, and returns those that aren't paused. There may be more after
// the last.
func (s *Store) workPage(ctx context.Context, after store.LaneID, limit int) (work []store.LaneWork, last store.LaneID, more bool, err error) {
	err = s.exchange(ctx, func(b *pgx.Batch) {
		b.Queue(steadyPlans)
		b.Queue(readWork, int64(after), limit)
	}, func(results pgx.BatchResults) error {
		if err := skip(results, 1); err != nil {
			return err
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		work, last = nil, after
		var w store.LaneWork
		var kind string
		var due, rest, since int64
		var paused bool
		n := 0
		_, err = pgx.ForEachRow(rows, []any{
			(*int64)(&w.Lane), &w.Destination.Tenant, &kind, &w.Destination.Name, &due, &w.Breaker.Failures, &rest, &since, &paused,
		}, func() error {
			n, last = n+1, w.Lane
			w.Destination.Kind = core.DestinationKind(kind)
			w.NextDue, w.Breaker.RestUntil, w.Breaker.Since = moment(due), moment(rest), moment(since)
			if !paused {
				work = append(work, w)
			}
			return nil
		})
		more = n == limit
		return err
	})
	return work, last, more, err
}

// SetBreaker implements store.Lanes.
func (s *Store) SetBreaker(ctx context.Context, id store.LaneID, b core.BreakerState) error {
	return s.transact(ctx, func(t *tx) error {
		n, err := t.affect("UPDATE lane SET failures = $2, rest_until = $3, since = $4 WHERE id = $1",
			int64(id), b.Failures, micros(b.RestUntil), micros(b.Since))
		if err == nil && n == 0 {
			return core.Errorf(core.CodeNotFound, "there is no lane %d", id)
		}
		return err
	})
}

// Recount implements store.Keeper. A count and the deliveries that it counts change in one transaction: where
// they differ in one snapshot the count is wrong, whatever goes on. Only those lanes are locked.
func (s *Store) Recount(ctx context.Context) error {
	return s.transact(ctx, func(t *tx) error {
		if err := t.exec(steadyPlans); err != nil {
			return err
		}
		rows, err := t.query(`SELECT id, -running::bigint FROM lane WHERE running <> 0
			UNION ALL SELECT lane, count(*) FROM delivery WHERE state = 1 GROUP BY lane`)
		if err != nil {
			return err
		}
		off := map[int64]int64{}
		var lane, n int64
		if _, err := pgx.ForEachRow(rows, []any{&lane, &n}, func() error {
			if off[lane] += n; off[lane] == 0 {
				delete(off, lane)
			}
			return nil
		}); err != nil || len(off) == 0 {
			return err
		}
		wrong := make([]int64, 0, len(off))
		for lane := range off {
			wrong = append(wrong, lane)
		}
		if err := t.lockLanes(wrong); err != nil {
			return err
		}
		return t.exec(`UPDATE lane l SET running = (SELECT count(*) FROM delivery d WHERE d.state = 1 AND d.lane = l.id)
			WHERE l.id = ANY($1::bigint[])`, wrong)
	})
}
