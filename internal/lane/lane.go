// Package lane moves deliveries from the store to their destinations.
//
// A delivery is claimed, attempted and finished. If the process dies in between, the claim lapses and
// another life of relais, or another node, claims it again: a destination can see a delivery twice,
// never not at all. A lane is what all deliveries to one destination share: its window, its rate and its
// breaker. Claims take from every lane with room, so that a destination that answers slowly fills its
// own window and no other.
package lane

import (
	"context"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Runner attempts one claimed delivery. Routes are one, endpoints will be another. It returns the
// outcome without Holder and Attempt.Node, which the lane fills in. It must end soon after ctx does.
type Runner interface {
	Run(ctx context.Context, claimed *store.Claimed) store.Outcome
}

// Settings are what a destination's configuration says about its lane.
type Settings struct {
	Window int
	Rate   float64
	Burst  int
	FIFO   bool
	// FIFOStop keeps what waits behind a dead ordered delivery waiting.
	FIFOStop bool
	Schedule core.Schedule
	// MaxAge ends a delivery that is older; 0 never does.
	MaxAge time.Duration
}
