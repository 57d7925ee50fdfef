package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/store"
)

// Active implements store.Cluster.
func (s *Store) Active(ctx context.Context) (store.RouteSet, error) {
	return s.routeSet(ctx, "activation IS NOT NULL ORDER BY activation DESC LIMIT 1")
}

// RouteSet implements store.Cluster.
func (s *Store) RouteSet(ctx context.Context, hash string) (store.RouteSet, error) {
	return s.routeSet(ctx, "hash = $1 AND routes IS NOT NULL", hash)
}

func (s *Store) routeSet(ctx context.Context, which string, args ...any) (store.RouteSet, error) {
	var set store.RouteSet
	err := s.read(ctx, func(t *tx) error {
		var node *string
		var at int64
		err := t.row("SELECT hash, node, text, routes, at FROM route_set WHERE "+which, args...).Scan(&set.Hash, &node, &set.Text, (*[]byte)(&set.Routes), &at)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if node != nil {
			set.Node = *node
		}
		set.ActivatedAt = moment(at)
		return err
	})
	return set, err
}

// Tell implements store.Cluster.
func (s *Store) Tell(ctx context.Context, node string, told json.RawMessage) error {
	return s.transact(ctx, func(t *tx) error {
		return t.exec(`INSERT INTO node (name, since, beat, lease, told) VALUES ($1, relais_now($3), relais_now($3), 0, $2)
			ON CONFLICT (name) DO UPDATE SET told = excluded.told`, node, []byte(told), t.now)
	})
}

// Forget implements store.Cluster. A beat or a take-over at the same time locks the row, and is seen.
func (s *Store) Forget(ctx context.Context, node string, silent time.Duration) (bool, error) {
	forgotten := false
	err := s.transact(ctx, func(t *tx) error {
		n, err := t.affect(`DELETE FROM node n WHERE n.name = $1 AND n.beat + n.lease + $2 < relais_now($3)
			AND NOT EXISTS (SELECT FROM delivery d WHERE d.state = 1 AND d.node = n.name)`, node, silent.Microseconds(), t.now)
		forgotten = n > 0
		return err
	})
	return forgotten, err
}

// Nodes implements store.Cluster.
func (s *Store) Nodes(ctx context.Context) ([]store.Node, error) {
	var nodes []store.Node
	err := s.read(ctx, func(t *tx) error {
		rows, err := t.query(`SELECT n.name, n.since, n.beat, n.lease, n.lease > 0 AND relais_now($1) <= n.beat + n.lease, n.told,
			(SELECT count(*) FROM delivery d WHERE d.state = 1 AND d.node = n.name) FROM node n ORDER BY n.name`, t.now)
		if err != nil {
			return err
		}
		nodes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Node, error) {
			var n store.Node
			var since, beat, lease int64
			err := row.Scan(&n.Name, &since, &beat, &lease, &n.Alive, (*[]byte)(&n.Told), &n.Running)
			n.Since, n.BeatAt, n.Lease = moment(since), moment(beat), time.Duration(lease)*time.Microsecond
			return n, err
		})
		return err
	})
	return nodes, err
}
