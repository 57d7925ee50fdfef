package storetest

import (
	"cmp"
	"slices"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

func (m *model) advance() {
	d := pick(m, []time.Duration{
		time.Second, 5 * time.Second, 11 * time.Second, 10 * time.Minute, time.Millisecond, time.Hour,
	}, "by")
	m.pass(d)
}

func (m *model) pass(d time.Duration) {
	m.clock.mu.Lock()
	defer m.clock.mu.Unlock()
	m.clock.now = m.clock.now.Add(d)
}

func (m *model) beatOne() { m.beat(pick(m, modelNodes, "node")) }

func (m *model) beat(node string) {
	m.t.Helper()
	m.must(m.Beat(m.t.Context(), node, modelLease))
	m.nodes[node].beat = m.clock.Now()
}

// leased tells whether a node's lease surely stands.
func (m *model) leased(node string) bool {
	return m.clock.Now().Before(m.nodes[node].beat.Add(modelLease))
}

// lapsed tells whether a node's lease has surely lapsed, whether or not a claim prolongs it.
func (m *model) lapsed(node string) bool {
	now, n := m.clock.Now(), m.nodes[node]
	return now.After(n.beat.Add(modelLease)) && now.After(n.claimed.Add(modelLease))
}

// crash has a node forget what it holds. Its outcomes may still arrive.
func (m *model) crash() { m.forget(pick(m, modelNodes, "node")) }

func (m *model) forget(node string) {
	for _, c := range m.claims {
		if c.holder.Node == node {
			c.forgotten = true
		}
	}
}

// restart closes the store and opens it again: whoever used it is gone.
func (m *model) restart() {
	m.must(m.Close())
	m.Store = m.open()
	for _, node := range modelNodes {
		m.forget(node)
	}
}

func (m *model) takeOver() {
	m.takeOverAs(pick(m, modelNodes, "node"), 1+upTo(m, 2, "interruptions allowed"))
}

// takeOverAs has a node take over: what it doesn't know of under its own name, and what dead nodes held.
func (m *model) takeOverAs(node string, most int) {
	m.t.Helper()
	m.beat(node)
	held := map[core.DeliveryID]bool{}
	p := store.TakeOverParams{Node: node, MaxInterruptions: most, FIFOStop: func(d core.Destination) (stops, known bool) { return m.lanes[d].stop, true }}
	for _, c := range m.claims {
		if c.holder.Node == node && c.newest() && !c.forgotten {
			held[c.holder.Delivery] = true
			p.Held = append(p.Held, c.holder.Delivery)
		}
	}
	got, err := m.TakeOver(m.t.Context(), p)
	m.must(err)
	returned, dead := 0, map[core.DeliveryID]bool{}
	for _, d := range m.deliveries {
		if d.want.State != core.StateRunning || !m.takenFrom(d, node, held) {
			continue
		}
		if m.interrupted(d, most, m.lanes[d.want.Destination].stop) {
			dead[d.want.ID] = true
		} else {
			returned++
		}
		m.t.Logf("%s takes %s over from %s: %s", node, d.want.ID, d.node, d.want.State)
	}
	if got.Returned != returned || len(got.Dead) != len(dead) {
		m.t.Fatalf("%d returned and %d dead by taking over, want %d and %d", got.Returned, len(got.Dead), returned, len(dead))
	}
	for _, d := range got.Dead {
		if !dead[d.ID] {
			m.t.Fatalf("%s is told to be dead", d.ID)
		}
	}
}

// takenFrom tells whether a running delivery is to be taken over by a node. Where its holder's lease
// stands or not depending on whether a claim prolongs it, the store says.
func (m *model) takenFrom(d *modelDelivery, node string, held map[core.DeliveryID]bool) bool {
	m.t.Helper()
	switch {
	case d.node == node:
		return !held[d.want.ID]
	case m.alone || m.lapsed(d.node):
		return true
	case m.leased(d.node):
		return false
	}
	got, err := m.Delivery(m.t.Context(), d.want.ID)
	m.must(err)
	return got.State != core.StateRunning
}

// drain ends a round: what keeps deliveries waiting is lifted, and everything must come to its end.
func (m *model) drain() {
	m.t.Helper()
	for _, p := range m.pauses() {
		m.must(m.Resume(m.t.Context(), p.scope, p.name, "anne"))
		delete(m.paused, p)
	}
	for _, e := range m.orders() {
		m.expand(e, len(e.rest), true)
	}
	for _, node := range modelNodes {
		m.forget(node)
	}
	m.pass(2 * modelLease)
	m.takeOverAs(modelNodes[0], 0)
	m.cancelStopped()
	m.pass(time.Hour) // all is due
	m.check()
	for m.count(core.StatePending) > 0 {
		m.finishAll()
		m.check()
	}
	for _, d := range m.deliveries {
		if d.live() || d.stops {
			m.t.Fatalf("%s didn't end: %+v", d.want.ID, d.want)
		}
		m.checkHistory(d)
	}
	slices.SortStableFunc(m.claims, func(a, b *modelClaim) int { return cmp.Compare(a.holder.Delivery, b.holder.Delivery) })
	m.claims = m.claims[max(0, len(m.claims)-20):]
}

// cancelStopped lets what waits behind dead deliveries go on.
func (m *model) cancelStopped() {
	m.t.Helper()
	for _, d := range m.deliveries {
		if d.stops {
			m.cancel([]*modelDelivery{d})
		}
	}
}

// finishAll claims what is claimable now, and finishes it. There must be something.
func (m *model) finishAll() {
	m.t.Helper()
	work, err := m.Work(m.t.Context(), 0, 100)
	m.must(err)
	p := store.ClaimParams{Node: modelNodes[0], Lease: modelLease, Max: 1000}
	for _, w := range work {
		p.Lanes = append(p.Lanes, store.LaneRoom{Lane: w.Lane, Max: 100, Window: m.lanes[w.Destination].window})
	}
	claims := m.claim(p)
	if len(claims) == 0 {
		m.t.Fatalf("%d deliveries are pending, and nothing can be claimed", m.count(core.StatePending))
	}
	var outcomes []store.Outcome
	for _, c := range claims {
		outcomes = append(outcomes, store.Outcome{
			Holder: c.holder, Lane: c.lane, Unordered: !c.delivery.ordered, Verdict: store.VerdictSucceeded,
			Attempt: store.Attempt{Started: m.clock.Now()},
		})
	}
	m.finish(claims, outcomes)
}
