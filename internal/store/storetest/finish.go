package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relais/internal/core"
	"relais/internal/store"
)

var finishTests = map[string]func(*testing.T, *bench){
	"each verdict does to the delivery what it says":     verdicts,
	"an outcome of an older claim is dropped":            olderClaimIsDropped,
	"an outcome that is sent again is accepted once":     finishIsIdempotent,
	"attempts are kept, each with what was done":         attemptsAreKept,
	"a step of a lost claim isn't kept":                  lostStep,
	"a lost outcome leaves the others of the call alone": lostAmongOthers,
}

func verdicts(t *testing.T, b *bench) {
	for _, c := range []struct {
		verdict  store.Verdict
		delay    time.Duration
		state    core.State
		skipped  bool
		attempts int
		wait     time.Duration // until it can be claimed again; -1 never
	}{
		{store.VerdictSucceeded, 0, core.StateSucceeded, false, 1, -1},
		{store.VerdictSkipped, 0, core.StateSucceeded, true, 1, -1},
		{store.VerdictDead, 0, core.StateDead, false, 1, -1},
		{store.VerdictRetry, 5 * time.Minute, core.StatePending, false, 1, 5 * time.Minute},
		{store.VerdictDefer, time.Minute, core.StatePending, false, 0, time.Minute},
		{store.VerdictReturn, time.Hour, core.StatePending, false, 0, 0},
	} {
		b.send(b.event(route("facture")))
		claimed := b.claimOne()
		o := b.outcome(claimed, c.verdict)
		o.Delay, o.Reason, o.Message = c.delay, core.ReasonStatus, "answered 500"
		b.must(b.finish(o))
		d := b.wantState(claimed.Delivery.ID, c.state)
		if d.Skipped != c.skipped || d.Attempts != c.attempts || d.Reason != core.ReasonStatus || d.Message != "answered 500" {
			t.Errorf("%s: %+v", c.verdict, d)
		}
		if ended := c.wait < 0; d.FinishedAt.IsZero() == ended {
			t.Errorf("%s: finished at %s", c.verdict, d.FinishedAt)
		}
		if c.wait > 0 {
			b.advance(c.wait - time.Microsecond)
			b.claimNone()
			b.advance(time.Microsecond)
		}
		if c.wait < 0 {
			b.claimNone()
			continue
		}
		again := b.claimOne()
		if again.Delivery.ID != claimed.Delivery.ID || again.Delivery.Claim != 2 {
			t.Errorf("%s: claimed again as %+v", c.verdict, again.Delivery)
		}
		b.must(b.finish(b.outcome(again, store.VerdictSucceeded)))
	}
	stats, err := b.Stats(b.ctx())
	b.must(err)
	if stats.Pending != 0 || stats.Running != 0 || stats.Dead != 1 {
		t.Errorf("counted %+v", stats)
	}
}

func olderClaimIsDropped(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	old := b.claimOne()
	b.must(b.finish(b.outcome(old, store.VerdictReturn)))
	now := b.claimOne()
	if err := b.finish(b.outcome(old, store.VerdictSucceeded)); !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("the older claim's outcome gave %v", err)
	}
	b.wantState(now.Delivery.ID, core.StateRunning)
	wrong := b.outcome(now, store.VerdictSucceeded)
	wrong.Holder.Claim = 9
	if err := b.finish(wrong); !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("a claim that never was gave %v", err)
	}
}

func finishIsIdempotent(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	c := b.claimOne()
	o := b.outcome(c, store.VerdictRetry)
	b.must(b.finish(o))
	b.must(b.finish(o))
	if d := b.delivery(c.Delivery.ID); d.Attempts != 1 {
		t.Errorf("%d attempts counted", d.Attempts)
	}
	b.claimOne()
	b.must(b.finish(o))
	b.wantState(c.Delivery.ID, core.StateRunning)
}

func attemptsAreKept(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	var want []store.Attempt
	for i, v := range []store.Verdict{store.VerdictDefer, store.VerdictRetry, store.VerdictSucceeded} {
		c := b.claimOne()
		o := b.outcome(c, v)
		o.Reason, o.Message = core.ReasonExhausted, "the last one failed"
		o.Attempt.Reason, o.Attempt.Message = core.ReasonTimeout, "no answer"
		o.Attempt.Duration = time.Duration(i+1) * time.Second
		b.must(b.finish(o))
		want = append(want, store.Attempt{
			ID: int64(i + 1), Delivery: c.Delivery.ID, Claim: i + 1, Node: node, Started: o.Attempt.Started,
			Duration: o.Attempt.Duration, Verdict: v, Reason: core.ReasonTimeout, Message: "no answer", Trace: o.Attempt.Trace,
		})
		b.advance(time.Second)
	}
	got, err := b.Attempts(b.ctx(), want[0].Delivery)
	b.must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func lostStep(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	c := b.claimOne()
	b.must(b.finish(b.outcome(c, store.VerdictReturn)))
	err := b.SaveStep(b.ctx(), holder(c), store.StepResult{Step: "s", Definition: "d", Result: []byte(`{}`)})
	if !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("error %v", err)
	}
	if c = b.claimOne(); len(c.Steps) != 0 {
		t.Errorf("steps %v were kept", c.Steps)
	}
}

func lostAmongOthers(t *testing.T, b *bench) {
	b.send(b.event(route("a")), b.event(route("b")))
	claimed := b.claim(10)
	lost := b.outcome(claimed[0], store.VerdictSucceeded)
	lost.Holder.Claim = 7
	results, err := b.Finish(b.ctx(), []store.Outcome{lost, b.outcome(claimed[1], store.VerdictSucceeded)})
	b.must(err)
	if !errors.Is(results[0], store.ErrLostClaim) || results[1] != nil {
		t.Errorf("results %v", results)
	}
	b.wantState(claimed[0].Delivery.ID, core.StateRunning)
	b.wantState(claimed[1].Delivery.ID, core.StateSucceeded)
}
