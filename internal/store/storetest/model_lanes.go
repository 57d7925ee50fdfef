package storetest

import (
	"errors"
	"math"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"relais/internal/core"
	"relais/internal/store"
)

// claimSome has a node claim from the lanes that it knows, whether or not they have something to give: what
// Work told it may be old.
func (m *model) claimSome() {
	p := store.ClaimParams{Node: pick(m, modelNodes, "node"), Lease: modelLease, Max: 1 + upTo(m, 7, "most")}
	left, first := p.Max, upTo(m, len(modelDestinations)-1, "first lane")
	for i := range modelDestinations {
		lane := m.lanes[modelDestinations[(first+i)%len(modelDestinations)]]
		if lane.id == 0 {
			continue
		}
		room := store.LaneRoom{Lane: lane.id, Window: lane.window, Rate: lane.rate, Burst: lane.burst}
		room.Max = upTo(m, 3, "room")
		if m.byLot(room, left) {
			room.Max = lane.window
		}
		if m.byLot(room, left) {
			room.Max = 0
		}
		_, most := m.room(room, left)
		left -= most
		p.Lanes = append(p.Lanes, room)
	}
	m.claim(p)
}

// byLot tells whether a lot would choose what a lane gives.
func (m *model) byLot(r store.LaneRoom, left int) bool {
	d, _ := m.laneOf(r.Lane)
	classes := map[int]bool{}
	list := m.claimable(d)
	for _, c := range list {
		classes[core.Class(c.want.Priority, c.want.Attempts)] = true
	}
	_, most := m.room(r, left)
	return len(classes) > 1 && most > 0 && most < len(list)
}

// claim claims, and checks that each lane gives exactly what it has and may.
func (m *model) claim(p store.ClaimParams) []*modelClaim {
	m.t.Helper()
	if !m.leased(p.Node) {
		m.beat(p.Node) // a node that can't beat claims nothing
	}
	m.nodes[p.Node].claimed = m.clock.Now()
	all, err := m.Claim(m.t.Context(), p)
	m.must(err)
	left := p.Max
	var claims []*modelClaim
	for _, room := range p.Lanes {
		destination, lane := m.laneOf(room.Lane)
		var got []store.Claimed
		all = slices.DeleteFunc(all, func(c store.Claimed) bool {
			if c.Lane == room.Lane {
				got = append(got, c)
			}
			return c.Lane == room.Lane
		})
		least, most := m.room(room, left)
		if len(got) < least || len(got) > most {
			m.t.Fatalf("%d deliveries of %s are claimed, want %d to %d", len(got), destination, least, most)
		}
		for _, c := range got {
			claims = append(claims, m.claimed(c, p.Node))
		}
		if room.Rate > 0 {
			lane.tokens, lane.tokensAt = m.tokens(lane)-float64(len(got)), m.clock.Now()
		}
		left -= len(got)
	}
	if len(all) != 0 {
		m.t.Fatalf("claimed from lanes that weren't asked: %+v", all)
	}
	return claims
}

func (m *model) laneOf(id store.LaneID) (core.Destination, *modelLane) {
	for d, lane := range m.lanes {
		if lane.id == id {
			return d, lane
		}
	}
	m.t.Fatalf("lane %d is nobody's", id)
	return core.Destination{}, nil
}

// room is how many deliveries a lane must give. Where a rate's tokens are nearly a whole number, it is
// either.
func (m *model) room(r store.LaneRoom, left int) (least, most int) {
	d, lane := m.laneOf(r.Lane)
	n := max(0, min(r.Max, left, r.Window-m.running(d), len(m.claimable(d))))
	if r.Rate == 0 {
		return n, n
	}
	const dust = 1e-6
	tokens := m.tokens(lane)
	return min(n, int(tokens-dust)), min(n, int(tokens+dust))
}

func (m *model) tokens(lane *modelLane) float64 {
	burst := float64(lane.burst)
	if lane.tokensAt.IsZero() {
		return burst
	}
	return math.Min(burst, lane.tokens+m.clock.Now().Sub(lane.tokensAt).Seconds()*lane.rate)
}

// claimed writes a claim into the model. The delivery must have been allowed, also by those of the same
// call that came before.
func (m *model) claimed(c store.Claimed, node string) *modelClaim {
	m.t.Helper()
	d := m.places[place{c.Delivery.Event, c.Delivery.Destination, c.Delivery.Replay}]
	if d == nil || !slices.Contains(m.claimable(c.Delivery.Destination), d) {
		m.t.Fatalf("claimed, and not to be claimed now: %+v", c.Delivery)
	}
	d.want.State, d.node = core.StateRunning, node
	d.want.Claim++
	m.sameDelivery(d, c.Delivery)
	m.sameEvent(d.event, c.Event)
	if diff := gocmp.Diff(d.steps, c.Steps, emptyIsNil); diff != "" {
		m.t.Fatalf("claimed with other steps (-want +got):\n%s", diff)
	}
	m.t.Logf("%s claims %s (%s) as %d", node, d.want.ID, d.want.Destination, d.want.Claim)
	claim := &modelClaim{delivery: d, lane: c.Lane, holder: store.Holder{Delivery: d.want.ID, Claim: d.want.Claim, Node: node}}
	m.claims = append(m.claims, claim)
	return claim
}

// anyClaim draws a claim, newer ones first: mostly one that a node works on, sometimes one that was
// finished, taken over, or forgotten in a crash.
func (m *model) anyClaim() *modelClaim {
	var held []*modelClaim
	for _, c := range slices.Backward(m.claims) {
		if c.newest() && !c.forgotten {
			held = append(held, c)
		}
	}
	if len(held) > 0 && !m.once(4, "an older claim") {
		return pick(m, held, "claim")
	}
	recent := slices.Clone(m.claims[max(0, len(m.claims)-20):])
	slices.Reverse(recent)
	return pick(m, recent, "claim")
}

var modelVerdicts = []store.Verdict{
	store.VerdictSucceeded, store.VerdictDead, store.VerdictRetry, store.VerdictReturn, store.VerdictDefer, store.VerdictSkipped,
}

// finishSome sends outcomes in one call: of what runs, of what was lost, and the same ones again.
func (m *model) finishSome() {
	var claims []*modelClaim
	var outcomes []store.Outcome
	for range 1 + upTo(m, 2, "outcomes") {
		c := m.anyClaim()
		claims = append(claims, c)
		if c.sent != nil && !m.once(3, "another outcome") {
			outcomes = append(outcomes, *c.sent)
			continue
		}
		outcomes = append(outcomes, m.outcome(c, pick(m, modelVerdicts, "verdict")))
	}
	m.finish(claims, outcomes)
	for _, c := range claims {
		if !c.delivery.gone {
			m.checkHistory(c.delivery)
		}
	}
}

func (m *model) outcome(c *modelClaim, v store.Verdict) store.Outcome {
	o := store.Outcome{
		Holder: c.holder, Unordered: !c.delivery.ordered && m.once(2, "told that it is unordered"), Verdict: v,
		Attempt: store.Attempt{Started: m.clock.Now(), Duration: 3 * time.Millisecond, Trace: []byte(`{"status":200}`)},
	}
	if m.once(2, "told its lane") {
		o.Lane = c.lane
	}
	switch v {
	case store.VerdictRetry, store.VerdictDefer:
		o.Delay = pick(m, modelDelays, "delay")
		o.Reason, o.Message = core.ReasonStatus, "answered 500"
		o.Attempt.Reason = core.ReasonTimeout
	case store.VerdictDead:
		o.Reason = core.ReasonExhausted
		o.FIFOStop = !m.once(3, "not stopping")
	case store.VerdictSucceeded, store.VerdictReturn:
		for range upTo(m, 3, "steps") {
			o.Steps = append(o.Steps, m.drawStep())
		}
	case store.VerdictSkipped:
	}
	return o
}

func (m *model) finish(claims []*modelClaim, outcomes []store.Outcome) {
	m.t.Helper()
	got, err := m.Finish(m.t.Context(), outcomes)
	m.must(err)
	if len(got) != len(outcomes) {
		m.t.Fatalf("%d outcomes gave %d results", len(outcomes), len(got))
	}
	for i, c := range claims {
		want := m.finished(c, outcomes[i])
		m.t.Logf("%s ends claim %d of %s: %s, %v", c.holder.Node, c.holder.Claim, c.holder.Delivery, outcomes[i].Verdict, want)
		// Of a delivery that outlived its event, an outcome that was written may be known still.
		_, outlived := m.outlived[c.holder.Delivery]
		if !errors.Is(got[i], want) && !(outlived && got[i] == nil && c.sent != nil) {
			m.t.Fatalf("outcome %s of claim %d of %s gave %v, want %v", outcomes[i].Verdict, c.holder.Claim, c.holder.Delivery, got[i], want)
		}
		c.sent = &outcomes[i]
	}
}

func (m *model) drawStep() store.StepResult {
	return store.StepResult{
		Step: pick(m, modelSteps, "step"), Definition: pick(m, []string{"d1", "d2"}, "definition"), Result: []byte(`{"number":"F-1"}`),
	}
}

var (
	modelSteps  = []string{"facture", "avis", "mail"}
	modelDelays = []time.Duration{0, 5 * time.Second, 10 * time.Minute}
)

func (m *model) saveStep() {
	c, s := m.anyClaim(), m.drawStep()
	err := m.SaveStep(m.t.Context(), c.holder, s)
	if !c.newest() {
		if !errors.Is(err, store.ErrLostClaim) {
			m.t.Fatalf("a step of the older claim %+v gave %v", c.holder, err)
		}
		return
	}
	m.must(err)
	c.delivery.saveStep(s)
	m.checkHistory(c.delivery)
}
