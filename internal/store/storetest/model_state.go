package storetest

import (
	"slices"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// modelEvent is an acknowledged event.
type modelEvent struct {
	sent store.Accepted
	want core.Event // as it must be shown
	got  store.Appended
	at   time.Time // when its key was seen
	// rest is what its order to fan out has still to make, in the order in which it must be made; ordered
	// says that there is an order.
	ordered bool
	rest    []store.NewDelivery
	cursor  string
}

// modelDelivery is a delivery that must be there exactly once, and what is known of it.
type modelDelivery struct {
	want    core.Delivery // as it must be shown; ID is 0 until the store has told it
	event   *modelEvent
	ordered bool
	stops   bool   // dead, and keeps what waits behind it waiting
	node    string // that runs it
	steps   []store.StepResult
	gone    bool // by retention or a purge
	// attempts are the outcomes that were written, by claim.
	attempts map[int]store.Attempt
}

// modelClaim is a claim that a node was given.
type modelClaim struct {
	holder   store.Holder
	lane     store.LaneID
	delivery *modelDelivery
	// forgotten says that its node has crashed since: what it still sends comes from a process that is dead.
	forgotten bool
	// sent is the outcome that was sent last.
	sent *store.Outcome
}

// newest tells whether the claim is the one whose outcome counts.
func (c *modelClaim) newest() bool {
	d := c.delivery
	return !d.gone && d.want.State == core.StateRunning && d.want.Claim == c.holder.Claim
}

func (d *modelDelivery) live() bool {
	return d.want.State == core.StatePending || d.want.State == core.StateRunning
}

func (d *modelDelivery) chain() chain { return chain{d.want.Destination, d.want.OrderKey} }

// deliver makes a delivery at the end of its chain, unless the event has it already.
func (m *model) deliver(e *modelEvent, n store.NewDelivery) {
	if d := m.newDelivery(e, n, 0); d != nil && d.ordered {
		m.chains[d.chain()] = append(m.chains[d.chain()], d)
	}
}

func (m *model) newDelivery(e *modelEvent, n store.NewDelivery, replay int64) *modelDelivery {
	at := place{e.want.ID, n.Destination, replay}
	if m.places[at] != nil {
		return nil
	}
	now := m.clock.Now()
	d := &modelDelivery{
		event: e, ordered: n.Ordered, attempts: map[int]store.Attempt{},
		want: core.Delivery{
			Event: e.want.ID, EventSeq: e.want.Seq, Destination: n.Destination, Priority: n.Priority, State: core.StatePending,
			Replay: replay, RouteSet: e.sent.RouteSet, CreatedAt: now, DueAt: now.Add(n.Delay),
		},
	}
	if n.Ordered {
		d.want.Ordered, d.want.OrderKey = true, n.OrderKey
	}
	m.places[at] = d
	m.deliveries = append(m.deliveries, d)
	return d
}

// leaveChain lets the next of the chain go, when the first leaves.
func (m *model) leaveChain(d *modelDelivery) {
	d.stops = false
	if d.ordered {
		m.chains[d.chain()] = slices.DeleteFunc(m.chains[d.chain()], func(o *modelDelivery) bool { return o == d })
	}
}

// waits tells whether a delivery is pending and nothing but its time keeps it from being claimed; held is
// the same for one whose source is paused, which a store may still show as work.
func (m *model) waits(d *modelDelivery) (allowed, held bool) {
	if d.want.State != core.StatePending || m.lanePaused(d.want.Destination) {
		return false, false
	}
	if d.ordered && m.chains[d.chain()][0] != d {
		return false, false
	}
	held = m.paused[pause{store.PauseSource, d.event.want.Source}]
	return !held, held
}

func (m *model) lanePaused(d core.Destination) bool {
	scope := store.PauseRoute
	if d.Kind == core.DestinationEndpoint {
		scope = store.PauseEndpoint
	}
	return m.paused[pause{store.PauseAll, ""}] || m.paused[pause{scope, d.Name}]
}

// claimable are a lane's deliveries that a claim may be given now.
func (m *model) claimable(lane core.Destination) []*modelDelivery {
	var list []*modelDelivery
	for _, d := range m.deliveries {
		if d.want.Destination != lane || d.want.DueAt.After(m.clock.Now()) {
			continue
		}
		if allowed, _ := m.waits(d); allowed {
			list = append(list, d)
		}
	}
	return list
}

func (m *model) count(state core.State) (n int64) {
	for _, d := range m.deliveries {
		if d.want.State == state {
			n++
		}
	}
	return n
}

func (m *model) running(lane core.Destination) (n int) {
	for _, d := range m.deliveries {
		if d.want.Destination == lane && d.want.State == core.StateRunning {
			n++
		}
	}
	return n
}

// finished writes an outcome into the model, and returns what the store must say to it.
func (m *model) finished(c *modelClaim, o store.Outcome) error {
	d, now := c.delivery, m.clock.Now()
	if !c.newest() {
		if a, known := d.attempts[c.holder.Claim]; known && a.Verdict == o.Verdict && !d.gone {
			return nil // the same outcome, sent again
		}
		return store.ErrLostClaim
	}
	w := &d.want
	w.Reason, w.Message = o.Reason, o.Message
	if o.Verdict != store.VerdictReturn {
		w.Interruptions = 0
	}
	switch o.Verdict {
	case store.VerdictSucceeded, store.VerdictSkipped:
		w.State, w.Skipped, w.FinishedAt = core.StateSucceeded, o.Verdict == store.VerdictSkipped, now
		w.Attempts++
	case store.VerdictDead:
		w.State, w.FinishedAt = core.StateDead, now
		w.Attempts++
	case store.VerdictRetry:
		w.State, w.DueAt = core.StatePending, now.Add(o.Delay)
		w.Attempts++
	case store.VerdictDefer:
		w.State, w.DueAt = core.StatePending, now.Add(o.Delay)
	case store.VerdictReturn:
		w.State, w.DueAt = core.StatePending, now
	}
	if !d.live() {
		m.ended(d, o.FIFOStop)
	}
	for _, s := range o.Steps {
		d.saveStep(s)
	}
	a := o.Attempt
	a.Delivery, a.Claim, a.Node, a.Verdict = w.ID, c.holder.Claim, c.holder.Node, o.Verdict
	d.attempts[c.holder.Claim] = a
	return nil
}

// ended takes a delivery that has just ended out of its chain, unless it is dead and stops it.
func (m *model) ended(d *modelDelivery, stop bool) {
	if d.want.State == core.StateDead && d.ordered && stop {
		d.stops = true
		return
	}
	m.leaveChain(d)
}

func (d *modelDelivery) saveStep(s store.StepResult) {
	at := slices.IndexFunc(d.steps, func(o store.StepResult) bool { return o.Step == s.Step })
	if at < 0 {
		d.steps = append(d.steps, s)
		return
	}
	d.steps[at] = s
}

// cancelled ends a delivery for a person, and tells whether it could be.
func (m *model) cancelled(d *modelDelivery) bool {
	if d.gone || (d.want.State != core.StatePending && !d.stops) {
		return false
	}
	d.want.State, d.want.FinishedAt, d.want.Reason = core.StateCancelled, m.clock.Now(), core.ReasonCancelled
	d.want.Message = anyMessage
	m.leaveChain(d)
	return true
}

// anyMessage stands for a text that is the store's.
const anyMessage = "any"

// interrupted gives a running delivery back, or ends it when it was interrupted often enough.
func (m *model) interrupted(d *modelDelivery, most int, stop bool) (dead bool) {
	w, now := &d.want, m.clock.Now()
	w.Interruptions++
	if most <= 0 || w.Interruptions < most {
		w.State, w.DueAt = core.StatePending, now
		if m.hasSent(d) {
			w.Reason = core.ReasonUnknown
		}
		return false
	}
	w.State, w.FinishedAt, w.Reason, w.Message = core.StateDead, now, core.ReasonInterrupted, anyMessage
	m.ended(d, stop)
	return true
}

func (m *model) hasSent(d *modelDelivery) bool {
	for _, e := range m.effects {
		if e.State == store.EffectSent && e.Holder.Delivery == d.want.ID {
			return true
		}
	}
	return false
}

// remove forgets an event with all that belongs to it.
func (m *model) remove(e *modelEvent) {
	m.events = slices.DeleteFunc(m.events, func(o *modelEvent) bool { return o == e })
	for _, d := range m.deliveriesOf(e) {
		m.removeDelivery(d)
	}
}

func (m *model) removeDelivery(d *modelDelivery) {
	d.gone = true
	m.leaveChain(d)
	m.deliveries = slices.DeleteFunc(m.deliveries, func(o *modelDelivery) bool { return o == d })
	delete(m.places, place{d.want.Event, d.want.Destination, d.want.Replay})
}

func (m *model) deliveriesOf(e *modelEvent) []*modelDelivery {
	var list []*modelDelivery
	for _, d := range m.deliveries {
		if d.event == e {
			list = append(list, d)
		}
	}
	return list
}
