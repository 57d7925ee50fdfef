package store

import (
	"context"
	"encoding/json"
	"time"
)

// Cluster is what the nodes of one store know of each other.
type Cluster interface {
	// Active returns the set of routes that was activated last, by the database's order; its hash is ""
	// before the first. Every node matches events by it.
	Active(ctx context.Context) (RouteSet, error)
	// RouteSet returns the set of routes with that hash, as it was activated last; its hash is "" where there is
	// none that says what it matches.
	RouteSet(ctx context.Context, hash string) (RouteSet, error)
	// Tell keeps what a node says of itself, for people. The node has beaten before.
	Tell(ctx context.Context, node string, told json.RawMessage) error
	// Nodes lists the nodes of which anything is known, by name.
	Nodes(ctx context.Context) ([]Node, error)
	// Forget removes what is known of a node that was silent for that long and under whose name nothing runs, and
	// tells whether it did. A node that comes back after that is known again by its next beat.
	Forget(ctx context.Context, node string, silent time.Duration) (bool, error)
}

// Node is one process that works on the store, or did.
type Node struct {
	Name   string
	Since  time.Time // its first beat
	BeatAt time.Time // its last
	Lease  time.Duration
	// Alive tells that the lease hasn't lapsed, by the store's clock.
	Alive bool
	// Running is how many deliveries stand as running under its name.
	Running int
	Told    json.RawMessage
}
