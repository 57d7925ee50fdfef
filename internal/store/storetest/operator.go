package storetest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

var operatorTests = map[string]func(*testing.T, *bench){
	"a replay makes new deliveries of the same event":       replayMakesNew,
	"a replay from a step keeps the steps before it":        replayKeepsSteps,
	"a replay of what succeeded keeps the steps before it":  replayOfSucceeded,
	"a step's result is kept to the byte":                   oddSteps,
	"a replay of an event that isn't there makes nothing":   replayOfNothing,
	"pending deliveries can be cancelled, running ones not": cancelPending,
	"a purged event is gone, with all that belongs to it":   purge,
	"an event isn't purged while a delivery runs":           purgeRunning,
	"numbers aren't given again after a purge":              purgeKeepsNumbers,
	"what people did is written down":                       auditIsKept,
}

func replayMakesNew(t *testing.T, b *bench) {
	c := b.running("facture")
	b.must(b.finish(b.outcome(c, store.VerdictDead)))
	p := store.ReplayParams{By: "anne", Deliveries: []store.NewReplay{
		{Event: c.Event.ID, Destination: route("facture"), Priority: core.PriorityHigh, Of: c.Delivery.ID, RouteSet: "set-2"},
		{Event: c.Event.ID, Destination: endpoint("shop")},
	}}
	first, err := b.Replay(b.ctx(), p)
	b.must(err)
	second, err := b.Replay(b.ctx(), p)
	b.must(err)
	if len(first.Deliveries) != 2 || first.Replay == 0 || second.Replay <= first.Replay {
		t.Fatalf("replayed %+v, then %+v", first, second)
	}
	d := b.wantState(first.Deliveries[0], core.StatePending)
	if d.Event != c.Event.ID || d.Replay != first.Replay || d.Priority != core.PriorityHigh || d.RouteSet != "set-2" || d.Attempts != 0 {
		t.Errorf("the replay is %+v", d)
	}
	b.wantState(c.Delivery.ID, core.StateDead)
	if n := len(b.claim(10)); n != 4 {
		t.Errorf("%d to run, want 4", n)
	}
}

func replayKeepsSteps(t *testing.T, b *bench) {
	c := b.running("facture")
	for _, step := range []string{"one", "two", "three"} {
		b.must(b.SaveStep(b.ctx(), holder(c), store.StepResult{Step: step, Definition: "d", Result: []byte(`{}`)}))
	}
	b.must(b.finish(b.outcome(c, store.VerdictDead)))
	for from, want := range map[string]int{"": 0, "one": 0, "three": 2, "four": 3} {
		_, err := b.Replay(b.ctx(), store.ReplayParams{By: "anne", Deliveries: []store.NewReplay{
			{Event: c.Event.ID, Destination: route("facture"), Of: c.Delivery.ID, FromStep: from},
		}})
		b.must(err)
		again := b.claimOne()
		if len(again.Steps) != want || again.Delivery.FromStep != from {
			t.Errorf("from %q: %d steps are kept, want %d (from %q)", from, len(again.Steps), want, again.Delivery.FromStep)
		}
		b.must(b.finish(b.outcome(again, store.VerdictSucceeded)))
	}
}

// replayOfSucceeded has steps that were saved one by one, steps of an attempt that failed, and those that came with
// the outcome, some of them again.
func replayOfSucceeded(t *testing.T, b *bench) {
	c := b.running("facture")
	b.must(b.SaveStep(b.ctx(), holder(c), store.StepResult{Step: "one", Definition: "d", Result: []byte(`{"n":1}`)}))
	o := b.outcome(c, store.VerdictRetry)
	o.Steps = []store.StepResult{{Step: "two", Definition: "d", Result: []byte(`{"n":2}`)}}
	b.must(b.finish(o))
	c = b.claimOne()
	o = b.outcome(c, store.VerdictSucceeded)
	o.Steps = []store.StepResult{
		{Step: "three", Definition: "d", Result: []byte(`{"n":1e400,"s":"<b>&\u2028é \u0000"}`)},
		{Step: "one", Definition: "d9", Result: []byte(`{"n":9}`)},
		{Step: "four", Definition: "d", Result: []byte(`null`)},
		{Step: "four", Definition: "d", Result: []byte(`"` + strings.Repeat("x", 64<<10) + `"`)},
	}
	want := []store.StepResult{{Step: "one", Definition: "d9", Result: []byte(`{"n":9}`)}, {Step: "two", Definition: "d", Result: []byte(`{"n":2}`)}, o.Steps[0], o.Steps[3]}
	b.must(b.finish(o))
	b.must(b.finish(o)) // its commit's answer was lost
	check := func(from string, got, want []store.StepResult) {
		t.Helper()
		if !slices.EqualFunc(got, want, func(a, b store.StepResult) bool {
			return a.Step == b.Step && a.Definition == b.Definition && bytes.Equal(a.Result, b.Result)
		}) {
			t.Errorf("from %q: %d steps, want %d: %.300q", from, len(got), len(want), got)
		}
	}
	steps, err := b.Steps(b.ctx(), c.Delivery.ID)
	b.must(err)
	check("", steps, want)
	of := c.Delivery.ID
	for before, from := range []string{"one", "two", "three", "four", "five"} {
		_, err := b.Replay(b.ctx(), store.ReplayParams{By: "anne", Deliveries: []store.NewReplay{
			{Event: c.Event.ID, Destination: route("facture"), Of: of, FromStep: from},
		}})
		b.must(err)
		again := b.claimOne()
		check(from, again.Steps, want[:before])
		o := b.outcome(again, store.VerdictSucceeded)
		o.Steps = want[before:]
		b.must(b.finish(o))
		of = again.Delivery.ID // the next is a replay of this one
	}
}

// oddSteps has results that no step of relais makes: none keeps its delivery's outcome from being stored.
func oddSteps(t *testing.T, b *bench) {
	for _, result := range []string{"{", "", "\x00\xff", `{"a": 1 }`} {
		c := b.running("facture")
		o := b.outcome(c, store.VerdictSucceeded)
		o.Steps = []store.StepResult{{Step: "odd", Definition: "d", Result: []byte(result)}}
		if err := b.finish(o); err != nil {
			t.Errorf("%q: %v", result, err)
			continue
		}
		steps, err := b.Steps(b.ctx(), c.Delivery.ID)
		b.must(err)
		if len(steps) != 1 || string(steps[0].Result) != result {
			t.Errorf("%q is kept as %q", result, steps)
		}
	}
}

func replayOfNothing(t *testing.T, b *bench) {
	a := b.event()
	b.send(a)
	_, err := b.Replay(b.ctx(), store.ReplayParams{By: "anne", Deliveries: []store.NewReplay{
		{Event: a.Event.ID, Destination: route("facture")}, {Event: core.NewEventID(), Destination: route("facture")},
	}})
	b.wantCode(err, core.CodeNotFound)
	b.claimNone()
}

func cancelPending(t *testing.T, b *bench) {
	b.send(b.event(route("a")), b.event(route("b")))
	all, err := b.Deliveries(b.ctx(), store.DeliveryFilter{})
	b.must(err)
	b.claim(1)
	b.send(b.event(route("c")))
	waiting, err := b.Deliveries(b.ctx(), store.DeliveryFilter{State: core.StatePending})
	b.must(err)
	n, err := b.Cancel(b.ctx(), []core.DeliveryID{all[0].ID, all[1].ID, waiting[0].ID, 999}, "anne")
	b.must(err)
	if n != 1 {
		t.Errorf("%d cancelled, want the one that waits", n)
	}
	d := b.wantState(waiting[0].ID, core.StateCancelled)
	if d.Reason != core.ReasonCancelled || d.FinishedAt.IsZero() {
		t.Errorf("cancelled as %+v", d)
	}
	b.claimNone()
}

func purge(t *testing.T, b *bench) {
	c := b.running("facture")
	b.must(b.SaveStep(b.ctx(), holder(c), store.StepResult{Step: "s", Definition: "d", Result: []byte(`{}`)}))
	b.must(b.finish(b.outcome(c, store.VerdictDead)))
	kept := b.event(route("facture"))
	b.send(kept)
	b.reject(wide, b.rejection("sellsy"), b.rejection("sellsy"))
	b.must(b.MarkRejectionAccepted(b.ctx(), b.rejections(store.RejectionFilter{})[0].ID, c.Event.ID))
	n, err := b.Purge(b.ctx(), []core.EventID{c.Event.ID, core.NewEventID()}, "anne")
	b.must(err)
	if n != 1 {
		t.Errorf("%d purged, want 1", n)
	}
	if left := b.rejections(store.RejectionFilter{}); len(left) != 1 || left[0].Event == c.Event.ID {
		t.Errorf("rejections left: %+v", left)
	}
	_, err = b.Event(b.ctx(), c.Event.ID)
	b.wantCode(err, core.CodeNotFound)
	_, err = b.Delivery(b.ctx(), c.Delivery.ID)
	b.wantCode(err, core.CodeNotFound)
	for _, read := range []func() (int, error){
		func() (int, error) { l, err := b.Attempts(b.ctx(), c.Delivery.ID); return len(l), err },
		func() (int, error) { l, err := b.Steps(b.ctx(), c.Delivery.ID); return len(l), err },
	} {
		if n, err := read(); n != 0 || err != nil {
			t.Errorf("%d are left, %v", n, err)
		}
	}
	if stats, err := b.Stats(b.ctx()); err != nil || stats.Dead != 0 || stats.Pending != 1 {
		t.Errorf("counted %+v, %v", stats, err)
	}
	b.claimOne()
}

func purgeRunning(t *testing.T, b *bench) {
	other := b.event()
	b.send(other)
	c := b.running("facture")
	_, err := b.Purge(b.ctx(), []core.EventID{other.Event.ID, c.Event.ID}, "anne")
	b.wantCode(err, core.CodeConflict)
	if _, err := b.Event(b.ctx(), other.Event.ID); err != nil {
		t.Errorf("a refused purge took another event: %v", err)
	}
}

func purgeKeepsNumbers(t *testing.T, b *bench) {
	a := b.event(route("facture"))
	seq := b.send(a)[0].Seq
	last, err := b.Deliveries(b.ctx(), store.DeliveryFilter{})
	b.must(err)
	_, err = b.Purge(b.ctx(), []core.EventID{a.Event.ID}, "anne")
	b.must(err)
	b.restart()
	if next := b.send(b.event(route("facture")))[0].Seq; next <= seq {
		t.Errorf("event number %d was given again", next)
	}
	if c := b.claimOne(); c.Delivery.ID <= last[0].ID {
		t.Errorf("delivery number %d was given again", c.Delivery.ID)
	}
}

func auditIsKept(_ *testing.T, b *bench) {
	b.must(b.Audit(b.ctx(), store.AuditEntry{By: "anne", Act: "login", Object: "dashboard", Detail: "from 192.0.2.1"}))
	b.must(b.Audit(b.ctx(), store.AuditEntry{At: b.clock.Now().Add(time.Hour), By: "anne", Act: "logout"}))
}
