package storetest

import (
	"fmt"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

var claimTests = map[string]func(*testing.T, *bench){
	"a claim marks a delivery running, and gives it once":        claimGivesOnce,
	"a delivery isn't given before it is due":                    notBeforeDue,
	"a lane at its window gives none, and no other lane less":    windowHolds,
	"a lane's rate holds, with its burst":                        rateHolds,
	"room and total bound a claim":                               claimIsBounded,
	"priorities share 8:4:2:1, and retries keep a tenth":         prioritiesShare,
	"work names each lane with its first due time, page by page": workIsPaged,
	"a claimed delivery brings its finished steps":               claimBringsSteps,
	"the breaker that was kept is told with the work":            breakerIsKept,
	"activated destinations and sets are remembered":             activation,
}

func claimGivesOnce(t *testing.T, b *bench) {
	a := b.event(route("facture"))
	b.send(a)
	c := b.claimOne()
	d := c.Delivery
	if d.State != core.StateRunning || d.Claim != 1 || d.Event != a.Event.ID || d.Destination != route("facture") ||
		d.RouteSet != "set-1" || d.Priority != core.PriorityNormal || !d.CreatedAt.Equal(b.clock.Now()) {
		t.Errorf("claimed %+v", d)
	}
	b.claimNone()
	b.wantState(d.ID, core.StateRunning)
	stats, err := b.Stats(b.ctx())
	b.must(err)
	if stats.Pending != 0 || stats.Running != 1 {
		t.Errorf("%d wait and %d run, want 0 and 1", stats.Pending, stats.Running)
	}
}

func notBeforeDue(t *testing.T, b *bench) {
	a := b.event(route("facture"))
	a.Deliveries[0].Delay = 2 * time.Second
	b.send(a)
	b.claimNone()
	b.advance(2*time.Second - time.Microsecond)
	b.claimNone()
	b.advance(time.Microsecond)
	b.claimOne()
}

func windowHolds(t *testing.T, b *bench) {
	for range 5 {
		b.send(b.event(route("slow"), route("quick")))
	}
	room := store.LaneRoom{Max: 10, Window: 2}
	first := b.claimWith(room)
	if len(first) != 4 {
		t.Fatalf("%d claimed, want the window of each lane", len(first))
	}
	if again := b.claimWith(room); len(again) != 0 {
		t.Fatalf("%d claimed past the window", len(again))
	}
	for _, c := range first {
		if c.Delivery.Destination == route("quick") {
			b.must(b.finish(b.outcome(c, store.VerdictSucceeded)))
		}
	}
	next := b.claimWith(room)
	if len(next) != 2 {
		t.Fatalf("%d claimed, want 2", len(next))
	}
	for _, c := range next {
		if c.Delivery.Destination != route("quick") {
			t.Errorf("%s gave past its window", c.Delivery.Destination)
		}
	}
}

func rateHolds(t *testing.T, b *bench) {
	for range 20 {
		b.send(b.event(route("limited")))
	}
	room := store.LaneRoom{Max: 20, Window: 100, Rate: 2, Burst: 3}
	for i, step := range []struct {
		after time.Duration
		want  int
	}{{0, 3}, {0, 0}, {500 * time.Millisecond, 1}, {250 * time.Millisecond, 0}, {250 * time.Millisecond, 1}, {time.Hour, 3}} {
		b.advance(step.after)
		if got := len(b.claimWith(room)); got != step.want {
			t.Errorf("step %d: %d claimed, want %d", i, got, step.want)
		}
	}
}

func claimIsBounded(t *testing.T, b *bench) {
	for range 5 {
		b.send(b.event(route("a"), route("b"), route("c")))
	}
	work, err := b.Work(b.ctx(), 0, 10)
	b.must(err)
	p := store.ClaimParams{Node: node, Max: 7}
	for _, w := range work {
		p.Lanes = append(p.Lanes, store.LaneRoom{Lane: w.Lane, Max: 3, Window: 100})
	}
	for _, want := range []int{7, 7, 1} {
		claimed, err := b.Claim(b.ctx(), p)
		b.must(err)
		if len(claimed) != want {
			t.Errorf("%d claimed, want %d", len(claimed), want)
		}
	}
	if _, err := b.Claim(b.ctx(), store.ClaimParams{Node: node, Max: 5, Lanes: []store.LaneRoom{{Lane: 999, Max: 5}}}); err != nil {
		t.Errorf("a lane that isn't there: %v", err)
	}
}

func prioritiesShare(t *testing.T, b *bench) {
	for range 100 {
		a := b.event()
		for p := core.PriorityUrgent; p <= core.PriorityLow; p++ {
			a.Deliveries = append(a.Deliveries, store.NewDelivery{Destination: route("busy"), Priority: p})
			b.send(a)
			a = b.event()
		}
	}
	// Retries that are due at once, of each priority more than its share: drawn one by one, there could be too few.
	for _, c := range b.claimWith(store.LaneRoom{Max: 40, Window: 40}) {
		b.must(b.finish(b.outcome(c, store.VerdictRetry)))
	}
	counts, retries := map[core.Priority]int{}, 0
	for _, c := range b.claimWith(store.LaneRoom{Max: 150, Window: 150}) {
		if c.Delivery.Attempts > 0 {
			retries++
			continue
		}
		counts[c.Delivery.Priority]++
	}
	if retries < 14 || retries > 16 {
		t.Errorf("%d of 150 are retries, want a tenth", retries)
	}
	for p, want := range map[core.Priority]int{core.PriorityUrgent: 72, core.PriorityHigh: 36, core.PriorityNormal: 18, core.PriorityLow: 9} {
		if counts[p] < want-3 || counts[p] > want+3 {
			t.Errorf("%d of priority %s, want about %d", counts[p], p, want)
		}
	}
}

func workIsPaged(t *testing.T, b *bench) {
	for i := range 25 {
		a := b.event(route(fmt.Sprintf("route-%02d", i)))
		a.Deliveries[0].Delay = time.Duration(i) * time.Minute
		b.send(a, a)
	}
	seen, after := 0, store.LaneID(0)
	for {
		work, err := b.Work(b.ctx(), after, 10)
		b.must(err)
		if len(work) == 0 {
			break
		}
		for _, w := range work {
			if w.Destination.Name != fmt.Sprintf("route-%02d", seen) || !w.NextDue.Equal(b.clock.Now().Add(time.Duration(seen)*time.Minute)) {
				t.Errorf("work %d is %+v", seen, w)
			}
			seen, after = seen+1, w.Lane
		}
	}
	if seen != 25 {
		t.Errorf("%d lanes have work, want 25", seen)
	}
}

func claimBringsSteps(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	c := b.claimOne()
	if len(c.Steps) != 0 {
		t.Fatalf("a first claim brings %v", c.Steps)
	}
	first := store.StepResult{Step: "facture", Definition: "d1", Result: []byte(`{"number":"F-1"}`)}
	b.must(b.SaveStep(b.ctx(), holder(c), first))
	o := b.outcome(c, store.VerdictRetry)
	o.Steps = []store.StepResult{{Step: "avis", Definition: "d2", Result: []byte(`{}`)}}
	b.must(b.finish(o))
	c = b.claimOne()
	if len(c.Steps) != 2 || c.Steps[0].Step != "facture" || string(c.Steps[0].Result) != `{"number":"F-1"}` || c.Steps[1].Step != "avis" {
		t.Fatalf("the second claim brings %+v", c.Steps)
	}
	first.Definition = "d9"
	b.must(b.SaveStep(b.ctx(), holder(c), first))
	steps, err := b.Steps(b.ctx(), c.Delivery.ID)
	b.must(err)
	if len(steps) != 2 || steps[0].Definition != "d9" {
		t.Errorf("steps are %+v", steps)
	}
}

func breakerIsKept(t *testing.T, b *bench) {
	b.send(b.event(route("facture")))
	work, err := b.Work(b.ctx(), 0, 1)
	b.must(err)
	want := core.BreakerState{Failures: 7, RestUntil: b.clock.Now().Add(time.Minute), Since: b.clock.Now()}
	b.must(b.SetBreaker(b.ctx(), work[0].Lane, want))
	b.restart()
	work, err = b.Work(b.ctx(), 0, 1)
	b.must(err)
	if work[0].Breaker != want {
		t.Errorf("the breaker is %+v, want %+v", work[0].Breaker, want)
	}
}

func activation(t *testing.T, b *bench) {
	set := store.RouteSet{Hash: "abc", Node: node, Destinations: []core.Destination{route("facture")}, Text: []byte("routes: {}")}
	b.must(b.Activate(b.ctx(), set))
	b.must(b.Activate(b.ctx(), set))
	b.must(b.Beat(b.ctx(), node, 10*time.Second))
	a := b.event(route("facture"))
	a.RouteSet = "abc"
	b.send(a)
	if c := b.claimOne(); c.Delivery.RouteSet != "abc" {
		t.Errorf("the delivery's set is %q", c.Delivery.RouteSet)
	}
}
