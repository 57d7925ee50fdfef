package storetest

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"relais/internal/core"
	"relais/internal/store"
)

// holds tells whether an effect's holder is a claim that still runs.
func (m *model) holds(h store.Holder) bool {
	for _, c := range m.claims {
		if c.holder == h {
			return c.newest()
		}
	}
	return false
}

func (m *model) openEffect() {
	c, key := m.anyClaim(), pick(m, modelEffects, "key")
	got, err := m.OpenEffect(m.t.Context(), store.OpenEffect{Key: key, Kind: "sellsy/invoice", Holder: c.holder})
	if !c.newest() {
		if !errors.Is(err, store.ErrLostClaim) {
			m.t.Fatalf("the older claim %+v opens %s: %v", c.holder, key, err)
		}
		return
	}
	m.must(err)
	e := m.effects[key]
	switch {
	case e == nil:
		e = &store.Effect{Key: key, Kind: "sellsy/invoice", State: store.EffectOpen, Holder: c.holder, OpenedAt: m.clock.Now()}
		m.effects[key] = e
	case e.Holder.Delivery != c.holder.Delivery && m.holds(e.Holder):
		if !got.Held {
			m.t.Fatalf("%+v is given %s, which %+v holds", c.holder, key, e.Holder)
		}
	default:
		e.Holder = c.holder
	}
	if held := e.Holder != c.holder; got.Held != held {
		m.t.Fatalf("%s is held by another for %+v: %t, want %t", key, c.holder, got.Held, held)
	}
	m.t.Logf("%+v opens %s: %s of %+v", c.holder, key, e.State, e.Holder)
	m.sameEffect(e, got)
}

func (m *model) sameEffect(want *store.Effect, got store.Effect) {
	m.t.Helper()
	if diff := gocmp.Diff(*want, got, emptyIsNil, asStored); diff != "" {
		m.t.Fatalf("%s differs (-want +got):\n%s", want.Key, diff)
	}
	if !got.Now.Equal(m.clock.Now()) {
		m.t.Fatalf("%s was read at %s, want %s", want.Key, got.Now, m.clock.Now())
	}
}

// modelMoves are what is done to effects. The last ones must always be refused: done stays done.
var modelMoves = []store.AdvanceEffect{
	{From: store.EffectOpen, To: store.EffectSent},
	{From: store.EffectSent, To: store.EffectSent, NoteAbsent: true},
	{From: store.EffectSent, To: store.EffectOpen},
	{From: store.EffectSent, To: store.EffectUnknown, Message: "look"},
	{From: store.EffectSent, To: store.EffectSent},
	{From: store.EffectSent, To: store.EffectDone, Result: json.RawMessage(`{"id":7}`)},
	{From: store.EffectOpen, To: store.EffectDone, Result: json.RawMessage(`{"id":8}`)},
	{From: store.EffectDone, To: store.EffectOpen},
	{From: store.EffectDone, To: store.EffectSent},
	{From: store.EffectDone, To: store.EffectDone, Result: json.RawMessage(`{"id":9}`)},
}

func (m *model) moveEffect() {
	key, c, moves := pick(m, modelEffects, "key"), m.anyClaim(), modelMoves
	if e := m.effects[key]; e != nil && !m.once(4, "by anyone") {
		c = m.holder(e, c)
		moves = slices.DeleteFunc(slices.Clone(moves), func(p store.AdvanceEffect) bool { return p.From != e.State })
	}
	if len(moves) == 0 {
		moves = modelMoves // nothing goes on from here
	}
	p := pick(m, moves, "move")
	p.Key, p.Holder = key, c.holder
	m.move(c, p)
	if m.once(2, "sent again") {
		m.pass(time.Second) // as after an answer that was lost
		m.move(c, p)
	}
}

func (m *model) move(c *modelClaim, p store.AdvanceEffect) {
	m.t.Helper()
	got, err := m.AdvanceEffect(m.t.Context(), p)
	e := m.effects[p.Key]
	if e == nil {
		m.wantCode(err, core.CodeNotFound)
		return
	}
	lost, code := m.moved(e, c, p)
	m.t.Logf("%+v moves %s from %s to %s: %v, now %s", c.holder, p.Key, p.From, p.To, err, e.State)
	if lost {
		if !errors.Is(err, store.ErrLostClaim) {
			m.t.Fatalf("%+v moves %s of %+v from %s to %s: %v", c.holder, p.Key, e.Holder, p.From, p.To, err)
		}
		return
	}
	m.wantCode(err, code)
	if err == nil {
		m.sameEffect(e, got)
	}
}

// holder finds the claim that an effect belongs to, or else takes the other.
func (m *model) holder(e *store.Effect, other *modelClaim) *modelClaim {
	for _, c := range m.claims {
		if c.holder == e.Holder {
			return c
		}
	}
	return other
}

// moved moves an effect in the model, or says why it can't be.
func (m *model) moved(e *store.Effect, c *modelClaim, p store.AdvanceEffect) (lost bool, code core.Code) {
	now := m.clock.Now()
	switch {
	case !c.newest() || e.Holder != c.holder:
		return true, ""
	case e.State == p.To && p.From != p.To:
		return false, "" // the same call, sent again
	case e.State != p.From || e.State == store.EffectDone:
		return false, core.CodeConflict
	case p.NoteAbsent:
		if e.AbsentAt.IsZero() {
			e.AbsentAt = now
		}
		return false, ""
	}
	set(e, p.To, p.Result, p.Message, now)
	return false, ""
}

func set(e *store.Effect, to store.EffectState, result json.RawMessage, message string, now time.Time) {
	e.State, e.Message, e.ResolvedBy = to, message, ""
	switch to {
	case store.EffectOpen:
		e.SentAt, e.AbsentAt, e.DoneAt = time.Time{}, time.Time{}, time.Time{}
	case store.EffectSent:
		e.SentAt, e.AbsentAt = now, time.Time{}
	case store.EffectDone:
		e.DoneAt, e.Result = now, result
	case store.EffectUnknown:
	}
}

// resolveEffect is a person's word: refused while relais will know better.
func (m *model) resolveEffect() {
	p := store.ResolveEffect{Key: pick(m, modelEffects, "key"), By: "anne", Absent: m.once(2, "absent")}
	to := store.EffectOpen
	if !p.Absent {
		p.Done, to = json.RawMessage(`{"id":42}`), store.EffectDone
	}
	got, err := m.ResolveEffect(m.t.Context(), p)
	e := m.effects[p.Key]
	switch {
	case e == nil:
		m.wantCode(err, core.CodeNotFound)
		return
	case e.State == store.EffectDone, m.holds(e.Holder), p.Absent && e.State == store.EffectSent && m.looksFor(e):
		m.wantCode(err, core.CodeConflict)
		return
	}
	m.must(err)
	set(e, to, p.Done, "", m.clock.Now())
	e.ResolvedBy = p.By
	m.sameEffect(e, got)
}

// looksFor tells whether the delivery that sent an effect is still to look for it.
func (m *model) looksFor(e *store.Effect) bool {
	for _, d := range m.deliveries {
		if d.want.ID == e.Holder.Delivery {
			return d.live()
		}
	}
	return false
}
