package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// An effect is changed by who holds its delivery. Both rows are locked, the delivery's first and the effect's
// next, and each is looked at by a statement that begins after the lock before it was given: so whoever takes
// the delivery over, or holds another one and comes to the same effect, comes before or after, never between.
//
// That another delivery no longer holds the effect needs no lock on that one: a claim that has ended doesn't
// run again.

const effectColumns = `e.key, e.kind, e.state, e.delivery, e.claim, e.node, e.opened, e.sent, e.done, e.absent, e.result,
	e.message, e.resolved_by`

// scanEffect reads effectColumns, and what was selected after them into more.
func scanEffect(row pgx.Row, more ...any) (store.Effect, error) {
	var e store.Effect
	var state string
	var opened, sent, done, absent int64
	into := append(make([]any, 0, 13+len(more)), &e.Key, &e.Kind, &state, (*int64)(&e.Holder.Delivery), &e.Holder.Claim, &e.Holder.Node,
		&opened, &sent, &done, &absent, (*[]byte)(&e.Result), &e.Message, &e.ResolvedBy)
	if err := row.Scan(append(into, more...)...); err != nil {
		return e, err
	}
	e.State = store.EffectState(state)
	e.OpenedAt, e.SentAt, e.DoneAt, e.AbsentAt = moment(opened), moment(sent), moment(done), moment(absent)
	return e, nil
}

// standing is where an effect stands: locked, with whether who asks holds its delivery, and whether the
// effect's holder still holds its own.
type standing struct {
	effect      store.Effect
	found       bool
	asks, holds bool
	now         int64
}

// lockEffect locks the holder's delivery and the effect, which it makes at need where open is given.
func (t *tx) lockEffect(key string, h store.Holder, open *store.OpenEffect) (*standing, error) {
	st := &standing{}
	err := t.send(func(b *pgx.Batch) {
		b.Queue(steadyPlans)
		b.Queue(holding, int64(h.Delivery), h.Claim, clean(h.Node))
		if open != nil {
			b.Queue(`INSERT INTO effect (key, kind, state, delivery, claim, node, opened, sent, done, absent, message, resolved_by)
				SELECT $4, $5, 'open', id, $2, $3, relais_now($6), 0, 0, 0, '', '' FROM (`+holding+`) held
				ON CONFLICT (key) DO NOTHING`, int64(h.Delivery), h.Claim, clean(h.Node), key, clean(open.Kind), t.now)
		}
		b.Queue("SELECT FROM effect WHERE key = $1 FOR UPDATE", key)
		b.Queue(readStanding, key, t.now)
	}, func(results pgx.BatchResults) error {
		if err := skip(results, 1); err != nil {
			return err
		}
		tag, err := results.Exec()
		if err != nil {
			return err
		}
		st.asks = tag.RowsAffected() == 1
		if open != nil {
			if err := skip(results, 1); err != nil {
				return err
			}
		}
		if err := skip(results, 1); err != nil {
			return err
		}
		return st.read(results.QueryRow())
	})
	return st, err
}

const readStanding = `SELECT ` + effectColumns + `, relais_now($2), EXISTS (SELECT FROM delivery d
	WHERE d.id = e.delivery AND d.claim = e.claim AND d.node = e.node AND d.state + 0 = 1) FROM effect e WHERE e.key = $1`

func (st *standing) read(row pgx.Row) (err error) {
	st.effect, err = scanEffect(row, &st.now, &st.holds)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	st.found = err == nil
	st.effect.Now = moment(st.now)
	return err
}

// OpenEffect implements store.Ledger.
func (s *Store) OpenEffect(ctx context.Context, p store.OpenEffect) (store.Effect, error) {
	var e store.Effect
	err := s.transact(ctx, func(t *tx) error {
		key, err := keyOf(p.Key)
		if err != nil {
			return err
		}
		st, err := t.lockEffect(key, p.Holder, &p)
		e = st.effect
		switch {
		case err != nil:
			return err
		case !st.asks || !st.found:
			return store.ErrLostClaim
		case e.Holder == p.Holder:
			return nil
		case st.holds && e.Holder.Delivery != p.Holder.Delivery:
			e.Held = true
			return nil
		}
		e.Holder = p.Holder
		return t.writeEffect(&e)
	})
	return e, err
}

// AdvanceEffect implements store.Ledger.
func (s *Store) AdvanceEffect(ctx context.Context, p store.AdvanceEffect) (store.Effect, error) {
	var e store.Effect
	err := s.transact(ctx, func(t *tx) error {
		key, err := keyOf(p.Key)
		if err != nil {
			return err
		}
		st, err := t.lockEffect(key, p.Holder, nil)
		e = st.effect
		switch {
		case err != nil:
			return err
		case !st.found:
			return core.Errorf(core.CodeNotFound, "there is no effect %s", p.Key)
		case !st.asks || e.Holder.Delivery != p.Holder.Delivery || e.Holder.Claim != p.Holder.Claim:
			return store.ErrLostClaim
		}
		p.Message = clean(p.Message)
		changed, err := e.Advance(p)
		if err != nil || !changed {
			return err
		}
		return t.writeEffect(&e)
	})
	return e, err
}

// keyOf refuses a key that can't be kept as it is: two keys made one would be one effect.
func keyOf(key string) (string, error) {
	if clean(key) != key {
		return "", core.Errorf(core.CodeInvalid, "the effect's key %q isn't text", key)
	}
	return key, nil
}

// writeEffect writes an effect that is there and locked.
func (t *tx) writeEffect(e *store.Effect) error {
	return t.exec(`UPDATE effect SET state = $2, delivery = $3, claim = $4, node = $5, sent = $6, done = $7, absent = $8,
		result = $9, message = $10, resolved_by = $11 WHERE key = $1`,
		e.Key, string(e.State), int64(e.Holder.Delivery), e.Holder.Claim, clean(e.Holder.Node), micros(e.SentAt),
		micros(e.DoneAt), micros(e.AbsentAt), []byte(e.Result), e.Message, e.ResolvedBy)
}

// ResolveEffect implements store.Ledger.
func (s *Store) ResolveEffect(ctx context.Context, p store.ResolveEffect) (store.Effect, error) {
	if err := p.Check(); err != nil {
		return store.Effect{}, err
	}
	var e store.Effect
	err := s.transact(ctx, func(t *tx) error {
		st := &standing{}
		err := t.send(func(b *pgx.Batch) {
			b.Queue("SELECT FROM effect WHERE key = $1 FOR UPDATE", clean(p.Key))
			b.Queue(readStanding, clean(p.Key), t.now)
		}, func(results pgx.BatchResults) error {
			if err := skip(results, 1); err != nil {
				return err
			}
			return st.read(results.QueryRow())
		})
		if err != nil {
			return err
		}
		if e = st.effect; !st.found {
			return core.Errorf(core.CodeNotFound, "there is no effect %s", p.Key)
		}
		state, claim, err := t.stands(e.Holder.Delivery)
		if err != nil {
			return err
		}
		p.By = clean(p.By)
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

// Effect implements store.Reader.
func (s *Store) Effect(ctx context.Context, key string) (store.Effect, error) {
	st := &standing{}
	err := s.read(ctx, func(t *tx) error { return st.read(t.row(readStanding, clean(key), t.now)) })
	if err == nil && !st.found {
		err = core.Errorf(core.CodeNotFound, "there is no effect %s", key)
	}
	return st.effect, err
}

// Effects implements store.Reader.
func (s *Store) Effects(ctx context.Context, f store.EffectFilter) ([]store.Effect, error) {
	var effects []store.Effect
	err := s.read(ctx, func(t *tx) error {
		sql := "SELECT " + effectColumns + ", relais_now($1) FROM effect e WHERE e.key > $2 AND e.key >= $3 AND e.key < $4"
		args := []any{t.now, clean(f.After), clean(f.Key), clean(f.Key) + "\U0010FFFF", pageOf(f.Limit)}
		if f.State != "" {
			// The index of the undecided is found only where the text names them.
			if sql += " AND e.state = $6"; f.State != store.EffectDone {
				sql += " AND e.state <> 'done'"
			}
			args = append(args, clean(string(f.State)))
		}
		rows, err := t.query(sql+" ORDER BY e.key LIMIT $5", args...)
		if err != nil {
			return err
		}
		effects, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Effect, error) {
			var now int64
			e, err := scanEffect(row, &now)
			e.Now = moment(now)
			return e, err
		})
		return err
	})
	return effects, err
}

// stands tells where the delivery that an effect names stands; one that has ended for good is as good as
// cancelled.
func (t *tx) stands(id core.DeliveryID) (core.State, int, error) {
	state, claim := stateCancelled, 0
	err := t.row("SELECT state, claim FROM delivery WHERE id = $1", int64(id)).Scan(&state, &claim)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return stateNames[state], claim, err
}
