package storetest

import (
	"slices"

	"relais/internal/core"
	"relais/internal/store"
)

// drawDeliveries draws up to three deliveries, newer ones first: mostly such as are wanted.
func (m *model) drawDeliveries(wanted func(*modelDelivery) bool) []*modelDelivery {
	all := slices.Clone(m.deliveries)
	slices.Reverse(all)
	some := slices.DeleteFunc(slices.Clone(all), func(d *modelDelivery) bool { return !wanted(d) })
	var drawn []*modelDelivery
	for range 1 + upTo(m, 2, "deliveries") {
		list := all
		if len(some) > 0 && !m.once(4, "any delivery") {
			list = some
		}
		drawn = append(drawn, pick(m, list, "delivery"))
	}
	return drawn
}

func (m *model) cancelSome() {
	m.cancel(m.drawDeliveries(func(d *modelDelivery) bool { return d.want.State == core.StatePending || d.stops }))
}

func (m *model) cancel(list []*modelDelivery) {
	m.t.Helper()
	var ids []core.DeliveryID
	for _, d := range list {
		ids = append(ids, d.want.ID)
	}
	got, err := m.Cancel(m.t.Context(), ids, "anne")
	m.must(err)
	want := 0
	for _, d := range list {
		if m.cancelled(d) {
			m.t.Logf("%s is cancelled", d.want.ID)
			want++
		}
	}
	if got != want {
		m.t.Fatalf("%d of %v are cancelled, want %d", got, ids, want)
	}
}

// replaySome replays deliveries, ended or not: mostly as they were, sometimes as if the configuration had
// changed since, from a step, or without saying which delivery is replayed.
func (m *model) replaySome() {
	list := m.drawDeliveries(func(d *modelDelivery) bool { return d.stops || len(d.steps) > 1 })
	p := store.ReplayParams{By: "anne"}
	var replayed []*modelDelivery
	for _, d := range list {
		if slices.ContainsFunc(replayed, func(o *modelDelivery) bool {
			return o.event == d.event && o.want.Destination == d.want.Destination
		}) {
			continue
		}
		replayed = append(replayed, d)
		p.Deliveries = append(p.Deliveries, m.drawReplay(d))
	}
	got, err := m.Replay(m.t.Context(), p)
	m.must(err)
	if got.Replay <= m.lastReplay || len(got.Deliveries) != len(replayed) {
		m.t.Fatalf("%d deliveries are replayed in replay %d after %d: %+v", len(replayed), got.Replay, m.lastReplay, got)
	}
	m.lastReplay = got.Replay
	for i, d := range replayed {
		m.replayed(d, p.Deliveries[i], got.Replay, got.Deliveries[i])
	}
}

func (m *model) drawReplay(d *modelDelivery) store.NewReplay {
	r := store.NewReplay{
		Event: d.event.want.ID, Destination: d.want.Destination, Priority: d.want.Priority, Of: d.want.ID,
		Ordered: d.ordered, OrderKey: d.want.OrderKey, RouteSet: "set-3",
	}
	if m.once(2, "from a step") {
		r.FromStep = modelSteps[len(modelSteps)-1-upTo(m, len(modelSteps)-1, "step")]
	}
	if m.once(8, "of none") {
		r.Of = 0
	}
	if m.once(5, "not ordered any more") {
		r.Ordered, r.OrderKey = false, ""
	}
	return r
}

// replayed writes a replay into the model: it takes the place of the dead delivery that stops its chain,
// and else waits its turn at the end.
func (m *model) replayed(of *modelDelivery, r store.NewReplay, number int64, id core.DeliveryID) {
	n := store.NewDelivery{Destination: r.Destination, Priority: r.Priority, Ordered: r.Ordered, OrderKey: r.OrderKey}
	d := m.newDelivery(of.event, n, number)
	d.want.ID, d.want.RouteSet, d.want.FromStep = id, r.RouteSet, r.FromStep
	m.t.Logf("%s replays %s", id, of.want.ID)
	c := d.chain()
	switch {
	case r.Of != 0 && of.stops && d.ordered && of.chain() == c:
		of.stops = false
		m.chains[c][0] = d
	case r.Of != 0 && of.stops:
		m.leaveChain(of)
	case d.ordered:
		m.chains[c] = append(m.chains[c], d)
	}
	if r.Of == 0 || r.FromStep == "" {
		return
	}
	for _, s := range of.steps {
		if s.Step == r.FromStep {
			return
		}
		d.steps = append(d.steps, s)
	}
}

var modelPauses = []pause{
	{store.PauseRoute, "plain"}, {store.PauseEndpoint, "plain"}, {store.PauseSource, "sellsy"}, {store.PauseRoute, "stock"},
	{store.PauseAll, ""}, {store.PauseSource, "boutique"},
}

func (m *model) pauseOne() {
	p := pick(m, modelPauses, "pause")
	m.must(m.SetPause(m.t.Context(), store.Pause{Scope: p.scope, Name: p.name, Reason: "moving", By: "anne"}))
	m.paused[p] = true
}

func (m *model) resumeOne() {
	p := pick(m, modelPauses, "resume")
	err := m.Resume(m.t.Context(), p.scope, p.name, "anne")
	if !m.paused[p] {
		m.wantCode(err, core.CodeNotFound)
		return
	}
	m.must(err)
	delete(m.paused, p)
}

// recount changes nothing that was right.
func (m *model) recount() { m.must(m.Recount(m.t.Context())) }
