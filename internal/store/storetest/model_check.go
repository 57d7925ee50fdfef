package storetest

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"relais/internal/core"
	"relais/internal/store"
)

var emptyIsNil = cmpopts.EquateEmpty()

// check compares all that the store shows with the model.
func (m *model) check() {
	m.t.Helper()
	m.checkDeliveries()
	m.checkEvents()
	m.checkStats()
	m.checkWork()
	m.checkEffects()
	m.checkOrders()
	m.checkPauses()
}

func (m *model) checkStats() {
	m.t.Helper()
	stats, err := m.Stats(m.t.Context())
	m.must(err)
	for state, got := range map[core.State]int64{
		core.StatePending: stats.Pending, core.StateRunning: stats.Running, core.StateDead: stats.Dead,
	} {
		more := int64(0)
		for _, outlived := range m.outlived {
			if outlived == state {
				more++
			}
		}
		if want := m.count(state); got < want || got > want+more {
			m.t.Fatalf("%d %s deliveries are counted, want %d", got, state, want)
		}
	}
}

// checkDeliveries pages through all deliveries. Each must be one that was made, once, as it should stand,
// and none may be missing.
func (m *model) checkDeliveries() {
	m.t.Helper()
	seen, before := map[place]bool{}, int64(0)
	for {
		page, err := m.Deliveries(m.t.Context(), store.DeliveryFilter{Before: before, Limit: 100})
		m.must(err)
		if len(page) == 0 {
			break
		}
		for _, got := range page {
			if before != 0 && int64(got.ID) >= before {
				m.t.Fatalf("%s is listed after %d", got.ID, before)
			}
			before = int64(got.ID)
			if m.outlived[got.ID] == got.State {
				continue
			}
			at := place{got.Event, got.Destination, got.Replay}
			d := m.places[at]
			if d == nil {
				m.t.Fatalf("nobody made %+v", got)
			}
			if seen[at] {
				m.t.Fatalf("event %s has two deliveries for %s in replay %d", got.Event, got.Destination, got.Replay)
			}
			seen[at] = true
			m.sameDelivery(d, got)
		}
	}
	for at := range m.places {
		if !seen[at] {
			m.t.Fatalf("the delivery of %s for %s in replay %d is missing", at.event, at.destination, at.replay)
		}
	}
}

func (m *model) sameDelivery(d *modelDelivery, got core.Delivery) {
	m.t.Helper()
	if d.want.ID == 0 {
		d.want.ID = got.ID
	}
	want := d.want
	if want.State != core.StatePending {
		got.DueAt, want.DueAt = time.Time{}, time.Time{} // it says nothing any more
	}
	if want.Message == anyMessage {
		got.Message = anyMessage
	}
	got.CreatedAt, got.DueAt, got.FinishedAt = got.CreatedAt.UTC(), got.DueAt.UTC(), got.FinishedAt.UTC()
	if want != got {
		m.t.Fatalf("%s differs (-want +stored):\n%s", got.ID, gocmp.Diff(want, got))
	}
}

// checkEvents compares every acknowledged event, to the byte.
func (m *model) checkEvents() {
	m.t.Helper()
	i, before := len(m.events)-1, int64(0)
	for {
		page, err := m.Events(m.t.Context(), store.EventFilter{Repeats: true, Body: true, Before: before, Limit: 100})
		m.must(err)
		if len(page) == 0 {
			break
		}
		for _, got := range page {
			if i < 0 {
				m.t.Fatalf("nobody sent %+v", got)
			}
			m.sameEvent(m.events[i], got)
			before = got.Seq
			i--
		}
	}
	if i >= 0 {
		m.t.Fatalf("event %s was acknowledged and isn't there", m.events[i].want.ID)
	}
}

func (m *model) sameEvent(e *modelEvent, got core.Event) {
	m.t.Helper()
	got.ReceivedAt = got.ReceivedAt.UTC()
	if !reflect.DeepEqual(e.want, got) { // a tenth of the time that a diff takes
		m.t.Fatalf("event %s differs (-sent +stored):\n%s", e.want.ID, gocmp.Diff(e.want, got))
	}
}

// checkWork compares the lanes that have something to do, page by page. A store may still show a lane of
// which nothing but deliveries of a paused source is left.
func (m *model) checkWork() {
	m.t.Helper()
	due := map[core.Destination]time.Time{}   // of what is allowed
	early := map[core.Destination]time.Time{} // with what a paused source holds
	for _, d := range m.deliveries {
		allowed, held := m.waits(d)
		if allowed {
			earlier(due, d.want.Destination, d.want.DueAt)
		}
		if allowed || held {
			earlier(early, d.want.Destination, d.want.DueAt)
		}
	}
	after := store.LaneID(0)
	for {
		page, err := m.Work(m.t.Context(), after, 2)
		m.must(err)
		if len(page) == 0 {
			break
		}
		for _, w := range page {
			if w.Lane <= after {
				m.t.Fatalf("lane %d is listed after %d", w.Lane, after)
			}
			after = w.Lane
			m.sameLane(w.Destination, w.Lane)
			first, ok := early[w.Destination]
			if !ok {
				m.t.Fatalf("%s has nothing to do, and is shown as work", w.Destination)
			}
			last, ok := due[w.Destination]
			if w.NextDue.Before(first) || ok && w.NextDue.After(last) {
				m.t.Fatalf("the first delivery of %s is shown as due at %s, want %s", w.Destination, w.NextDue, last)
			}
			delete(due, w.Destination)
		}
	}
	for d := range due {
		m.t.Fatalf("%s has something to do, and isn't shown as work", d)
	}
}

func earlier(times map[core.Destination]time.Time, d core.Destination, at time.Time) {
	if first, ok := times[d]; !ok || at.Before(first) {
		times[d] = at
	}
}

func (m *model) sameLane(d core.Destination, id store.LaneID) {
	m.t.Helper()
	lane := m.lanes[d]
	if lane.id == 0 {
		lane.id = id
	}
	if lane.id != id {
		m.t.Fatalf("%s is lane %d, and was lane %d", d, id, lane.id)
	}
}

func (m *model) checkEffects() {
	m.t.Helper()
	got, err := m.Effects(m.t.Context(), store.EffectFilter{})
	m.must(err)
	var want []store.Effect
	for _, key := range slices.Sorted(maps.Keys(m.effects)) {
		want = append(want, *m.effects[key])
	}
	if diff := gocmp.Diff(want, got, emptyIsNil, asStored); diff != "" {
		m.t.Fatalf("effects differ (-want +stored):\n%s", diff)
	}
}

// asStored leaves out what belongs to an answer and not to the effect.
var asStored = cmpopts.IgnoreFields(store.Effect{}, "Now", "Held")

func (m *model) checkOrders() {
	m.t.Helper()
	got, err := m.PendingFanOuts(m.t.Context(), 1000)
	m.must(err)
	var want []store.FanOut
	for _, e := range m.orders() {
		want = append(want, store.FanOut{Event: e.want, RouteSet: e.sent.RouteSet, Cursor: e.cursor})
	}
	if diff := gocmp.Diff(want, got, emptyIsNil); diff != "" {
		m.t.Fatalf("orders to fan out differ (-want +stored):\n%s", diff)
	}
}

func (m *model) orders() []*modelEvent {
	return slices.DeleteFunc(slices.Clone(m.events), func(e *modelEvent) bool { return !e.ordered })
}

func (m *model) checkPauses() {
	m.t.Helper()
	list, err := m.Pauses(m.t.Context())
	m.must(err)
	got := map[pause]bool{}
	for _, p := range list {
		got[pause{p.Scope, p.Name}] = true
	}
	if !maps.Equal(got, m.paused) || len(list) != len(got) {
		m.t.Fatalf("%v is paused, want %v", got, m.pauses())
	}
}

func (m *model) pauses() []pause {
	return slices.SortedFunc(maps.Keys(m.paused), func(a, b pause) int {
		return cmp.Or(cmp.Compare(a.scope, b.scope), cmp.Compare(a.name, b.name))
	})
}

// checkHistory compares what was kept of a delivery beside its row.
func (m *model) checkHistory(d *modelDelivery) {
	m.t.Helper()
	steps, err := m.Steps(m.t.Context(), d.want.ID)
	m.must(err)
	if diff := gocmp.Diff(d.steps, steps, emptyIsNil); diff != "" {
		m.t.Fatalf("steps of %s differ (-want +stored):\n%s", d.want.ID, diff)
	}
	attempts, err := m.Attempts(m.t.Context(), d.want.ID)
	m.must(err)
	var want []store.Attempt
	for _, claim := range slices.Sorted(maps.Keys(d.attempts)) {
		want = append(want, d.attempts[claim])
	}
	if diff := gocmp.Diff(want, attempts, emptyIsNil, cmpopts.IgnoreFields(store.Attempt{}, "ID")); diff != "" {
		m.t.Fatalf("attempts of %s differ (-want +stored):\n%s", d.want.ID, diff)
	}
}
