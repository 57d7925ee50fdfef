package storetest

import (
	"fmt"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

var orderTests = map[string]func(*testing.T, *bench){
	"deliveries of one order key run one at a time, in order of arrival":        orderIsKept,
	"a retry of the head keeps its place":                                       retryKeepsPlace,
	"a dead head lets the next go":                                              deadLetsGo,
	"a dead head that stops keeps the rest, until it is replayed":               deadStops,
	"a dead head that stops lets go when it is cancelled":                       cancelLetsGo,
	"a cancelled one in the middle is passed over":                              cancelInMiddle,
	"a cancelled one behind a replay that took the head's place lets nobody go": cancelBehindReplay,
	"a replay that isn't ordered any more lets the rest go":                     replayOutOfOrder,
	"a head that was interrupted to death stops as its lane says":               interruptedStops,
	"whoever doesn't know whether a head stops its chain gives it back":         interruptedElsewhere,
	"the order outlives a restart":                                              orderSurvives,
}

// ordered sends n ordered events for one lane and key, and returns their deliveries' numbers in order.
func (b *bench) ordered(key string, n int) []core.DeliveryID {
	b.t.Helper()
	var ids []core.DeliveryID
	for range n {
		a := b.event(route("stock"))
		a.Deliveries[0].Ordered, a.Deliveries[0].OrderKey = true, key
		b.send(a)
		list, err := b.Deliveries(b.ctx(), store.DeliveryFilter{Event: a.Event.ID})
		b.must(err)
		ids = append(ids, list[0].ID)
	}
	return ids
}

func (b *bench) wantClaimed(want core.DeliveryID) store.Claimed {
	b.t.Helper()
	c := b.claimOne()
	if c.Delivery.ID != want {
		b.t.Fatalf("%s is claimed, want %s", c.Delivery.ID, want)
	}
	b.claimNone()
	return c
}

func orderIsKept(t *testing.T, b *bench) {
	var ids []core.DeliveryID
	for range 3 {
		ids = append(ids, b.ordered("sku-1", 1)...)
		b.ordered("sku-2", 1)
		b.advance(-time.Hour) // a clock that is set back changes nothing
	}
	b.advance(10 * time.Hour)
	for round := range 3 {
		claimed := b.claim(10)
		if len(claimed) != 2 {
			t.Fatalf("round %d: %d run, want one of each key", round, len(claimed))
		}
		for _, c := range claimed {
			if c.Delivery.OrderKey == "sku-1" && c.Delivery.ID != ids[round] {
				t.Errorf("round %d: %s runs, want %s", round, c.Delivery.ID, ids[round])
			}
			b.must(b.finish(b.outcome(c, store.VerdictSucceeded)))
		}
	}
	b.claimNone()
}

func retryKeepsPlace(t *testing.T, b *bench) {
	ids := b.ordered("sku", 3)
	for _, v := range []store.Verdict{store.VerdictRetry, store.VerdictDefer, store.VerdictReturn} {
		o := b.outcome(b.wantClaimed(ids[0]), v)
		o.Delay = time.Minute
		b.must(b.finish(o))
		if v != store.VerdictReturn {
			b.claimNone()
			b.advance(time.Minute)
		}
	}
	b.must(b.finish(b.outcome(b.wantClaimed(ids[0]), store.VerdictSucceeded)))
	b.wantClaimed(ids[1])
}

func deadLetsGo(t *testing.T, b *bench) {
	ids := b.ordered("sku", 2)
	b.must(b.finish(b.outcome(b.wantClaimed(ids[0]), store.VerdictDead)))
	b.wantClaimed(ids[1])
}

func deadStops(t *testing.T, b *bench) {
	ids := b.ordered("sku", 3)
	o := b.outcome(b.wantClaimed(ids[0]), store.VerdictDead)
	o.FIFOStop = true
	b.must(b.finish(o))
	b.claimNone()
	ids = append(ids, b.ordered("sku", 1)...)
	b.claimNone()
	dead := b.wantState(ids[0], core.StateDead)
	made, err := b.Replay(b.ctx(), store.ReplayParams{By: "anne", Deliveries: []store.NewReplay{{
		Event: dead.Event, Destination: dead.Destination, Of: dead.ID, Ordered: true, OrderKey: "sku",
	}}})
	b.must(err)
	b.must(b.finish(b.outcome(b.wantClaimed(made.Deliveries[0]), store.VerdictSucceeded)))
	for _, id := range ids[1:] {
		b.must(b.finish(b.outcome(b.wantClaimed(id), store.VerdictSucceeded)))
	}
}

func cancelLetsGo(t *testing.T, b *bench) {
	ids := b.ordered("sku", 2)
	o := b.outcome(b.wantClaimed(ids[0]), store.VerdictDead)
	o.FIFOStop = true
	b.must(b.finish(o))
	if n, err := b.Cancel(b.ctx(), ids[:1], "anne"); err != nil || n != 1 {
		t.Fatalf("%d cancelled, %v", n, err)
	}
	b.wantClaimed(ids[1])
}

func cancelInMiddle(t *testing.T, b *bench) {
	ids := b.ordered("sku", 4)
	if n, err := b.Cancel(b.ctx(), []core.DeliveryID{ids[1], ids[0]}, "anne"); err != nil || n != 2 {
		t.Fatalf("%d cancelled, %v", n, err)
	}
	c := b.wantClaimed(ids[2])
	if n, err := b.Cancel(b.ctx(), []core.DeliveryID{ids[2]}, "anne"); err != nil || n != 0 {
		t.Fatalf("%d running ones cancelled, %v", n, err)
	}
	b.must(b.finish(b.outcome(c, store.VerdictSkipped)))
	b.wantClaimed(ids[3])
}

// stopped makes a chain whose head is dead and keeps the rest waiting.
func (b *bench) stopped(n int) (dead core.Delivery, rest []core.DeliveryID) {
	b.t.Helper()
	ids := b.ordered("sku", n)
	o := b.outcome(b.wantClaimed(ids[0]), store.VerdictDead)
	o.FIFOStop = true
	b.must(b.finish(o))
	b.claimNone()
	return b.wantState(ids[0], core.StateDead), ids[1:]
}

func cancelBehindReplay(t *testing.T, b *bench) {
	dead, rest := b.stopped(4)
	made, err := b.Replay(b.ctx(), store.ReplayParams{By: "anne", Deliveries: []store.NewReplay{{
		Event: dead.Event, Destination: dead.Destination, Of: dead.ID, Ordered: true, OrderKey: "sku",
	}}})
	b.must(err)
	head := b.wantClaimed(made.Deliveries[0])
	if n, err := b.Cancel(b.ctx(), rest[1:2], "anne"); err != nil || n != 1 {
		t.Fatalf("%d cancelled, %v", n, err)
	}
	b.claimNone()
	last := b.delivery(rest[2])
	_, err = b.Purge(b.ctx(), []core.EventID{last.Event}, "anne")
	b.must(err)
	b.claimNone()
	b.must(b.finish(b.outcome(head, store.VerdictSucceeded)))
	b.wantClaimed(rest[0])
}

func replayOutOfOrder(_ *testing.T, b *bench) {
	dead, rest := b.stopped(2)
	made, err := b.Replay(b.ctx(), store.ReplayParams{By: "anne", Deliveries: []store.NewReplay{{
		Event: dead.Event, Destination: dead.Destination, Of: dead.ID,
	}}})
	b.must(err)
	claimed := b.claim(10)
	if len(claimed) != 2 || claimed[0].Delivery.ID+claimed[1].Delivery.ID != rest[0]+made.Deliveries[0] {
		b.t.Fatalf("claimed %+v, want the replay and what waited behind the dead one", claimed)
	}
}

func interruptedStops(_ *testing.T, b *bench) {
	ids := b.ordered("sku", 2)
	b.wantClaimed(ids[0])
	b.restart()
	taken, err := b.TakeOver(b.ctx(), store.TakeOverParams{
		Node: node, MaxInterruptions: 1, FIFOStop: func(d core.Destination) (stops, known bool) { return d == route("stock"), true },
	})
	b.must(err)
	if len(taken.Dead) != 1 {
		b.t.Fatalf("taken over %+v", taken)
	}
	b.claimNone()
	if n, err := b.Cancel(b.ctx(), ids[:1], "anne"); err != nil || n != 1 {
		b.t.Fatalf("%d cancelled, %v", n, err)
	}
	b.wantClaimed(ids[1])
}

func interruptedElsewhere(_ *testing.T, b *bench) {
	ids := b.ordered("sku", 2)
	for i := range 3 {
		b.wantClaimed(ids[0])
		b.restart()
		taken, err := b.TakeOver(b.ctx(), store.TakeOverParams{
			Node: node, MaxInterruptions: 1, FIFOStop: func(core.Destination) (stops, known bool) { return false, false },
		})
		b.must(err)
		if taken.Returned != 1 || len(taken.Dead) != 0 {
			b.t.Fatalf("turn %d: who doesn't know the route took over %+v", i, taken)
		}
	}
	if c := b.wantClaimed(ids[0]); c.Delivery.Interruptions != 3 {
		b.t.Errorf("claimed with %d interruptions, want 3", c.Delivery.Interruptions)
	}
	b.claimNone()
}

func orderSurvives(t *testing.T, b *bench) {
	ids := b.ordered("sku", 3)
	b.must(b.finish(b.outcome(b.wantClaimed(ids[0]), store.VerdictSucceeded)))
	b.restart()
	ids = append(ids, b.ordered("sku", 1)...)
	for i, id := range ids[1:] {
		b.must(b.finish(b.outcome(b.wantClaimed(id), store.VerdictSucceeded)))
		if i == 1 {
			b.restart()
		}
	}
	if got := fmt.Sprint(len(b.claim(10))); got != "0" {
		t.Errorf("%s are left", got)
	}
}
