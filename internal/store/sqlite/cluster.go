package sqlite

import (
	"context"
	"encoding/json"
	"time"

	"relais/internal/store"
)

// Active implements store.Cluster.
func (s *Store) Active(ctx context.Context) (store.RouteSet, error) {
	return s.readRouteSet(ctx, func(c *conn) *stmt {
		return c.q("SELECT r.hash, r.node, r.text, r.routes, r.at FROM tally t JOIN route_set r ON r.id = t.route_set")
	})
}

// RouteSet implements store.Cluster.
func (s *Store) RouteSet(ctx context.Context, hash string) (store.RouteSet, error) {
	return s.readRouteSet(ctx, func(c *conn) *stmt {
		return c.q("SELECT hash, node, text, routes, at FROM route_set WHERE hash = ? AND routes IS NOT NULL").text(hash)
	})
}

func (s *Store) readRouteSet(ctx context.Context, which func(*conn) *stmt) (store.RouteSet, error) {
	var set store.RouteSet
	err := s.read(ctx, func(c *conn) error {
		q := which(c)
		if q.next() {
			set = store.RouteSet{Hash: q.colText(0), Node: q.colText(1), Text: q.colBytes(2), Routes: q.colBytes(3), ActivatedAt: moment(q.colInt(4))}
		}
		return q.end()
	})
	return set, err
}

// Tell implements store.Cluster.
func (s *Store) Tell(ctx context.Context, node string, told json.RawMessage) error {
	return s.do(ctx, outcome, func(t *tx) error {
		id, err := t.life(node)
		if err != nil {
			return err
		}
		return t.c.q("UPDATE life SET told = ? WHERE id = ?").blob(told).int(id).exec()
	})
}

// Forget implements store.Cluster. What a node did goes on naming its life: that stays, and is no longer listed.
func (s *Store) Forget(ctx context.Context, node string, silent time.Duration) (bool, error) {
	forgotten := false
	err := s.do(ctx, outcome, func(t *tx) error {
		q := t.c.q(`SELECT count(*) FROM life l WHERE node = ?1 AND beat > 0
			AND NOT EXISTS (SELECT 1 FROM life WHERE node = ?1 AND beat + lease + ?2 >= ?3)
			AND NOT EXISTS (SELECT 1 FROM delivery WHERE state = 1 AND life IN (SELECT id FROM life WHERE node = ?1))`).
			text(node).int(silent.Microseconds()).int(t.now)
		forgotten = q.next() && q.colInt(0) > 0
		if err := q.end(); err != nil || !forgotten {
			return err
		}
		return t.c.q("UPDATE life SET beat = 0, told = NULL WHERE node = ?").text(node).exec()
	})
	return forgotten, err
}

// Nodes implements store.Cluster. Of the lives of a name, the newest counts; the folder's lock proves that
// no other process lives, so a node that is listed here as alive has a lease that hasn't lapsed.
func (s *Store) Nodes(ctx context.Context) ([]store.Node, error) {
	var nodes []store.Node
	now := micros(s.now())
	err := s.read(ctx, func(c *conn) error {
		q := c.q(`SELECT l.node, l.since, l.beat, l.lease, l.told,
			(SELECT count(*) FROM delivery WHERE state = 1 AND life IN (SELECT id FROM life WHERE node = l.node))
			FROM life l WHERE l.beat > 0 AND l.id IN (SELECT max(id) FROM life GROUP BY node) ORDER BY l.node`)
		for q.next() {
			beat, lease := q.colInt(2), q.colInt(3)
			nodes = append(nodes, store.Node{
				Name: q.colText(0), Since: moment(q.colInt(1)), BeatAt: moment(beat), Lease: time.Duration(lease) * time.Microsecond,
				Alive: lease > 0 && now <= beat+lease, Told: q.colBytes(4), Running: int(q.colInt(5)),
			})
		}
		return q.end()
	})
	return nodes, err
}
