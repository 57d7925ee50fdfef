package sqlite

import (
	"relais/internal/core"
	"relais/internal/store"
)

// counts are the numbers that every transaction may move. They are copied to be undone.
type counts struct {
	pending, running, dead int64
	replay                 int64
	rejectionBytes         int64
	routeSet               int64 // in force
	keysMerged             int64 // the last event whose dedup key stands in the table

	// The last numbers given.
	event, delivery, rejection, lane, name, set, life int64
}

// memory is what the writer knows between transactions.
type memory struct {
	counts
	names  map[string]int64
	sets   map[string]int64
	lanes  map[core.Destination]*lane
	byID   map[int64]*lane
	lives  map[string]int64 // of this opening of the folder, by node
	pauses map[pauseKey]store.Pause
	keys   freshKeys
	undo   []func()
}

// lane is a lane as the writer knows it.
type lane struct {
	id          int64
	destination core.Destination
	running     int
	tokens      float64
	tokensAt    int64
}

type pauseKey struct {
	scope store.PauseScope
	name  string
}

// mark is a point in a transaction to which memory can be put back.
type mark struct {
	counts counts
	undo   int
}

func (m *memory) mark() mark { return mark{counts: m.counts, undo: len(m.undo)} }

func (m *memory) restore(to mark) {
	for i := len(m.undo) - 1; i >= to.undo; i-- {
		m.undo[i]()
	}
	m.undo = m.undo[:to.undo]
	m.counts = to.counts
}

func (m *memory) forgetUndo() {
	clear(m.undo)
	m.undo = m.undo[:0]
}

func (m *memory) onUndo(f func()) { m.undo = append(m.undo, f) }

// addRunning and setTokens change a lane so that it can be undone.
func (m *memory) addRunning(l *lane, n int) {
	l.running += n
	m.counts.running += int64(n)
	m.onUndo(func() { l.running -= n })
}

func (m *memory) setTokens(l *lane, tokens float64, at int64) {
	before, beforeAt := l.tokens, l.tokensAt
	l.tokens, l.tokensAt = tokens, at
	m.onUndo(func() { l.tokens, l.tokensAt = before, beforeAt })
}

// paused tells whether a lane gives nothing.
func (m *memory) paused(d core.Destination) bool {
	if len(m.pauses) == 0 {
		return false
	}
	if _, ok := m.pauses[pauseKey{store.PauseAll, ""}]; ok {
		return true
	}
	scope := store.PauseRoute
	if d.Kind == core.DestinationEndpoint {
		scope = store.PauseEndpoint
	}
	_, ok := m.pauses[pauseKey{scope, d.Name}]
	return ok
}

func (m *memory) sourcePaused(name string) bool {
	if len(m.pauses) == 0 {
		return false
	}
	_, ok := m.pauses[pauseKey{store.PauseSource, name}]
	return ok
}

func (w *writer) loadMemory() error {
	m := &memory{
		names: map[string]int64{}, sets: map[string]int64{},
		lanes: map[core.Destination]*lane{}, byID: map[int64]*lane{},
		lives: w.lives, pauses: map[pauseKey]store.Pause{},
	}
	for _, load := range []func(*conn) error{m.loadCounts, m.loadNames, m.loadSets, m.loadLanes, m.loadRunning, m.loadPauses, m.loadKeys} {
		if err := load(w.conn); err != nil {
			return err
		}
	}
	for _, id := range w.lives {
		m.life = max(m.life, id)
	}
	w.memory = m
	w.askMerge() // what is known of the keys in the table was lost with the memory
	return nil
}

func (m *memory) loadCounts(c *conn) error {
	s := c.q(`SELECT pending, running, dead, replay, rejection_bytes, route_set, keys_merged,
		max(event_floor, (SELECT ifnull(max(seq), 0) FROM event)),
		max(delivery_floor, (SELECT ifnull(max(id), 0) FROM delivery)),
		max(rejection_floor, (SELECT ifnull(max(id), 0) FROM rejection)),
		(SELECT ifnull(max(id), 0) FROM lane), (SELECT ifnull(max(id), 0) FROM name),
		(SELECT ifnull(max(id), 0) FROM route_set), (SELECT ifnull(max(id), 0) FROM life) FROM tally`)
	if s.next() {
		into := []*int64{
			&m.counts.pending, &m.counts.running, &m.counts.dead, &m.replay, &m.rejectionBytes, &m.routeSet, &m.keysMerged,
			&m.event, &m.delivery, &m.rejection, &m.lane, &m.name, &m.set, &m.life,
		}
		for i, p := range into {
			*p = s.colInt(int32(i))
		}
	}
	return s.end()
}

func (m *memory) loadNames(c *conn) error {
	s := c.q("SELECT id, text FROM name")
	for s.next() {
		m.names[s.colText(1)] = s.colInt(0)
	}
	return s.end()
}

func (m *memory) loadSets(c *conn) error {
	s := c.q("SELECT id, hash FROM route_set")
	for s.next() {
		m.sets[s.colText(1)] = s.colInt(0)
	}
	return s.end()
}

func (m *memory) loadLanes(c *conn) error {
	s := c.q("SELECT l.id, n.text, l.kind, l.name, l.tokens, l.tokens_at FROM lane l JOIN name n ON n.id = l.tenant")
	for s.next() {
		l := &lane{
			id:          s.colInt(0),
			destination: core.Destination{Tenant: s.colText(1), Kind: core.DestinationKind(s.colText(2)), Name: s.colText(3)},
			tokens:      s.colReal(4), tokensAt: s.colInt(5),
		}
		m.lanes[l.destination], m.byID[l.id] = l, l
	}
	return s.end()
}

func (m *memory) loadRunning(c *conn) error {
	s := c.q("SELECT lane, count(*) FROM delivery WHERE state = 1 GROUP BY lane")
	for s.next() {
		if l := m.byID[s.colInt(0)]; l != nil {
			l.running = int(s.colInt(1))
		}
	}
	return s.end()
}

func (m *memory) loadPauses(c *conn) error {
	s := c.q("SELECT scope, name, reason, by, at FROM pause")
	for s.next() {
		p := store.Pause{
			Scope: store.PauseScope(s.colText(0)), Name: s.colText(1),
			Reason: s.colText(2), By: s.colText(3), At: moment(s.colInt(4)),
		}
		m.pauses[pauseKey{p.Scope, p.Name}] = p
	}
	return s.end()
}
