package storetest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"relais/internal/core"
	"relais/internal/store"
)

// modelWindow is how long a key is remembered. It is shorter than retention keeps any event.
func modelWindow(key string) time.Duration {
	if key == "short" {
		return 5 * time.Second
	}
	return time.Hour
}

// appendSome sends a batch of new events and of events that were sent before, in the same batch too.
func (m *model) appendSome() {
	known := slices.Clone(m.events)
	var batch []*modelEvent
	var fresh []bool
	for range 1 + upTo(m, 2, "events") {
		if len(known) > 0 && m.once(6, "again") {
			batch, fresh = append(batch, known[len(known)-1-upTo(m, len(known)-1, "which")]), append(fresh, false)
			continue
		}
		e := &modelEvent{sent: m.accepted()}
		known, batch, fresh = append(known, e), append(batch, e), append(fresh, true)
	}
	var sent []store.Accepted
	for _, e := range batch {
		sent = append(sent, e.sent)
	}
	if m.once(12, "refused") {
		m.appendRefused(sent)
		return
	}
	got, err := m.Append(m.t.Context(), sent)
	m.must(err)
	if len(got) != len(batch) {
		m.t.Fatalf("%d events gave %d results", len(batch), len(got))
	}
	for i, e := range batch {
		if fresh[i] {
			m.accept(e, got[i].Seq)
		}
		if diff := gocmp.Diff(e.got, got[i]); diff != "" {
			m.t.Fatalf("%s appended (-want +got):\n%s", e.sent.Event.ID, diff)
		}
	}
}

// appendRefused sends a batch with an event in it that can't be: nothing of it may be stored.
func (m *model) appendRefused(sent []store.Accepted) {
	bad := m.accepted()
	bad.DedupKey, bad.FanOut = [16]byte{}, false
	bad.Deliveries = []store.NewDelivery{{Destination: plain, Priority: 9}}
	_, err := m.Append(m.t.Context(), append(slices.Clone(sent), bad))
	m.wantCode(err, core.CodeInvalid)
}

// accepted draws a new event.
func (m *model) accepted() store.Accepted {
	m.serial++
	now := m.clock.Now()
	a := store.Accepted{
		Event: core.Event{
			ID: m.eventID(), Tenant: core.DefaultTenant, Source: pick(m, modelSources, "source"), Type: "estimate.accepted", NativeType: "estimate/accepted",
			ReceivedAt: now, Format: core.FormatJSON, Header: []byte("X-Odd: caf\xe9\r\n"), Body: fmt.Appendf(nil, "\x00\xff %d\r\n", m.serial),
		},
		RouteSet: pick(m, []string{"set-1", "set-2"}, "set"),
		Force:    m.once(8, "force"),
		FanOut:   m.once(8, "fan out"),
	}
	if m.once(2, "keyed") {
		key := pick(m, modelKeys, "key")
		a = keyed(a, key, modelWindow(key))
	}
	for range 1 + upTo(m, 3, "deliveries") {
		a.Deliveries = append(a.Deliveries, m.drawDelivery())
	}
	return a
}

// eventID counts where a UUIDv7 is random, so that a failure is the same each time.
func (m *model) eventID() (id core.EventID) {
	binary.BigEndian.PutUint64(id[:], uint64(m.clock.Now().UnixMilli())<<16|0x7000)
	binary.BigEndian.PutUint64(id[8:], 1<<63|m.serial)
	return id
}

func (m *model) drawDelivery() store.NewDelivery {
	n := store.NewDelivery{Destination: pick(m, modelDestinations, "to")}
	n.Priority = m.lanes[n.Destination].priority
	if m.once(6, "urgent") {
		n.Priority = core.PriorityUrgent
	}
	if m.once(5, "delayed") {
		n.Delay = pick(m, modelDelays, "delay")
	}
	if keys := m.lanes[n.Destination].keys; keys != nil {
		n.Ordered, n.OrderKey = true, pick(m, keys, "order key")
	}
	return n
}

// accept writes a new event into the model, with what must become of it.
func (m *model) accept(e *modelEvent, seq int64) {
	m.t.Helper()
	if seq <= m.lastSeq {
		m.t.Fatalf("event number %d after %d", seq, m.lastSeq)
	}
	now, a := m.clock.Now(), &e.sent
	m.lastSeq, e.at = seq, now
	e.want, e.got = a.Event, store.Appended{Seq: seq}
	e.want.Seq = seq
	m.events = append(m.events, e)
	if key := string(a.DedupKey[:]); a.DedupWindow > 0 {
		first := m.keys[key]
		if first != nil && now.Sub(first.at) < a.DedupWindow && !a.Force {
			e.want.RepeatOf, e.got.RepeatOf = first.want.ID, first.want.ID
			m.t.Logf("%s repeats %s", e.want.ID, first.want.ID)
			return
		}
		m.keys[key] = e // a forced one is a first, and what comes later repeats it
	}
	if a.FanOut {
		e.ordered, e.rest = true, inExpandOrder(a.Deliveries)
		return
	}
	for _, n := range a.Deliveries {
		m.deliver(e, n)
	}
}

func inExpandOrder(list []store.NewDelivery) []store.NewDelivery {
	return slices.SortedStableFunc(slices.Values(list), func(a, b store.NewDelivery) int {
		return strings.Compare(a.Destination.String(), b.Destination.String())
	})
}

// expandOne makes the next deliveries of an order to fan out.
func (m *model) expandOne() {
	e := pick(m, m.orders(), "order")
	n := upTo(m, len(e.rest), "next")
	m.expand(e, n, n == len(e.rest) && !m.once(3, "not done"))
}

// expand makes n more deliveries, and sends the same again, as after an answer that was lost.
func (m *model) expand(e *modelEvent, n int, done bool) {
	m.t.Helper()
	p := store.ExpandParams{Event: e.want.ID, Deliveries: e.rest[:n], Done: done}
	for range 2 {
		m.must(m.Expand(m.t.Context(), p))
	}
	for _, d := range p.Deliveries {
		if d.Destination.String() <= e.cursor {
			continue // made before, and perhaps gone since
		}
		m.deliver(e, d)
		e.cursor = d.Destination.String()
	}
	e.rest, e.ordered = e.rest[n:], !done
}

const (
	modelKept     = 100 * time.Hour
	modelKeptDead = 150 * time.Hour
	modelAttempts = 50 * time.Hour
)

// retain deletes what is old. A store may keep what it need not, and may let an ended delivery go before an
// event that another delivery needs; but nothing young, live or replayable may go.
func (m *model) retain() {
	m.pass(pick(m, []time.Duration{160 * time.Hour, 60 * time.Hour, 110 * time.Hour, 0}, "after"))
	p := store.RetainParams{Events: modelKept, Dead: modelKeptDead, Attempts: modelAttempts}
	for more := true; more; {
		r, err := m.Retain(m.t.Context(), p)
		m.must(err)
		more = r.More
	}
	for _, e := range slices.Clone(m.events) {
		if _, err := m.Event(m.t.Context(), e.want.ID); err != nil {
			m.wantCode(err, core.CodeNotFound)
			m.mayGo(e)
			m.outlive(e)
			m.remove(e)
		}
	}
	for _, d := range slices.Clone(m.deliveries) {
		if _, err := m.Delivery(m.t.Context(), d.want.ID); err != nil {
			m.wantCode(err, core.CodeNotFound)
			if m.needed(d) || m.clock.Now().Sub(d.want.FinishedAt) <= modelKept {
				m.t.Fatalf("at %s retention took %+v", m.clock.Now(), d.want)
			}
			m.removeDelivery(d)
			continue
		}
		m.retainedAttempts(d)
	}
}

// outlive notes which of a lost event's deliveries are left: where retention goes by days, they go with the
// day on which they ended.
func (m *model) outlive(e *modelEvent) {
	m.t.Helper()
	for _, d := range m.deliveriesOf(e) {
		_, err := m.Delivery(m.t.Context(), d.want.ID)
		switch {
		case err != nil:
			m.wantCode(err, core.CodeNotFound)
		case m.alone:
			m.t.Fatalf("retention took %s and left its delivery %s", e.want.ID, d.want.ID)
		default:
			m.outlived[d.want.ID] = d.want.State
		}
	}
}

// mayGo fails where an event must be kept.
func (m *model) mayGo(e *modelEvent) {
	m.t.Helper()
	if e.ordered || m.clock.Now().Sub(e.want.ReceivedAt) <= modelKept || slices.ContainsFunc(m.deliveriesOf(e), m.needed) {
		m.t.Fatalf("at %s retention took %s, received at %s", m.clock.Now(), e.want.ID, e.want.ReceivedAt)
	}
}

// needed tells whether a delivery has still to run, or to be replayed.
func (m *model) needed(d *modelDelivery) bool {
	replayable := d.want.State == core.StateDead && m.clock.Now().Sub(d.want.FinishedAt) < modelKeptDead
	return d.live() || d.stops || replayable
}

func (m *model) retainedAttempts(d *modelDelivery) {
	m.t.Helper()
	if len(d.attempts) == 0 {
		return
	}
	got, err := m.Attempts(m.t.Context(), d.want.ID)
	m.must(err)
	for claim, a := range d.attempts {
		kept := slices.ContainsFunc(got, func(k store.Attempt) bool { return k.Claim == claim })
		if !kept && m.clock.Now().Sub(a.Started) <= modelAttempts {
			m.t.Fatalf("retention took attempt %d of %s, started at %s", claim, d.want.ID, a.Started)
		}
		if !kept {
			delete(d.attempts, claim)
		}
	}
}

// purgeable are events that have no key to be remembered: what a key that lost its event means isn't
// promised.
func (m *model) purgeable() []*modelEvent {
	return slices.DeleteFunc(slices.Clone(m.events), func(e *modelEvent) bool {
		return e.sent.DedupWindow > 0 && e.want.RepeatOf.IsZero()
	})
}

// purgeOne deletes an event for good.
func (m *model) purgeOne() {
	e := pick(m, m.purgeable(), "event")
	n, err := m.Purge(m.t.Context(), []core.EventID{e.want.ID}, "anne")
	for _, d := range m.deliveriesOf(e) {
		if d.want.State == core.StateRunning {
			m.wantCode(err, core.CodeConflict)
			return
		}
	}
	m.must(err)
	if n != 1 {
		m.t.Fatalf("%d events are purged, want 1", n)
	}
	m.remove(e)
}
