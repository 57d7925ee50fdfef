package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

var takeOverTests = map[string]func(*testing.T, *bench){
	"what an earlier life was running is due at once, with one interruption": earlierLife,
	"interrupted too often, a delivery is dead":                              poison,
	"an outcome resets the interruptions, a return doesn't":                  interruptionsReset,
	"what was interrupted after it sent an effect says so":                   interruptedAfterSent,
	"what this life runs is left alone":                                      ownRuns,
	"a claim whose answer was lost is given back":                            lostAnswer,
	"what a dead node ran is taken over once its lease has lapsed":           deadNode,
}

func (b *bench) takeOver(held ...core.DeliveryID) store.TakenOver {
	b.t.Helper()
	taken, err := b.TakeOver(b.ctx(), store.TakeOverParams{Node: node, MaxInterruptions: 3, Held: held})
	b.must(err)
	return taken
}

func earlierLife(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	old := b.claimOne()
	b.restart()
	b.claimNone()
	if taken := b.takeOver(); taken.Returned != 1 || len(taken.Dead) != 0 {
		t.Fatalf("taken over %+v", taken)
	}
	c := b.claimOne()
	if c.Delivery.Interruptions != 1 || c.Delivery.Attempts != 0 || c.Delivery.Claim != 2 {
		t.Errorf("claimed %+v", c.Delivery)
	}
	if err := b.finish(b.outcome(old, store.VerdictSucceeded)); !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("the earlier life's outcome gave %v", err)
	}
}

func poison(t *testing.T, b *bench) {
	ids := b.ordered("sku", 2)
	for i := range 3 {
		b.wantClaimed(ids[0])
		b.restart()
		taken := b.takeOver()
		if i < 2 {
			if taken.Returned != 1 {
				t.Fatalf("turn %d: %+v", i, taken)
			}
			continue
		}
		if len(taken.Dead) != 1 || taken.Dead[0].ID != ids[0] || taken.Dead[0].Reason != core.ReasonInterrupted || taken.Dead[0].Message == "" {
			t.Fatalf("the third interruption gave %+v", taken)
		}
	}
	b.wantState(ids[0], core.StateDead)
	b.wantClaimed(ids[1])
}

func interruptedAfterSent(t *testing.T, b *bench) {
	c := b.running("facture")
	b.openEffect(c)
	_, err := b.move(c, store.EffectOpen, store.EffectSent)
	b.must(err)
	b.restart()
	b.takeOver()
	if d := b.delivery(c.Delivery.ID); d.Reason != core.ReasonUnknown {
		t.Errorf("given back for the reason %q: nothing says that an effect is undecided", d.Reason)
	}
	for range 2 {
		b.claimOne()
		b.restart()
		b.takeOver()
	}
	d := b.wantState(c.Delivery.ID, core.StateDead)
	if d.Reason != core.ReasonInterrupted || !strings.Contains(d.Message, key) {
		t.Errorf("dead as %s: %q, which doesn't name the effect", d.Reason, d.Message)
	}
}

func interruptionsReset(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	for _, step := range []struct {
		verdict store.Verdict
		want    int
	}{{store.VerdictReturn, 1}, {store.VerdictRetry, 0}, {store.VerdictDefer, 0}, {store.VerdictReturn, 1}} {
		b.claimOne()
		b.restart()
		b.takeOver()
		c := b.claimOne()
		b.must(b.finish(b.outcome(c, step.verdict)))
		if d := b.delivery(c.Delivery.ID); d.Interruptions != step.want {
			t.Errorf("after %s: %d interruptions, want %d", step.verdict, d.Interruptions, step.want)
		}
	}
}

func ownRuns(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	c := b.claimOne()
	b.must(b.Beat(b.ctx(), node, 10*time.Second))
	if taken := b.takeOver(c.Delivery.ID); taken.Returned != 0 {
		t.Fatalf("taken over %+v", taken)
	}
	b.must(b.finish(b.outcome(c, store.VerdictSucceeded)))
}

func lostAnswer(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	known := b.claimOne()
	b.send(b.event(route("facture")))
	b.claimOne() // the caller never heard of it
	b.must(b.Beat(b.ctx(), node, 10*time.Second))
	if taken := b.takeOver(known.Delivery.ID); taken.Returned != 1 {
		t.Fatalf("taken over %+v", taken)
	}
	b.must(b.finish(b.outcome(known, store.VerdictSucceeded)))
	if c := b.claimOne(); c.Delivery.ID == known.Delivery.ID {
		t.Error("what was held was given back")
	}
}

func deadNode(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	b.must(b.Beat(b.ctx(), "node-2", 10*time.Second))
	work, err := b.Work(b.ctx(), 0, 10)
	b.must(err)
	claimed, err := b.Claim(b.ctx(), store.ClaimParams{
		Node: "node-2", Lease: 10 * time.Second, Max: 1, Lanes: []store.LaneRoom{{Lane: work[0].Lane, Max: 1, Window: 1}},
	})
	b.must(err)
	b.advance(11 * time.Second)
	b.must(b.Beat(b.ctx(), node, 10*time.Second))
	if taken := b.takeOver(); taken.Returned != 1 {
		t.Fatalf("taken over %+v", taken)
	}
	c := b.claimOne()
	late := b.outcome(claimed[0], store.VerdictSucceeded)
	late.Holder.Node = "node-2"
	if err := b.finish(late); !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("the dead node's outcome gave %v", err)
	}
	b.must(b.finish(b.outcome(c, store.VerdictSucceeded)))
}
