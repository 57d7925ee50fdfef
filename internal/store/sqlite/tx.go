package sqlite

import (
	"relais/internal/core"
)

// tx is the transaction that operations run in. It is the writer's; operations don't commit.
type tx struct {
	s   *Store
	c   *conn
	m   *memory
	now int64
	// alone says that each operation has a savepoint of its own.
	alone bool
	// events wait for their rows to be written, at the end of their operation at the latest.
	events []newEvent
}

func (t *tx) commit() error {
	if err := t.c.q(`UPDATE tally SET pending = ?, running = ?, dead = ?, replay = ?, rejection_bytes = ?, route_set = ?, keys_merged = ?
		WHERE (pending, running, dead, replay, rejection_bytes, route_set, keys_merged) <> (?1, ?2, ?3, ?4, ?5, ?6, ?7)`).
		int(t.m.counts.pending).int(t.m.counts.running).int(t.m.counts.dead).int(t.m.replay).
		int(t.m.rejectionBytes).int(t.m.routeSet).int(t.m.keysMerged).exec(); err != nil {
		return err
	}
	return t.c.q("COMMIT").exec()
}

// name returns the number of a name that recurs: a tenant, a source, a format.
func (t *tx) name(text string) (int64, error) {
	if id, ok := t.m.names[text]; ok {
		return id, nil
	}
	id := t.m.name + 1
	if err := t.c.q("INSERT INTO name (id, text) VALUES (?, ?)").int(id).text(text).exec(); err != nil {
		return 0, err
	}
	t.m.name = id
	t.m.names[text] = id
	t.m.onUndo(func() { delete(t.m.names, text) })
	return id, nil
}

// routeSet returns the number of a set of routes; "" is 0.
func (t *tx) routeSet(hash string) (int64, error) {
	if hash == "" {
		return 0, nil
	}
	if id, ok := t.m.sets[hash]; ok {
		return id, nil
	}
	id := t.m.set + 1
	if err := t.c.q("INSERT INTO route_set (id, hash) VALUES (?, ?)").int(id).text(hash).exec(); err != nil {
		return 0, err
	}
	t.m.set = id
	t.m.sets[hash] = id
	t.m.onUndo(func() { delete(t.m.sets, hash) })
	return id, nil
}

// lane returns a destination's lane, and makes it at need.
func (t *tx) lane(d core.Destination) (*lane, error) {
	if d.Tenant == "" {
		d.Tenant = core.DefaultTenant
	}
	if l, ok := t.m.lanes[d]; ok {
		return l, nil
	}
	tenant, err := t.name(d.Tenant)
	if err != nil {
		return nil, err
	}
	l := &lane{id: t.m.counts.lane + 1, destination: d}
	if err := t.c.q("INSERT INTO lane (id, tenant, kind, name) VALUES (?, ?, ?, ?)").
		int(l.id).int(tenant).text(string(d.Kind)).text(d.Name).exec(); err != nil {
		return nil, err
	}
	t.m.counts.lane = l.id
	t.m.lanes[d], t.m.byID[l.id] = l, l
	t.m.onUndo(func() {
		delete(t.m.lanes, d)
		delete(t.m.byID, l.id)
	})
	return l, nil
}

// life returns the number of a node's name in this opening of the folder.
func (t *tx) life(node string) (int64, error) {
	if id, ok := t.m.lives[node]; ok {
		return id, nil
	}
	id := t.m.counts.life + 1
	if err := t.c.q("INSERT INTO life (id, node, since, beat, lease) VALUES (?, ?, ?, ?, 0)").
		int(id).text(node).int(t.now).int(t.now).exec(); err != nil {
		return 0, err
	}
	t.m.counts.life = id
	t.m.lives[node] = id
	t.m.onUndo(func() { delete(t.m.lives, node) })
	return id, nil
}
