package sqlite

import (
	"context"

	"relais/internal/core"
	"relais/internal/store"
)

const selectEffect = `SELECT key, kind, state, delivery, claim, node, opened, sent, done, absent, result, message, resolved_by FROM effect`

func scanEffect(q *stmt, now int64) store.Effect {
	return store.Effect{
		Key: q.colText(0), Kind: q.colText(1), State: store.EffectState(q.colText(2)),
		Holder:   store.Holder{Delivery: core.DeliveryID(q.colInt(3)), Claim: int(q.colInt(4)), Node: q.colText(5)},
		OpenedAt: moment(q.colInt(6)), SentAt: moment(q.colInt(7)), DoneAt: moment(q.colInt(8)), AbsentAt: moment(q.colInt(9)),
		Result: q.colBytes(10), Message: q.colText(11), ResolvedBy: q.colText(12), Now: moment(now),
	}
}

func readEffect(c *conn, key string, now int64) (e store.Effect, found bool, err error) {
	q := c.q(selectEffect + " WHERE key = ?").text(key)
	if found = q.next(); found {
		e = scanEffect(q, now)
	}
	return e, found, q.end()
}

// OpenEffect implements store.Ledger.
func (s *Store) OpenEffect(ctx context.Context, p store.OpenEffect) (store.Effect, error) {
	var e store.Effect
	err := s.do(ctx, outcome, func(t *tx) error {
		_, holds, err := t.hold(p.Holder)
		if err != nil {
			return err
		}
		if !holds {
			return store.ErrLostClaim
		}
		var found bool
		if e, found, err = readEffect(t.c, p.Key, t.now); err != nil {
			return err
		}
		if !found {
			e = store.Effect{Key: p.Key, Kind: p.Kind, State: store.EffectOpen, Holder: p.Holder, OpenedAt: moment(t.now), Now: moment(t.now)}
			return t.writeEffect(&e)
		}
		if e.Holder == p.Holder {
			return nil
		}
		if e.Holder.Delivery != p.Holder.Delivery {
			if _, e.Held, err = t.hold(e.Holder); err != nil || e.Held {
				return err
			}
		}
		e.Holder = p.Holder
		return t.writeEffect(&e)
	})
	return e, err
}

// AdvanceEffect implements store.Ledger.
func (s *Store) AdvanceEffect(ctx context.Context, p store.AdvanceEffect) (store.Effect, error) {
	var e store.Effect
	err := s.do(ctx, outcome, func(t *tx) error {
		_, holds, err := t.hold(p.Holder)
		if err != nil {
			return err
		}
		var found bool
		if e, found, err = readEffect(t.c, p.Key, t.now); err != nil {
			return err
		}
		switch {
		case !found:
			return core.Errorf(core.CodeNotFound, "there is no effect %s", p.Key)
		case !holds || e.Holder.Delivery != p.Holder.Delivery || e.Holder.Claim != p.Holder.Claim:
			return store.ErrLostClaim
		}
		changed, err := e.Advance(p)
		if err != nil || !changed {
			return err
		}
		return t.writeEffect(&e)
	})
	return e, err
}

// ResolveEffect implements store.Ledger.
func (s *Store) ResolveEffect(ctx context.Context, p store.ResolveEffect) (store.Effect, error) {
	if err := p.Check(); err != nil {
		return store.Effect{}, err
	}
	var e store.Effect
	err := s.do(ctx, outcome, func(t *tx) error {
		var found bool
		var err error
		if e, found, err = readEffect(t.c, p.Key, t.now); err != nil {
			return err
		}
		if !found {
			return core.Errorf(core.CodeNotFound, "there is no effect %s", p.Key)
		}
		state, claim, err := t.stands(e.Holder.Delivery)
		if err != nil {
			return err
		}
		said, err := e.Resolve(p, state, claim)
		if err != nil {
			return err
		}
		if err := t.writeEffect(&e); err != nil {
			return err
		}
		return t.audit(p.By, "resolve", "effect:"+p.Key, said)
	})
	return e, err
}

func (t *tx) writeEffect(e *store.Effect) error {
	return t.c.q(`INSERT OR REPLACE INTO effect (key, kind, state, delivery, claim, node, opened, sent, done, absent,
		result, message, resolved_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`).
		text(e.Key).text(e.Kind).text(string(e.State)).int(int64(e.Holder.Delivery)).int(int64(e.Holder.Claim)).
		text(e.Holder.Node).int(micros(e.OpenedAt)).int(micros(e.SentAt)).int(micros(e.DoneAt)).int(micros(e.AbsentAt)).
		blob(e.Result).text(e.Message).text(e.ResolvedBy).exec()
}

// Effect implements store.Reader.
func (s *Store) Effect(ctx context.Context, key string) (store.Effect, error) {
	var e store.Effect
	err := s.read(ctx, func(c *conn) error {
		var found bool
		var err error
		if e, found, err = readEffect(c, key, micros(s.now())); err == nil && !found {
			err = core.Errorf(core.CodeNotFound, "there is no effect %s", key)
		}
		return err
	})
	return e, err
}

// Effects implements store.Reader.
func (s *Store) Effects(ctx context.Context, f store.EffectFilter) ([]store.Effect, error) {
	var effects []store.Effect
	now := micros(s.now())
	err := s.read(ctx, func(c *conn) error {
		sql := selectEffect + " WHERE key > ?1 AND (?2 = '' OR (key >= ?2 AND key < ?3))"
		if f.State != "" {
			sql += " AND state = ?5"
			if f.State != store.EffectDone {
				sql += " AND state <> 'done'"
			}
		}
		q := c.q(sql + " ORDER BY key LIMIT ?4").text(max(f.After, "")).text(f.Key).text(f.Key + "\U0010FFFF").int(pageOf(f.Limit))
		if f.State != "" {
			q.text(string(f.State))
		}
		for q.next() {
			effects = append(effects, scanEffect(q, now))
		}
		return q.end()
	})
	return effects, err
}

// stands tells where the delivery that an effect names stands; one that is gone is as good as cancelled.
func (t *tx) stands(id core.DeliveryID) (state core.State, claim int, err error) {
	q := t.c.q("SELECT state, claim FROM delivery WHERE id = ?").int(int64(id))
	state = core.StateCancelled
	if q.next() {
		state, claim = stateNames[q.colInt(0)], int(q.colInt(1))
	}
	return state, claim, q.end()
}
