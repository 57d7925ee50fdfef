package sqlite

import (
	"context"
	"fmt"

	"relais/internal/core"
	"relais/internal/store"
)

// Replay implements store.Operator.
func (s *Store) Replay(ctx context.Context, p store.ReplayParams) (store.Replayed, error) {
	var made store.Replayed
	err := s.do(ctx, outcome, func(t *tx) error {
		made = store.Replayed{Replay: t.m.replay + 1}
		t.m.replay++
		for i := range p.Deliveries {
			id, err := t.replay(&p.Deliveries[i], made.Replay)
			if err != nil {
				return err
			}
			made.Deliveries = append(made.Deliveries, id)
		}
		return t.audit(p.By, "replay", fmt.Sprintf("replay:%d", made.Replay), fmt.Sprintf("%d deliveries", len(made.Deliveries)))
	})
	if err != nil {
		return store.Replayed{}, err
	}
	return made, nil
}

func (t *tx) replay(r *store.NewReplay, number int64) (core.DeliveryID, error) {
	q := t.c.q("SELECT e.seq, e.source, s.text FROM event e JOIN name s ON s.id = e.source WHERE e.id = ?").blob(r.Event[:])
	row := newRow{
		destination: r.Destination, priority: r.Priority, ordered: r.Ordered, orderKey: r.OrderKey,
		replay: number, fromStep: r.FromStep,
	}
	if q.next() {
		row.event, row.source, row.sourceName = q.colInt(0), q.colInt(1), q.colText(2)
	}
	if err := q.end(); err != nil {
		return 0, err
	}
	if row.event == 0 {
		return 0, core.Errorf(core.CodeNotFound, "there is no event %s", r.Event)
	}
	var err error
	if row.routeSet, err = t.routeSet(r.RouteSet); err != nil {
		return 0, err
	}
	if row.first, err = t.takePlace(r); err != nil {
		return 0, err
	}
	id, err := t.insertDelivery(row)
	if err != nil {
		return 0, err
	}
	if id == 0 {
		return 0, core.Errorf(core.CodeInvalid, "event %s is replayed twice for %s in one replay", r.Event, r.Destination)
	}
	if r.Of != 0 && r.FromStep != "" {
		err = t.keepSteps(int64(r.Of), id, r.FromStep)
	}
	return core.DeliveryID(id), err
}

// takePlace puts a replay where the dead delivery that it replays stops its chain. Where the replay isn't
// of that chain any more, because the configuration changed, the next of the chain goes on.
func (t *tx) takePlace(r *store.NewReplay) (bool, error) {
	if r.Of == 0 {
		return false, nil
	}
	l, err := t.lane(r.Destination)
	if err != nil {
		return false, err
	}
	q := t.c.q("SELECT order_key FROM delivery WHERE id = ? AND stops = 1 AND lane = ?").int(int64(r.Of)).int(l.id)
	stops, key := q.next(), ""
	if stops {
		key = q.colText(0)
	}
	if err := q.end(); err != nil || !stops {
		return false, err
	}
	if err := t.c.q("UPDATE delivery SET stops = 0 WHERE id = ?").int(int64(r.Of)).exec(); err != nil {
		return false, err
	}
	if r.Ordered && r.OrderKey == key {
		return true, nil
	}
	return false, t.releaseNext(l.id, key)
}

// keepSteps copies the steps that finished before the one that the replay starts at.
func (t *tx) keepSteps(of, id int64, from string) error {
	return t.c.q(`INSERT INTO step (delivery, step, definition, ordinal, result)
		SELECT ?2, step, definition, ordinal, result FROM step WHERE delivery = ?1 AND step <> ?3
		AND ordinal < ifnull((SELECT ordinal FROM step WHERE delivery = ?1 AND step = ?3), 9223372036854775807)`).
		int(of).int(id).text(from).exec()
}

// Cancel implements store.Operator. A dead delivery that stops its order key can be cancelled too: what
// waits behind it goes on.
func (s *Store) Cancel(ctx context.Context, ids []core.DeliveryID, by string) (int, error) {
	cancelled := 0
	err := s.do(ctx, outcome, func(t *tx) error {
		cancelled = 0
		for _, id := range ids {
			done, err := t.cancel(int64(id), by)
			if err != nil {
				return err
			}
			if done {
				cancelled++
			}
		}
		if cancelled == 0 {
			return nil
		}
		return t.audit(by, "cancel", fmt.Sprintf("%d deliveries", cancelled), fmt.Sprint(ids))
	})
	return cancelled, err
}

func (t *tx) cancel(id int64, by string) (bool, error) {
	q := t.c.q("SELECT lane, order_key IS NOT NULL AND wait & 1 = 0, order_key, state FROM delivery WHERE id = ? AND (state = 0 OR stops = 1)").int(id)
	found := q.next()
	var lane, state int64
	var head bool
	var key string
	if found {
		lane, head, key, state = q.colInt(0), q.colInt(1) != 0, q.colText(2), q.colInt(3)
	}
	if err := q.end(); err != nil || !found {
		return false, err
	}
	if err := t.c.q("UPDATE delivery SET state = 4, wait = 0, stops = 0, finished = ?, reason = ?, message = ? WHERE id = ?").
		int(t.now).text(string(core.ReasonCancelled)).text("cancelled by " + by).int(id).exec(); err != nil {
		return false, err
	}
	if state == stateDead {
		t.m.dead--
	} else {
		t.m.pending--
	}
	if head {
		return true, t.releaseNext(lane, key)
	}
	return true, nil
}
