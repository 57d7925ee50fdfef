package storetest

import (
	"context"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

var pauseTests = map[string]func(*testing.T, *bench){
	"a paused route or endpoint, or all, gives nothing until it is resumed": pausedLanes,
	"a paused source's deliveries wait, old and new, and no other's":        pausedSource,
	"a pause outlives a restart":                                            pauseSurvives,
	"a paused source keeps its order":                                       pausedSourceOrder,
	"a resume whose caller has gone wakes all the same":                     resumeWithoutCaller,
	"a pause that makes no sense is refused":                                wrongPause,
}

func pausedLanes(t *testing.T, b *bench) {
	for _, c := range []struct {
		pause store.Pause
		to    core.Destination
	}{
		{store.Pause{Scope: store.PauseRoute, Name: "facture"}, route("facture")},
		{store.Pause{Scope: store.PauseEndpoint, Name: "shop"}, endpoint("shop")},
		{store.Pause{Scope: store.PauseAll}, route("facture")},
	} {
		c.pause.By, c.pause.Reason = "anne", "moving"
		b.must(b.SetPause(b.ctx(), c.pause))
		b.send(b.event(c.to))
		b.claimNone()
		work, err := b.Work(b.ctx(), 0, 10)
		b.must(err)
		if len(work) != 0 {
			t.Errorf("%+v: %d lanes have work", c.pause, len(work))
		}
		pauses, err := b.Pauses(b.ctx())
		b.must(err)
		if len(pauses) != 1 || pauses[0].By != "anne" || pauses[0].Reason != "moving" || pauses[0].At.IsZero() {
			t.Errorf("pauses are %+v", pauses)
		}
		b.must(b.Resume(b.ctx(), c.pause.Scope, c.pause.Name, "anne"))
		b.must(b.finish(b.outcome(b.claimOne(), store.VerdictSucceeded)))
		b.wantCode(b.Resume(b.ctx(), c.pause.Scope, c.pause.Name, "anne"), core.CodeNotFound)
	}
	b.must(b.SetPause(b.ctx(), store.Pause{Scope: store.PauseEndpoint, Name: "facture"}))
	b.send(b.event(route("facture")))
	b.claimOne() // an endpoint of the same name is another
}

func pausedSource(t *testing.T, b *bench) {
	for range 300 {
		b.send(b.event(route("facture")))
	}
	b.must(b.SetPause(b.ctx(), store.Pause{Scope: store.PauseSource, Name: "sellsy"}))
	for range 10 {
		b.send(b.event(route("facture")))
	}
	other := b.event(route("facture"))
	other.Event.Source = "boutique"
	b.send(other)
	var claimed []store.Claimed
	for range 4 { // putting many aside takes several claims
		claimed = append(claimed, b.claim(500)...)
	}
	if len(claimed) != 1 || claimed[0].Event.ID != other.Event.ID {
		t.Fatalf("%d claimed, want the other source's", len(claimed))
	}
	stats, err := b.Stats(b.ctx())
	b.must(err)
	if stats.Pending != 310 {
		t.Errorf("%d wait, want 310", stats.Pending)
	}
	b.must(b.Resume(b.ctx(), store.PauseSource, "sellsy", "anne"))
	if n := len(b.claim(500)); n != 310 {
		t.Errorf("%d claimed after the resume, want 310", n)
	}
}

func pauseSurvives(_ *testing.T, b *bench) {
	b.must(b.SetPause(b.ctx(), store.Pause{Scope: store.PauseSource, Name: "sellsy"}))
	b.must(b.SetPause(b.ctx(), store.Pause{Scope: store.PauseRoute, Name: "avoir"}))
	b.restart()
	other := b.event(route("avoir"))
	other.Event.Source = "boutique"
	b.send(b.event(route("facture")), other)
	b.claimNone()
	b.must(b.Resume(b.ctx(), store.PauseSource, "sellsy", "anne"))
	b.claimOne()
}

func pausedSourceOrder(_ *testing.T, b *bench) {
	ids := b.ordered("sku", 2)
	b.must(b.SetPause(b.ctx(), store.Pause{Scope: store.PauseSource, Name: "sellsy"}))
	b.claimNone()
	ids = append(ids, b.ordered("sku", 1)...)
	b.must(b.Resume(b.ctx(), store.PauseSource, "sellsy", "anne"))
	for _, id := range ids {
		b.must(b.finish(b.outcome(b.wantClaimed(id), store.VerdictSucceeded)))
	}
}

func resumeWithoutCaller(t *testing.T, b *bench) {
	b.must(b.SetPause(b.ctx(), store.Pause{Scope: store.PauseSource, Name: "sellsy"}))
	const waiting = 3000
	var events []store.Accepted
	for range waiting {
		events = append(events, b.event(route("facture")))
	}
	b.send(events...)
	ctx, leave := context.WithCancel(b.ctx())
	go func() {
		for ctx.Err() == nil {
			if pauses, err := b.Pauses(b.ctx()); err == nil && len(pauses) == 0 {
				leave()
			}
		}
	}()
	_ = b.Resume(ctx, store.PauseSource, "sellsy", "anne")
	leave()
	claimed := 0
	for deadline := time.Now().Add(20 * time.Second); claimed < waiting && time.Now().Before(deadline); {
		claimed += len(b.claimWith(store.LaneRoom{Max: 1000, Window: 2 * waiting}))
	}
	if claimed != waiting {
		t.Fatalf("%d of %d run after the resume: the others sleep", claimed, waiting)
	}
}

func wrongPause(_ *testing.T, b *bench) {
	for _, p := range []store.Pause{{Scope: "lane", Name: "x"}, {Scope: store.PauseSource}, {Scope: store.PauseAll, Name: "x"}} {
		b.wantCode(b.SetPause(b.ctx(), p), core.CodeInvalid)
		b.wantCode(b.Resume(b.ctx(), p.Scope, p.Name, "anne"), core.CodeInvalid)
	}
}
