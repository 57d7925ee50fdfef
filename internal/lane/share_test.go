package lane

import (
	"fmt"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// One claim asks for the quarter that all lanes that hang may have, also where its first were within the node's half.
func TestClaimAsksForTheQuarterOfThoseThatHang(t *testing.T) {
	c := &configuration{of: map[core.Destination]configured{}}
	l := New(Options{Store: newModelStore(t), Settings: c.settings, Bounds: Bounds{Running: 64}})
	now, b := time.Now(), l.board
	lane := func(n int) *lane {
		dest := route(fmt.Sprint("r", n))
		c.set(dest, Settings{Window: 64}, succeed)
		return b.learn(store.LaneWork{Lane: store.LaneID(n), Destination: dest})
	}
	well := lane(1)
	well.proven = true
	for id := range 28 {
		b.start(well, core.DeliveryID(id+1), 1, now)
	}
	for n := range 40 {
		hangs := lane(n + 2)
		hangs.timedOut = true
		b.push(hangs)
	}
	if asked := l.plan(now); len(asked) != 16 {
		t.Errorf("%d lanes that hang are asked, want 16", len(asked))
	}
}

// A lane that is woken while a claim asks for it, and that another claim passes by meanwhile, is among the fresh ones
// again when the first has ended: its delivery doesn't wait for a turn of all that have a backlog.
func TestLaneWokenDuringItsClaimStaysFresh(t *testing.T) {
	c := &configuration{of: map[core.Destination]configured{}}
	l := New(Options{Store: newModelStore(t), Settings: c.settings})
	now, b := time.Now(), l.board
	dest := route("a")
	c.set(dest, Settings{}, succeed)
	woken := b.learn(store.LaneWork{Lane: 1, Destination: dest})
	b.wake(woken)
	first := l.plan(now)
	if len(first) != 1 {
		t.Fatalf("%d lanes are asked, want 1", len(first))
	}
	b.wake(woken)
	if second := l.plan(now); len(second) != 0 {
		t.Fatalf("%d lanes are asked beside the claim that asks for them, want none", len(second))
	}
	delete(b.asked, woken)
	l.after(first[0], 1, now)
	if next, fresh := b.pop(true); next != woken || !fresh {
		t.Errorf("woken during its claim, the lane is among the fresh ones: %v, want true", fresh)
	}
}
