package storetest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

var ledgerTests = map[string]func(*testing.T, *bench){
	"an effect goes from open over sent to done":                    effectGoesOn,
	"an effect that another running delivery holds is held":         effectIsHeld,
	"a finished holder lets go, a newer claim takes over":           effectChangesHands,
	"only the holder of the newest claim moves an effect":           lostHolderMovesNothing,
	"a move that is sent again is accepted, another one isn't":      movesAreIdempotent,
	"an absence is stamped once, and reopening forgets it":          absenceIsStamped,
	"a person ends what can't be decided":                           effectIsResolved,
	"nobody calls absent what its delivery still looks for":         effectIsNotAbsentTooSoon,
	"effects are listed by key, prefix and state":                   effectsAreListed,
	"an effect outlives its event's retention":                      effectOutlives,
	"two deliveries at the same effect at once: one of them has it": effectRace,
	"what is done stays done":                                       doneStays,
	"what relais does after a person's word isn't the person's":     doneAfterAbsent,
}

const key = "default/compta/invoice/estimate/1"

// running sends an event for the route and claims its delivery.
func (b *bench) running(name string) store.Claimed {
	b.t.Helper()
	b.send(b.event(route(name)))
	return b.claimOne()
}

func (b *bench) openEffect(c store.Claimed) store.Effect {
	b.t.Helper()
	e, err := b.OpenEffect(b.ctx(), store.OpenEffect{Key: key, Kind: "sellsy/invoice", Holder: holder(c)})
	b.must(err)
	return e
}

func (b *bench) move(c store.Claimed, from, to store.EffectState) (store.Effect, error) {
	b.t.Helper()
	return b.AdvanceEffect(b.ctx(), store.AdvanceEffect{
		Key: key, Holder: holder(c), From: from, To: to, Result: json.RawMessage(`{"id":7}`), Message: "m",
	})
}

func effectGoesOn(t *testing.T, b *bench) {
	c := b.running("facture")
	e := b.openEffect(c)
	if e.State != store.EffectOpen || e.Held || !e.OpenedAt.Equal(b.clock.Now()) || e.Holder != holder(c) || e.Kind != "sellsy/invoice" {
		t.Fatalf("opened as %+v", e)
	}
	b.advance(time.Second)
	e, err := b.move(c, store.EffectOpen, store.EffectSent)
	b.must(err)
	if e.State != store.EffectSent || !e.SentAt.Equal(b.clock.Now()) || !e.Now.Equal(b.clock.Now()) {
		t.Fatalf("sent as %+v", e)
	}
	b.restart()
	b.advance(time.Second)
	b.takeOver()
	c = b.claimOne()
	e = b.openEffect(c)
	if e.State != store.EffectSent || !e.SentAt.Equal(b.clock.Now().Add(-time.Second)) || e.Held {
		t.Fatalf("after a restart it is %+v", e)
	}
	e, err = b.move(c, store.EffectSent, store.EffectDone)
	b.must(err)
	if e.State != store.EffectDone || !e.DoneAt.Equal(b.clock.Now()) || string(e.Result) != `{"id":7}` {
		t.Fatalf("done as %+v", e)
	}
	stored, err := b.Effect(b.ctx(), key)
	b.must(err)
	if stored.State != store.EffectDone || string(stored.Result) != `{"id":7}` || stored.Message != "m" {
		t.Errorf("stored as %+v", stored)
	}
}

func effectIsHeld(t *testing.T, b *bench) {
	first, second := b.running("facture"), b.running("avoir")
	b.openEffect(first)
	e := b.openEffect(second)
	if !e.Held || e.Holder != holder(first) {
		t.Fatalf("for the second it is %+v", e)
	}
	if _, err := b.move(second, store.EffectOpen, store.EffectSent); !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("the second may send: %v", err)
	}
	if e = b.openEffect(first); e.Held {
		t.Error("the holder is kept out itself")
	}
}

func effectChangesHands(t *testing.T, b *bench) {
	first, second := b.running("facture"), b.running("avoir")
	b.openEffect(first)
	b.must(b.finish(b.outcome(first, store.VerdictRetry)))
	if e := b.openEffect(second); e.Held || e.Holder != holder(second) {
		t.Fatalf("after the first's end it is %+v", e)
	}
	first = b.claimOne()
	if e := b.openEffect(first); !e.Held {
		t.Fatalf("for the first, claimed again, it is %+v", e)
	}
}

func lostHolderMovesNothing(t *testing.T, b *bench) {
	old := b.running("facture")
	b.openEffect(old)
	b.must(b.finish(b.outcome(old, store.VerdictReturn)))
	if _, err := b.move(old, store.EffectOpen, store.EffectSent); !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("without a claim: %v", err)
	}
	now := b.claimOne()
	if _, err := b.move(now, store.EffectOpen, store.EffectSent); !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("before opening it: %v", err)
	}
	b.openEffect(now)
	if _, err := b.move(old, store.EffectOpen, store.EffectSent); !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("the older claim: %v", err)
	}
	if _, err := b.OpenEffect(b.ctx(), store.OpenEffect{Key: key, Holder: holder(old)}); !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("the older claim opens: %v", err)
	}
	e, err := b.Effect(b.ctx(), key)
	b.must(err)
	if e.State != store.EffectOpen {
		t.Errorf("it is %s", e.State)
	}
}

func movesAreIdempotent(t *testing.T, b *bench) {
	c := b.running("facture")
	b.openEffect(c)
	sent, err := b.move(c, store.EffectOpen, store.EffectSent)
	b.must(err)
	b.advance(time.Second)
	again, err := b.move(c, store.EffectOpen, store.EffectSent)
	b.must(err)
	if !again.SentAt.Equal(sent.SentAt) {
		t.Error("the second call stamped it anew")
	}
	_, err = b.move(c, store.EffectUnknown, store.EffectDone)
	b.wantCode(err, core.CodeConflict)
	_, err = b.AdvanceEffect(b.ctx(), store.AdvanceEffect{Key: "none", Holder: holder(c), From: store.EffectOpen, To: store.EffectSent})
	b.wantCode(err, core.CodeNotFound)
}

func absenceIsStamped(t *testing.T, b *bench) {
	c := b.running("facture")
	b.openEffect(c)
	_, err := b.move(c, store.EffectOpen, store.EffectSent)
	b.must(err)
	b.advance(2 * time.Minute)
	first := b.clock.Now()
	for range 2 {
		e, err := b.AdvanceEffect(b.ctx(), store.AdvanceEffect{Key: key, Holder: holder(c), From: store.EffectSent, To: store.EffectSent, NoteAbsent: true})
		b.must(err)
		if e.State != store.EffectSent || !e.AbsentAt.Equal(first) {
			t.Fatalf("noted as %+v", e)
		}
		b.advance(30 * time.Second)
	}
	e, err := b.move(c, store.EffectSent, store.EffectOpen)
	b.must(err)
	if e.State != store.EffectOpen || !e.AbsentAt.IsZero() || !e.SentAt.IsZero() {
		t.Errorf("reopened as %+v", e)
	}
}

func effectIsResolved(t *testing.T, b *bench) {
	for _, absent := range []bool{true, false} {
		c := b.running("facture")
		b.openEffect(c)
		_, err := b.move(c, store.EffectOpen, store.EffectSent)
		b.must(err)
		p := store.ResolveEffect{Key: key, Absent: absent, By: "anne"}
		if !absent {
			p.Done = json.RawMessage(`{"id":42}`)
		}
		_, err = b.ResolveEffect(b.ctx(), p)
		b.wantCode(err, core.CodeConflict) // its delivery is at it
		_, err = b.move(c, store.EffectSent, store.EffectUnknown)
		b.must(err)
		b.must(b.finish(b.outcome(c, store.VerdictDead)))
		e, err := b.ResolveEffect(b.ctx(), p)
		b.must(err)
		want := store.EffectDone
		if absent {
			want = store.EffectOpen
		}
		if e.State != want || e.ResolvedBy != "anne" || (!absent && string(e.Result) != `{"id":42}`) {
			t.Errorf("resolved as %+v", e)
		}
	}
	_, err := b.ResolveEffect(b.ctx(), store.ResolveEffect{Key: key, Absent: true, By: "anne"})
	b.wantCode(err, core.CodeConflict)
	_, err = b.ResolveEffect(b.ctx(), store.ResolveEffect{Key: "none", Absent: true, By: "anne"})
	b.wantCode(err, core.CodeNotFound)
	_, err = b.ResolveEffect(b.ctx(), store.ResolveEffect{Key: key, By: "anne"})
	b.wantCode(err, core.CodeInvalid)
}

func effectIsNotAbsentTooSoon(t *testing.T, b *bench) {
	c := b.running("facture")
	b.openEffect(c)
	_, err := b.move(c, store.EffectOpen, store.EffectSent)
	b.must(err)
	o := b.outcome(c, store.VerdictRetry)
	o.Delay = 2 * time.Minute
	b.must(b.finish(o))
	absent := store.ResolveEffect{Key: key, Absent: true, By: "anne"}
	_, err = b.ResolveEffect(b.ctx(), absent)
	b.wantCode(err, core.CodeConflict) // what was sent may still appear, and the delivery looks for it
	if e, err := b.Effect(b.ctx(), key); err != nil || e.State != store.EffectSent {
		t.Errorf("the effect is %+v, %v", e, err)
	}
	n, err := b.Cancel(b.ctx(), []core.DeliveryID{c.Delivery.ID}, "anne")
	if err != nil || n != 1 {
		t.Fatalf("%d cancelled, %v", n, err)
	}
	if e, err := b.ResolveEffect(b.ctx(), absent); err != nil || e.State != store.EffectOpen {
		t.Errorf("resolved as %+v, %v", e, err)
	}
}

func effectsAreListed(t *testing.T, b *bench) {
	c := b.running("facture")
	for _, k := range []string{"default/compta/a", "default/compta/b", "default/compta_2/c", "other/d"} {
		_, err := b.OpenEffect(b.ctx(), store.OpenEffect{Key: k, Kind: "k", Holder: holder(c)})
		b.must(err)
	}
	for _, k := range []string{"default/compta/b", "other/d"} {
		_, err := b.AdvanceEffect(b.ctx(), store.AdvanceEffect{Key: k, Holder: holder(c), From: store.EffectOpen, To: store.EffectDone})
		b.must(err)
	}
	for _, c := range []struct {
		filter store.EffectFilter
		want   string
	}{
		{store.EffectFilter{}, "default/compta/a default/compta/b default/compta_2/c other/d "},
		{store.EffectFilter{Key: "default/compta/"}, "default/compta/a default/compta/b "},
		{store.EffectFilter{State: store.EffectDone}, "default/compta/b other/d "},
		{store.EffectFilter{State: store.EffectOpen, After: "default/compta/a"}, "default/compta_2/c "},
		{store.EffectFilter{After: "default/compta/a", Limit: 2}, "default/compta/b default/compta_2/c "},
	} {
		effects, err := b.Effects(b.ctx(), c.filter)
		b.must(err)
		got := ""
		for _, e := range effects {
			got += e.Key + " "
		}
		if got != c.want {
			t.Errorf("%+v lists %q, want %q", c.filter, got, c.want)
		}
	}
}

func effectOutlives(t *testing.T, b *bench) {
	c := b.running("facture")
	b.openEffect(c)
	b.must(b.finish(b.outcome(c, store.VerdictSucceeded)))
	b.advance(1000 * time.Hour)
	b.retainAll(store.RetainParams{Events: time.Hour, Dead: time.Hour, Attempts: time.Hour, SizeBytes: 1})
	_, err := b.Event(b.ctx(), c.Event.ID)
	b.wantCode(err, core.CodeNotFound)
	if _, err := b.Effect(b.ctx(), key); err != nil {
		t.Error(err)
	}
}

func doneStays(t *testing.T, b *bench) {
	c := b.running("facture")
	b.openEffect(c)
	_, err := b.move(c, store.EffectOpen, store.EffectDone)
	b.must(err)
	for _, to := range []store.EffectState{store.EffectOpen, store.EffectSent, store.EffectDone, store.EffectUnknown} {
		_, err := b.AdvanceEffect(b.ctx(), store.AdvanceEffect{
			Key: key, Holder: holder(c), From: store.EffectDone, To: to, Result: json.RawMessage(`{"id":8}`),
		})
		b.wantCode(err, core.CodeConflict)
	}
	if e := b.openEffect(c); e.State != store.EffectDone || string(e.Result) != `{"id":7}` {
		t.Errorf("it is %+v", e)
	}
}

func doneAfterAbsent(t *testing.T, b *bench) {
	c := b.running("facture")
	b.openEffect(c)
	_, err := b.move(c, store.EffectOpen, store.EffectSent)
	b.must(err)
	b.must(b.finish(b.outcome(c, store.VerdictDead)))
	e, err := b.ResolveEffect(b.ctx(), store.ResolveEffect{Key: key, Absent: true, By: "anne"})
	b.must(err)
	if e.ResolvedBy != "anne" {
		t.Errorf("resolved as %+v", e)
	}
	c = b.running("facture")
	b.openEffect(c)
	for _, move := range [][2]store.EffectState{{store.EffectOpen, store.EffectSent}, {store.EffectSent, store.EffectDone}} {
		if e, err = b.move(c, move[0], move[1]); err != nil || e.ResolvedBy != "" {
			t.Errorf("moved by relais, it is %+v, %v", e, err)
		}
	}
}

func effectRace(t *testing.T, b *bench) {
	claimed := []store.Claimed{b.running("a"), b.running("b"), b.running("c"), b.running("d")}
	got := make(chan bool, len(claimed))
	for _, c := range claimed {
		go func() {
			e, err := b.OpenEffect(b.ctx(), store.OpenEffect{Key: key, Kind: "k", Holder: holder(c)})
			if err != nil {
				t.Error(err)
			}
			got <- err == nil && !e.Held
		}()
	}
	n := 0
	for range claimed {
		if <-got {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d deliveries have the effect", n)
	}
}
