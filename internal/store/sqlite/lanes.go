package sqlite

import (
	"context"
	"math"
	"slices"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Activate implements store.Lanes.
func (s *Store) Activate(ctx context.Context, set store.RouteSet) error {
	return s.do(ctx, outcome, func(t *tx) error {
		id, err := t.routeSet(set.Hash)
		if err != nil {
			return err
		}
		if err := t.c.q("UPDATE route_set SET text = ?, routes = ?, node = ?, at = ? WHERE id = ?").
			blob(set.Text).blob(set.Routes).text(set.Node).int(t.now).int(id).exec(); err != nil {
			return err
		}
		for _, d := range set.Destinations {
			if _, err := t.lane(d); err != nil {
				return err
			}
		}
		t.m.routeSet = id
		for _, p := range set.Signed {
			if err := t.c.q("INSERT INTO signature_place (source, place, name) VALUES (?, ?, ?) ON CONFLICT DO NOTHING").
				text(p.Source).text(p.In).text(p.Name).exec(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Beat implements store.Lanes. It writes, so that its success says that outcomes can be written.
func (s *Store) Beat(ctx context.Context, node string, lease time.Duration) error {
	return s.do(ctx, outcome, func(t *tx) error {
		life, err := t.life(node)
		if err != nil {
			return err
		}
		return t.c.q("UPDATE life SET beat = ?, lease = ? WHERE id = ?").
			int(t.now).int(lease.Microseconds()).int(life).exec()
	})
}

// TakeOver implements store.Lanes. The folder's lock proves that every other node, and every earlier life
// of this one, is dead: no lease is waited for.
func (s *Store) TakeOver(ctx context.Context, p store.TakeOverParams) (store.TakenOver, error) {
	var taken store.TakenOver
	err := s.do(ctx, outcome, func(t *tx) error {
		taken = store.TakenOver{}
		life, err := t.life(p.Node)
		if err != nil {
			return err
		}
		var ids []int64
		q := t.c.q("SELECT id, life FROM delivery WHERE state = 1")
		for q.next() {
			id := q.colInt(0)
			if q.colInt(1) != life || !slices.Contains(p.Held, core.DeliveryID(id)) {
				ids = append(ids, id)
			}
		}
		if err := q.end(); err != nil {
			return err
		}
		for _, id := range ids {
			dead, err := t.interrupt(id, p)
			if err != nil {
				return err
			}
			if dead != nil {
				taken.Dead = append(taken.Dead, *dead)
			} else {
				taken.Returned++
			}
		}
		return nil
	})
	return taken, err
}

// interrupt gives a running delivery back, or ends it when it was interrupted too often. One that may
// have done something in another system says so either way: it isn't to be dropped as too old before
// that is looked up, nor to die without telling what to look at.
func (t *tx) interrupt(id int64, p store.TakeOverParams) (dead *core.Delivery, err error) {
	q := t.c.q(`SELECT lane, interruptions, order_key IS NOT NULL, order_key,
		(SELECT key FROM effect WHERE state = 'sent' AND state <> 'done' AND delivery = d.id LIMIT 1) FROM delivery d WHERE id = ?`).int(id)
	var row held
	var sent string
	if q.next() {
		row = held{lane: t.m.byID[q.colInt(0)], interruptions: q.colInt(1) + 1, ordered: q.colInt(2) != 0, orderKey: q.colText(3)}
		sent = q.colText(4)
	}
	if err := q.end(); err != nil {
		return nil, err
	}
	t.m.addRunning(row.lane, -1)
	dies, stops := p.Ends(int(row.interruptions), row.ordered, row.lane.destination)
	if !dies {
		t.m.pending++
		reason := core.ReasonNone
		if sent != "" {
			reason = core.ReasonUnknown
		}
		return nil, t.c.q("UPDATE delivery SET state = 0, due = ?, interruptions = ?, reason = ifnull(?, reason) WHERE id = ?").
			int(t.now).int(row.interruptions).textOrNull(string(reason)).int(id).exec()
	}
	message := "relais stopped each time it tried this delivery"
	if sent != "" {
		message += "; the effect " + sent + " was sent, and what became of it isn't known: a replay looks for it first"
	}
	t.m.dead++
	if err := t.c.q("UPDATE delivery SET state = 3, finished = ?, interruptions = ?, stops = ?, reason = ?, message = ? WHERE id = ?").
		int(t.now).int(row.interruptions).bool(stops).text(string(core.ReasonInterrupted)).text(message).int(id).exec(); err != nil {
		return nil, err
	}
	if row.ordered && !stops {
		if err := t.releaseNext(row.lane.id, row.orderKey); err != nil {
			return nil, err
		}
	}
	q = t.c.q(selectDelivery + " WHERE d.id = ?").int(id)
	if q.next() {
		d := scanDelivery(q)
		dead = &d
	}
	return dead, q.end()
}

// Work implements store.Lanes. Each step is one look into the index, whatever a lane has waiting.
func (s *Store) Work(ctx context.Context, after store.LaneID, limit int) ([]store.LaneWork, error) {
	var work []store.LaneWork
	err := s.read(ctx, func(c *conn) error {
		paused, err := readPaused(c)
		if err != nil || paused[pauseKey{store.PauseAll, ""}] {
			return err
		}
		for next := int64(after); len(work) < limit; {
			w, found, err := firstWork(c, next)
			if err != nil || !found {
				return err
			}
			next = int64(w.Lane)
			if !paused[scopeOf(w.Destination)] {
				work = append(work, w)
			}
		}
		return nil
	})
	return work, err
}

func readPaused(c *conn) (map[pauseKey]bool, error) {
	paused := map[pauseKey]bool{}
	q := c.q("SELECT scope, name FROM pause")
	for q.next() {
		paused[pauseKey{store.PauseScope(q.colText(0)), q.colText(1)}] = true
	}
	return paused, q.end()
}

func scopeOf(d core.Destination) pauseKey {
	if d.Kind == core.DestinationEndpoint {
		return pauseKey{store.PauseEndpoint, d.Name}
	}
	return pauseKey{store.PauseRoute, d.Name}
}

// firstWork finds the first lane after the given one that has anything to claim, and when its first
// delivery is due.
func firstWork(c *conn, after int64) (w store.LaneWork, found bool, err error) {
	lane, class, due := int64(0), int64(0), int64(math.MaxInt64)
	q := c.q("SELECT lane FROM delivery WHERE state = 0 AND wait = 0 AND lane > ? ORDER BY lane LIMIT 1").int(after)
	if found = q.next(); found {
		lane = q.colInt(0)
	}
	if err := q.end(); err != nil || !found {
		return w, false, err
	}
	for class < core.Classes {
		q := c.q(`SELECT class, due FROM delivery WHERE state = 0 AND wait = 0 AND lane = ? AND class >= ?
			ORDER BY class, due LIMIT 1`).int(lane).int(class)
		class = core.Classes
		if q.next() {
			class, due = q.colInt(0)+1, min(due, q.colInt(1))
		}
		if err := q.end(); err != nil {
			return w, false, err
		}
	}
	q = c.q(`SELECT n.text, l.kind, l.name, l.failures, l.rest_until, l.since
		FROM lane l JOIN name n ON n.id = l.tenant WHERE l.id = ?`).int(lane)
	w = store.LaneWork{Lane: store.LaneID(lane), NextDue: moment(due)}
	if q.next() {
		w.Destination = core.Destination{Tenant: q.colText(0), Kind: core.DestinationKind(q.colText(1)), Name: q.colText(2)}
		w.Breaker = core.BreakerState{Failures: int(q.colInt(3)), RestUntil: moment(q.colInt(4)), Since: moment(q.colInt(5))}
	}
	return w, true, q.end()
}

// SetBreaker implements store.Lanes.
func (s *Store) SetBreaker(ctx context.Context, id store.LaneID, b core.BreakerState) error {
	return s.do(ctx, outcome, func(t *tx) error {
		if t.m.byID[int64(id)] == nil {
			return core.Errorf(core.CodeNotFound, "there is no lane %d", id)
		}
		return t.c.q("UPDATE lane SET failures = ?, rest_until = ?, since = ? WHERE id = ?").
			int(int64(b.Failures)).int(micros(b.RestUntil)).int(micros(b.Since)).int(int64(id)).exec()
	})
}

// Recount implements store.Keeper.
func (s *Store) Recount(ctx context.Context) error {
	return s.do(ctx, housekeeping, func(t *tx) error {
		counts := map[int64]int{}
		q := t.c.q("SELECT lane, count(*) FROM delivery WHERE state = 1 GROUP BY lane")
		for q.next() {
			counts[q.colInt(0)] = int(q.colInt(1))
		}
		if err := q.end(); err != nil {
			return err
		}
		for id, l := range t.m.byID {
			if wrong := counts[id] - l.running; wrong != 0 {
				t.m.addRunning(l, wrong)
			}
		}
		return nil
	})
}
