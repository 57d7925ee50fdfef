package sqlite

import (
	"context"
	"errors"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Append implements store.Appender.
func (s *Store) Append(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	results := make([]store.Appended, len(batch))
	err := s.do(ctx, ingest, func(t *tx) error {
		for i := range batch {
			var err error
			if results[i], err = t.append(&batch[i]); err != nil {
				return err
			}
		}
		return t.flushEvents()
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (t *tx) append(a *store.Accepted) (store.Appended, error) {
	e := &a.Event
	var key dedupKey
	if a.DedupKey != ([16]byte{}) && a.DedupWindow > 0 {
		key = newDedupKey(a.DedupKey, a.DedupWindow, t.now)
	}
	repeatOf := e.RepeatOf
	if key.window > 0 && !a.Force {
		earlier, found, err := t.seen(&key)
		if err != nil {
			return store.Appended{}, err
		}
		if found {
			repeatOf = earlier
		}
	}
	if repeatOf == e.ID {
		repeatOf = core.EventID{} // it is the first itself, sent again after an unknown outcome
	}
	first := repeatOf.IsZero() || a.Force
	if !first {
		key = dedupKey{}
	}
	if t.alone {
		if err := t.flushEvents(); err != nil {
			return store.Appended{}, err
		}
		if stored, err := t.appended(e.ID); err != nil || stored.Seq != 0 {
			return stored, err
		}
	}
	seq := t.m.event + 1
	t.m.event = seq
	t.events = append(t.events, newEvent{Event: e, seq: seq, repeatOf: repeatOf, key: key})
	if key.window > 0 {
		t.m.rememberKey(key.key, keySeen{event: seq, at: key.now, bucket: key.bucket})
	}
	if first {
		if err := t.insertWork(a, seq); err != nil {
			return store.Appended{}, err
		}
	}
	if len(t.events) == maxRows {
		if err := t.flushEvents(); err != nil {
			return store.Appended{}, err
		}
	}
	return store.Appended{Seq: seq, RepeatOf: repeatOf}, nil
}

// insertWork stores what a first event brings with it: its deliveries, or the order to make them.
func (t *tx) insertWork(a *store.Accepted, seq int64) error {
	set, err := t.routeSet(a.RouteSet)
	if err != nil {
		return err
	}
	if a.FanOut {
		return t.c.q("INSERT INTO fan_out (event, route_set, cursor) VALUES (?, ?, '')").int(seq).int(set).exec()
	}
	if len(a.Deliveries) == 0 {
		return nil
	}
	source, err := t.name(a.Event.Source)
	if err != nil {
		return err
	}
	for i := range a.Deliveries {
		d := &a.Deliveries[i]
		if _, err := t.insertDelivery(newRow{
			event: seq, source: source, sourceName: a.Event.Source, destination: d.Destination,
			priority: d.Priority, delay: d.Delay, ordered: d.Ordered, orderKey: d.OrderKey, routeSet: set,
		}); err != nil {
			return err
		}
	}
	return nil
}

// newEvent is an event whose rows are still to be written.
type newEvent struct {
	*core.Event
	seq      int64
	repeatOf core.EventID
	key      dedupKey // to be remembered
}

// maxRows is how many rows a statement writes: what SQLite does for a statement costs more than for a row.
const maxRows = 8

// errStored says that an event was stored before. The operation runs again alone, and looks for each.
var errStored = errors.New("one of several events is stored already")

var (
	insertEvents = inRows(`INSERT INTO event (seq, id, tenant, source, type, native, at, format, flags, repeat_of, key_bucket, key, key_at) VALUES `,
		"(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", " ON CONFLICT (id) DO NOTHING")
	insertPayloads = inRows("INSERT INTO payload (seq, header, query, path, body) VALUES ", "(?, ?, ?, ?, ?)", "")
)

// inRows returns a statement's text by its number of rows.
func inRows(head, row, tail string) (texts [maxRows + 1]string) {
	for n := 1; n <= maxRows; n++ {
		texts[n] = head + row + strings.Repeat(", "+row, n-1) + tail
	}
	return texts
}

// flushEvents writes the rows of the events that wait for it.
func (t *tx) flushEvents() error {
	n := len(t.events)
	if n == 0 {
		return nil
	}
	events := t.c.q(insertEvents[n])
	for i := range t.events {
		if err := t.bindEvent(events, &t.events[i]); err != nil {
			return err
		}
	}
	if err := events.exec(); err != nil {
		return err
	}
	if t.c.changes() != n {
		return errStored
	}
	payloads := t.c.q(insertPayloads[n])
	for i := range t.events {
		e := &t.events[i]
		payloads.int(e.seq).blob(e.Header).textOrNull(e.Query).textOrNull(e.Path).blob(e.Body)
	}
	t.forgetEvents()
	return payloads.exec()
}

func (t *tx) forgetEvents() {
	clear(t.events)
	t.events = t.events[:0]
}

func (t *tx) bindEvent(q *stmt, e *newEvent) error {
	tenant, err := t.name(tenantOr(e.Tenant))
	if err != nil {
		return err
	}
	source, err := t.name(e.Source)
	if err != nil {
		return err
	}
	format, err := t.name(string(e.Format))
	if err != nil {
		return err
	}
	native := e.NativeType
	if native == e.Type {
		native = ""
	}
	q.int(e.seq).blob(e.ID[:]).int(tenant).int(source).text(e.Type).textOrNull(native).
		int(micros(e.ReceivedAt)).int(format).int(store.EventFlags(e.Event))
	if e.repeatOf.IsZero() {
		q.null()
	} else {
		q.blob(e.repeatOf[:])
	}
	if e.key.window > 0 {
		q.int(e.key.bucket).blob(e.key.key[:]).int(e.key.now)
	} else {
		q.null().null().null()
	}
	return nil
}

// appended reports a stored event as it was when it was stored, and the zero Appended where there is none.
func (t *tx) appended(id core.EventID) (store.Appended, error) {
	q := t.c.q("SELECT seq, repeat_of FROM event WHERE id = ?").blob(id[:])
	var a store.Appended
	if q.next() {
		a.Seq = q.colInt(0)
		copy(a.RepeatOf[:], q.view(1))
	}
	return a, q.end()
}

func tenantOr(tenant string) string {
	if tenant == "" {
		return core.DefaultTenant
	}
	return tenant
}

// newRow is a delivery to be stored.
type newRow struct {
	event       int64
	source      int64
	sourceName  string
	destination core.Destination
	priority    core.Priority
	delay       time.Duration
	ordered     bool
	orderKey    string
	routeSet    int64
	replay      int64
	fromStep    string
	// first puts an ordered delivery before those that wait.
	first bool
}

const (
	waitOrder  = 1
	waitSource = 2
)

// insertDelivery stores a delivery, unless the event has one for that destination and replay.
func (t *tx) insertDelivery(r newRow) (id int64, err error) {
	if r.priority > core.PriorityLow {
		return 0, core.Errorf(core.CodeInvalid, "priority %d: allowed are 0 to %d", r.priority, core.PriorityLow)
	}
	l, err := t.lane(r.destination)
	if err != nil {
		return 0, err
	}
	wait := int64(0)
	if t.m.sourcePaused(r.sourceName) {
		wait |= waitSource
	}
	if r.ordered && !r.first {
		behind, err := t.chainBusy(l.id, r.orderKey)
		if err != nil {
			return 0, err
		}
		if behind {
			wait |= waitOrder
		}
	}
	id = t.m.delivery + 1
	q := t.c.q(`INSERT INTO delivery (id, event, lane, source, state, wait, class, due, claim, attempts,
		interruptions, life, replay, route_set, created, finished, skipped, stops, order_key, from_step)
		VALUES (?, ?, ?, ?, 0, ?, ?, ?, 0, 0, 0, 0, ?, ?, ?, 0, 0, 0, ?, ?)
		ON CONFLICT (event, lane, replay) DO NOTHING`).
		int(id).int(r.event).int(l.id).int(r.source).int(wait).int(int64(core.Class(r.priority, 0))).
		int(t.now + r.delay.Microseconds()).int(r.replay).int(r.routeSet).int(t.now)
	if r.ordered {
		q.text(r.orderKey)
	} else {
		q.null()
	}
	if err := q.textOrNull(r.fromStep).exec(); err != nil {
		return 0, err
	}
	if t.c.changes() == 0 {
		return 0, nil
	}
	t.m.delivery = id
	t.m.pending++
	return id, nil
}
