package sqlite

import (
	"context"
	"encoding/json"

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
		case p.NoteAbsent:
			if e.State != p.From {
				return wrongState(&e, p.From)
			}
			if !e.AbsentAt.IsZero() {
				return nil
			}
			e.AbsentAt = moment(t.now)
			return t.writeEffect(&e)
		case e.State == p.To && p.From != p.To:
			return nil // done before, by a call whose outcome was unknown
		case e.State == store.EffectDone:
			return core.Errorf(core.CodeConflict, "the effect %s is done, and stays done", p.Key)
		case e.State != p.From:
			return wrongState(&e, p.From)
		}
		t.advance(&e, p.To, p.Result, p.Message)
		return t.writeEffect(&e)
	})
	return e, err
}

func wrongState(e *store.Effect, want store.EffectState) error {
	return core.Errorf(core.CodeConflict, "the effect %s is %s, not %s", e.Key, e.State, want)
}

// advance puts an effect into a state, with the stamps that belong to it.
func (t *tx) advance(e *store.Effect, to store.EffectState, result json.RawMessage, message string) {
	e.State, e.Message, e.ResolvedBy = to, message, ""
	now := moment(t.now)
	switch to {
	case store.EffectOpen:
		e.SentAt, e.AbsentAt, e.DoneAt = moment(0), moment(0), moment(0)
	case store.EffectSent:
		e.SentAt, e.AbsentAt = now, moment(0)
	case store.EffectDone:
		e.DoneAt, e.Result = now, result
	case store.EffectUnknown:
	}
}

// ResolveEffect implements store.Ledger.
func (s *Store) ResolveEffect(ctx context.Context, p store.ResolveEffect) (store.Effect, error) {
	if p.Absent == (p.Done != nil) {
		return store.Effect{}, core.Errorf(core.CodeInvalid, "an effect is resolved either as done or as absent")
	}
	if p.By == "" {
		return store.Effect{}, core.Errorf(core.CodeInvalid, "who resolves the effect must be said")
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
		if e.State == store.EffectDone {
			return core.Errorf(core.CodeConflict, "the effect %s is done already", p.Key)
		}
		if err := t.resolvable(&e, p.Absent); err != nil {
			return err
		}
		to, said := store.EffectDone, "done "+string(p.Done)
		if p.Absent {
			to, said = store.EffectOpen, "absent"
		}
		t.advance(&e, to, p.Done, "")
		e.ResolvedBy = p.By
		if err := t.writeEffect(&e); err != nil {
			return err
		}
		return t.audit(p.By, "resolve", "effect:"+p.Key, said)
	})
	return e, err
}

// resolvable refuses a person's word where relais will know better: while a delivery is at the effect, and,
// for "absent", while the delivery that sent it is still to look for it: what was sent may appear late.
func (t *tx) resolvable(e *store.Effect, absent bool) error {
	q := t.c.q("SELECT state, claim FROM delivery WHERE id = ?").int(int64(e.Holder.Delivery))
	state, claim := int64(stateCancelled), int64(0)
	if q.next() {
		state, claim = q.colInt(0), q.colInt(1)
	}
	if err := q.end(); err != nil {
		return err
	}
	switch {
	case state == stateRunning && claim == int64(e.Holder.Claim):
		return core.Errorf(core.CodeConflict, "delivery %s is at the effect %s right now", e.Holder.Delivery, e.Key)
	case absent && e.State == store.EffectSent && (state == statePending || state == stateRunning):
		return core.Errorf(core.CodeConflict, "delivery %[1]s sent the effect %[2]s and will look for it by itself: wait until it ended, or cancel it first", e.Holder.Delivery, e.Key)
	}
	return nil
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
