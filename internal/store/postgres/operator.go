package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// Here events are locked before the chains of their deliveries, and these before the deliveries: nobody
// who holds a chain asks for an event.

// Replay implements store.Operator.
func (s *Store) Replay(ctx context.Context, p store.ReplayParams) (store.Replayed, error) {
	destinations := make([]core.Destination, len(p.Deliveries))
	for i := range p.Deliveries {
		destinations[i] = p.Deliveries[i].Destination
	}
	lanes, err := s.lanesOf(ctx, destinations)
	if err != nil {
		return store.Replayed{}, public(err)
	}
	var made store.Replayed
	err = s.transact(ctx, func(t *tx) error {
		made = store.Replayed{}
		if err := t.row("SELECT nextval('replay_seq')").Scan(&made.Replay); err != nil {
			return err
		}
		rows, err := t.replayRows(p.Deliveries, made.Replay)
		if err != nil {
			return err
		}
		if err := t.takePlaces(p.Deliveries, rows, lanes); err != nil {
			return err
		}
		ids, err := t.insertDeliveries(rows)
		if err != nil {
			return err
		}
		for i, id := range ids {
			if id == 0 {
				r := &p.Deliveries[i]
				return core.Errorf(core.CodeInvalid, "event %s is replayed twice for %s in one replay", r.Event, r.Destination)
			}
			made.Deliveries = append(made.Deliveries, core.DeliveryID(id))
		}
		if err := t.keepSteps(p.Deliveries, ids); err != nil {
			return err
		}
		return t.audit(p.By, "replay", fmt.Sprintf("replay:%d", made.Replay), fmt.Sprintf("%d deliveries", len(made.Deliveries)))
	})
	if err != nil {
		return store.Replayed{}, err
	}
	return made, nil
}

// replayRows makes the deliveries of a replay. Their events are locked against a purge.
func (t *tx) replayRows(deliveries []store.NewReplay, number int64) ([]newRow, error) {
	ids := make([]core.EventID, len(deliveries))
	for i := range deliveries {
		ids[i] = deliveries[i].Event
	}
	events, err := t.lockEvents(ids, "KEY SHARE")
	if err != nil {
		return nil, err
	}
	if err := t.keepEvents(ids); err != nil {
		return nil, err
	}
	rows := make([]newRow, len(deliveries))
	for i := range deliveries {
		r := &deliveries[i]
		e, found := events[r.Event]
		if !found {
			return nil, core.Errorf(core.CodeNotFound, "there is no event %s", r.Event)
		}
		rows[i] = newRow{
			event: r.Event, eventDay: e.day, eventSeq: e.seq, source: e.source, destination: r.Destination,
			priority: r.Priority, ordered: r.Ordered, orderKey: r.OrderKey,
			routeSet: r.RouteSet, replay: number, fromStep: r.FromStep,
		}
	}
	return rows, nil
}

// lockedEvent is where an event stands.
type lockedEvent struct {
	day    int32
	seq    int64
	source string
}

// lockEvents finds events and locks their rows, in the order of their ids.
func (t *tx) lockEvents(ids []core.EventID, strength string) (map[core.EventID]lockedEvent, error) {
	events := make(map[core.EventID]lockedEvent, len(ids))
	for _, table := range [...]string{"event", "event_kept"} {
		rows, err := t.query("SELECT id, day, seq, source FROM "+table+" WHERE id = ANY($1::uuid[]) ORDER BY id FOR "+strength, uuids(ids))
		if err != nil {
			return nil, err
		}
		var id core.EventID
		var e lockedEvent
		if _, err := pgx.ForEachRow(rows, []any{(*[16]byte)(&id), &e.day, &e.seq, &e.source}, func() error {
			events[id] = e
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func uuids(ids []core.EventID) [][16]byte {
	list := make([][16]byte, len(ids))
	for i, id := range ids {
		list[i] = id
	}
	return list
}

// keepEvents moves events of past days to where no partition is dropped under them: retention, which may
// have looked already at who needs that day, sees nothing of this transaction.
func (t *tx) keepEvents(ids []core.EventID) error {
	return t.exec(`WITH moved AS (DELETE FROM event WHERE id = ANY($1::uuid[]) AND day < relais_now($2) / $3::bigint RETURNING `+eventFields+`)
		INSERT INTO event_kept (`+eventFields+`) SELECT `+eventFields+` FROM moved`, uuids(ids), t.now, microsPerDay)
}

// stopping is a dead delivery that stops its chain.
type stopping struct {
	id int64
	chain
}

// takePlaces puts each replay where the dead delivery that it replays stops its chain. Where a replay isn't
// of that chain any more, because the configuration changed, the next of the chain goes on.
func (t *tx) takePlaces(deliveries []store.NewReplay, rows []newRow, lanes map[core.Destination]int64) error {
	var of []int64
	var chains []chain
	for i := range deliveries {
		if deliveries[i].Of != 0 {
			of = append(of, int64(deliveries[i].Of))
		}
		if rows[i].ordered {
			chains = append(chains, chain{lanes[rows[i].destination], rows[i].orderKey})
		}
	}
	heads, err := t.stopping(of, "")
	if err != nil {
		return err
	}
	if len(heads) == 0 {
		return nil
	}
	for _, h := range heads {
		chains = append(chains, h.chain)
	}
	if err := t.lockChains(chains); err != nil {
		return err
	}
	if heads, err = t.stopping(of, " ORDER BY id FOR UPDATE"); err != nil {
		return err
	}
	var ended []int64
	var released []chain
	for i := range deliveries {
		h, stops := heads[int64(deliveries[i].Of)]
		if !stops || h.lane != lanes[rows[i].destination] {
			continue
		}
		delete(heads, h.id)
		ended = append(ended, h.id)
		if rows[i].first = rows[i].ordered && rows[i].orderKey == h.key; !rows[i].first {
			released = append(released, h.chain)
		}
	}
	if err := t.exec("UPDATE delivery SET stops = false WHERE id = ANY($1::bigint[])", ended); err != nil {
		return err
	}
	if err := t.moveDone(ended); err != nil {
		return err
	}
	return t.releaseChains(released)
}

func (t *tx) stopping(ids []int64, lock string) (map[int64]stopping, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := t.query("SELECT id, lane, coalesce(order_key, '') FROM delivery WHERE id = ANY($1::bigint[]) AND stops"+lock, ids)
	if err != nil {
		return nil, err
	}
	heads := map[int64]stopping{}
	var h stopping
	var key []byte
	_, err = pgx.ForEachRow(rows, []any{&h.id, &h.lane, &key}, func() error {
		h.key = string(key)
		heads[h.id] = h
		return nil
	})
	return heads, err
}

// releaseChains makes the next of each chain its head. The caller holds the chains.
func (t *tx) releaseChains(chains []chain) error {
	slices.SortFunc(chains, func(a, b chain) int { return cmp.Or(cmp.Compare(a.lane, b.lane), cmp.Compare(a.key, b.key)) })
	for _, c := range slices.Compact(chains) {
		if err := t.releaseNext(c); err != nil {
			return err
		}
	}
	return nil
}

// keepSteps copies, for each replay that starts at a step, the steps that finished before it.
func (t *tx) keepSteps(deliveries []store.NewReplay, ids []int64) error {
	var of []int64
	for i := range deliveries {
		if r := &deliveries[i]; r.Of != 0 && r.FromStep != "" {
			of = append(of, int64(r.Of))
		}
	}
	if len(of) == 0 {
		return nil
	}
	made, err := t.stepsOf(of)
	if err != nil {
		return err
	}
	var to []int64
	var kept stepColumns
	for i := range deliveries {
		r := &deliveries[i]
		if r.Of == 0 || r.FromStep == "" {
			continue
		}
		before := made[int64(r.Of)]
		if from := slices.IndexFunc(before, func(s store.StepResult) bool { return s.Step == clean(r.FromStep) }); from >= 0 {
			before = before[:from]
		}
		kept.add(len(to), before)
		to = append(to, ids[i])
	}
	return t.exec(`INSERT INTO step (delivery, step, definition, ordinal, result)
		SELECT ($1::bigint[])[s.n], s.step, s.definition, s.place, s.result
		FROM unnest($2::integer[], $3::text[], $4::text[], $5::integer[], $6::bytea[]) s(n, step, definition, place, result)`,
		to, kept.of, kept.names, kept.definitions, kept.places, kept.results)
}

// Cancel implements store.Operator. A dead delivery that stops its order key can be cancelled too: what
// waits behind it goes on.
func (s *Store) Cancel(ctx context.Context, ids []core.DeliveryID, by string) (int, error) {
	numbers := make([]int64, len(ids))
	for i, id := range ids {
		numbers[i] = int64(id)
	}
	cancelled := 0
	err := s.transact(ctx, func(t *tx) error {
		var err error
		if cancelled, err = t.cancel(numbers, by); err != nil || cancelled == 0 {
			return err
		}
		return t.audit(by, "cancel", fmt.Sprintf("%d deliveries", cancelled), fmt.Sprint(ids))
	})
	if err != nil {
		return 0, err
	}
	return cancelled, nil
}

// cancel ends those of the deliveries that wait or stop their chain, and tells how many.
func (t *tx) cancel(ids []int64, by string) (int, error) {
	const waiting = "FROM delivery WHERE id = ANY($1::bigint[]) AND (state = 0 OR stops)"
	rows, err := t.query("SELECT DISTINCT lane, order_key "+waiting+" AND order_key IS NOT NULL", ids)
	if err != nil {
		return 0, err
	}
	var chains []chain
	var c chain
	var key []byte
	if _, err := pgx.ForEachRow(rows, []any{&c.lane, &key}, func() error {
		c.key = string(key)
		chains = append(chains, c)
		return nil
	}); err != nil {
		return 0, err
	}
	if err := t.lockChains(chains); err != nil {
		return 0, err
	}
	rows, err = t.query("SELECT id "+waiting+" ORDER BY id FOR UPDATE", ids)
	if err != nil {
		return 0, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(found) == 0 {
		return 0, err
	}
	if err := t.exec(`UPDATE delivery SET state = 4, wait = 0, stops = false, finished = relais_now($2), reason = $3, message = $4
		WHERE id = ANY($1::bigint[])`, found, t.now, string(core.ReasonCancelled), clean("cancelled by "+by)); err != nil {
		return 0, err
	}
	if err := t.moveDone(found); err != nil {
		return 0, err
	}
	return len(found), t.releaseChains(chains)
}
