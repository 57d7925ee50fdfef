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
