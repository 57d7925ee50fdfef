package sqlite

import (
	"context"
	"math"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// pausedPerClaim bounds how many deliveries of paused sources a claim puts aside for one lane.
const pausedPerClaim = 256

// Claim implements store.Lanes.
func (s *Store) Claim(ctx context.Context, p store.ClaimParams) ([]store.Claimed, error) {
	var claimed []store.Claimed
	err := s.do(ctx, claiming, func(t *tx) error {
		claimed = nil
		life, err := t.life(p.Node)
		if err != nil {
			return err
		}
		for _, room := range p.Lanes {
			left := p.Max - len(claimed)
			if left <= 0 {
				return nil
			}
			if claimed, err = t.claimLane(claimed, room, left, life); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

func (t *tx) claimLane(claimed []store.Claimed, room store.LaneRoom, left int, life int64) ([]store.Claimed, error) {
	l := t.m.byID[int64(room.Lane)]
	if l == nil || t.m.paused(l.destination) {
		return claimed, nil
	}
	n := min(room.Max, left)
	if room.Window > 0 {
		n = min(n, room.Window-l.running)
	}
	if n <= 0 {
		return claimed, nil
	}
	if room.Rate > 0 {
		t.refill(l, room)
		n = min(n, int(l.tokens))
	}
	if n <= 0 {
		return claimed, nil
	}
	ids, err := t.choose(l, n)
	if err != nil || len(ids) == 0 {
		return claimed, err
	}
	for _, id := range ids {
		c, err := t.take(l, id, life)
		if err != nil {
			return claimed, err
		}
		claimed = append(claimed, c)
	}
	t.m.addRunning(l, len(ids))
	t.m.pending -= int64(len(ids))
	if room.Rate > 0 {
		t.m.setTokens(l, l.tokens-float64(len(ids)), t.now)
		return claimed, t.c.q("UPDATE lane SET tokens = ?, tokens_at = ? WHERE id = ?").
			real(l.tokens).int(l.tokensAt).int(l.id).exec()
	}
	return claimed, nil
}

// refill gives the lane the tokens of the time since it was last asked. A lane that was never limited
// starts with its burst.
func (t *tx) refill(l *lane, room store.LaneRoom) {
	burst := math.Max(float64(room.Burst), 1)
	tokens := burst
	if l.tokensAt > 0 {
		past := time.Duration(t.now-l.tokensAt) * time.Microsecond
		tokens = math.Min(burst, l.tokens+math.Max(past.Seconds(), 0)*room.Rate)
	}
	t.m.setTokens(l, tokens, t.now)
}

// choose picks up to n due deliveries of a lane, shared among its classes. It reads n rows of the index
// for each class that has any, whatever waits behind them.
func (t *tx) choose(l *lane, n int) ([]int64, error) {
	var waiting [core.Classes][]int64
	var counts [core.Classes]int
	for class := int64(0); class < core.Classes; class++ {
		q := t.c.q(`SELECT class, due FROM delivery WHERE state = 0 AND wait = 0 AND lane = ? AND class >= ?
			ORDER BY class, due LIMIT 1`).int(l.id).int(class)
		due := int64(math.MaxInt64)
		class = core.Classes
		if q.next() {
			class, due = q.colInt(0), q.colInt(1)
		}
		if err := q.end(); err != nil {
			return nil, err
		}
		if due > t.now || class >= core.Classes {
			continue
		}
		ids, err := t.due(l, class, n)
		if err != nil {
			return nil, err
		}
		waiting[class], counts[class] = ids, len(ids)
	}
	var chosen []int64
	for class, share := range core.SharePriorities(n, counts) {
		chosen = append(chosen, waiting[class][:share]...)
	}
	return chosen, nil
}

// due reads the first n due deliveries of a class. Those of a paused source are put aside on the way:
// a pause costs nothing for what nobody claims.
func (t *tx) due(l *lane, class int64, n int) ([]int64, error) {
	ids := make([]int64, 0, n)
	for aside := 0; aside < pausedPerClaim; {
		var paused []int64
		q := t.c.q(`SELECT d.id, d.source FROM delivery d
			WHERE d.state = 0 AND d.wait = 0 AND d.lane = ? AND d.class = ? AND d.due <= ? ORDER BY d.due, d.id LIMIT ?`).
			int(l.id).int(class).int(t.now).int(int64(n))
		ids = ids[:0]
		for q.next() {
			if t.m.sourceIDPaused(q.colInt(1)) {
				paused = append(paused, q.colInt(0))
				continue
			}
			ids = append(ids, q.colInt(0))
		}
		if err := q.end(); err != nil {
			return nil, err
		}
		if len(paused) == 0 {
			break
		}
		for _, id := range paused {
			if err := t.c.q("UPDATE delivery SET wait = wait | 2 WHERE id = ?").int(id).exec(); err != nil {
				return nil, err
			}
		}
		aside += len(paused)
	}
	return ids, nil
}

func (m *memory) sourceIDPaused(source int64) bool {
	if len(m.pauses) == 0 {
		return false
	}
	for key := range m.pauses {
		if key.scope == store.PauseSource && m.names[key.name] == source {
			return true
		}
	}
	return false
}

// take makes a chosen delivery running, and loads what its attempt needs.
func (t *tx) take(l *lane, id int64, life int64) (store.Claimed, error) {
	c := store.Claimed{Lane: store.LaneID(l.id)}
	if err := t.c.q("UPDATE delivery SET state = 1, claim = claim + 1, life = ? WHERE id = ?").
		int(life).int(id).exec(); err != nil {
		return c, err
	}
	q := t.c.q(selectDelivery + " WHERE d.id = ?").int(id)
	if q.next() {
		c.Delivery = scanDelivery(q)
	}
	if err := q.end(); err != nil {
		return c, err
	}
	q = t.c.q(selectEvent + " WHERE e.seq = ?").int(c.Delivery.EventSeq)
	if q.next() {
		c.Event = scanEvent(q, true)
	}
	if err := q.end(); err != nil {
		return c, err
	}
	if c.Delivery.Claim == 1 && c.Delivery.Replay == 0 {
		return c, nil // nothing can have been saved
	}
	var err error
	c.Steps, err = readSteps(t.c, id)
	return c, err
}
