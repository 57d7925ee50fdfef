// Package lane moves deliveries from the store to their destinations.
//
// A delivery is claimed, attempted and finished. If the process dies in between, the claim lapses and
// another life of relais, or another node, claims it again: a destination can see a delivery twice,
// never not at all. A lane is what all deliveries to one destination share: its window, its rate and its
// breaker. Claims take from every lane with room, so that a destination that answers slowly fills its
// own window and no other.
//
// What happens when the process dies, line by line:
//
//   - before a claim commits: the delivery is pending, and due, for whoever looks next;
//   - after the claim, before the attempt, inside it, or after it and before its outcome commits: the
//     delivery is running under this node's name. The next take-over (this data folder's next life, or
//     another node once the lease has lapsed) gives it back with one interruption more, and a delivery
//     that was interrupted too often is dead as interrupted, because it may be what kills the process;
//   - after the outcome commits: it holds. Whoever should be told of a dead delivery is told after the
//     commit, so a death right between the two loses the telling, not the fact: it is still listed,
//     counted and can be replayed;
//   - what is in memory only (which lanes have work, timers, wake-ups) is rebuilt from the index of
//     pending deliveries at the next start, and every few seconds in any case.
//
// An outcome counts only if its claim is still the delivery's newest, so a process that was stopped past
// its lease and comes back writes nothing over what its successor did.
package lane

import (
	"context"
	"log/slog"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Runner attempts one claimed delivery. Routes are one, endpoints will be another. It returns the
// outcome without Holder and Attempt, of which it fills in Trace only. It must end soon after ctx does.
type Runner interface {
	Run(ctx context.Context, claimed *store.Claimed) store.Outcome
}

// Settings are what a destination's configuration says about its lane.
type Settings struct {
	Window int // 0 is Bounds.Window
	Rate   float64
	Burst  int
	FIFO   bool
	// FIFOStop keeps what waits behind a dead ordered delivery waiting.
	FIFOStop bool
	Schedule core.Schedule // nil is core.DefaultSchedule
	// MaxAge ends a delivery that is older; 0 never does.
	MaxAge time.Duration
}

// Store is the part of the store that lanes use.
type Store interface {
	Beat(ctx context.Context, node string, lease time.Duration) error
	TakeOver(ctx context.Context, p store.TakeOverParams) (store.TakenOver, error)
	Work(ctx context.Context, after store.LaneID, limit int) ([]store.LaneWork, error)
	Claim(ctx context.Context, p store.ClaimParams) ([]store.Claimed, error)
	Finish(ctx context.Context, outcomes []store.Outcome) ([]error, error)
	SetBreaker(ctx context.Context, lane store.LaneID, breaker core.BreakerState) error
}

// Metrics is told what attempts do.
type Metrics interface {
	AttemptStarted()
	AttemptEnded(kind core.DestinationKind, reason core.Reason, took time.Duration)
	Dead(kind core.DestinationKind)
}

// Bounds are what this node may do at once. Zero members take their defaults.
type Bounds struct {
	Running     int              // attempts; 2048
	Bytes       int64            // of the events they hold; 256 MiB
	Window      int              // attempts of one lane that says nothing else; 16
	Timeout     time.Duration    // of one attempt; 5 min
	Lease       time.Duration    // how long this node's word lasts; 7.5 s
	Scan        time.Duration    // between two looks for work that was missed; 5 s
	Interrupted int              // interruptions in a row that make a delivery dead; 3
	Breaker     core.BreakerRule // core.DefaultBreaker
}

func (b Bounds) withDefaults() Bounds {
	orDefault(&b.Running, 2048)
	orDefault(&b.Bytes, 256<<20)
	orDefault(&b.Window, 16)
	orDefault(&b.Timeout, 5*time.Minute)
	orDefault(&b.Lease, 7500*time.Millisecond)
	orDefault(&b.Scan, 5*time.Second)
	orDefault(&b.Interrupted, 3)
	orDefault(&b.Breaker, core.DefaultBreaker)
	return b
}

func orDefault[T comparable](member *T, value T) {
	var zero T
	if *member == zero {
		*member = value
	}
}

// Options are what lanes need.
type Options struct {
	Store Store
	// Node names this process among those of the store. It may be the same in each life.
	Node string
	// Alone says that no other process works on the store: then whatever runs at the start is left from
	// an earlier life, and is taken over at once instead of after a lease.
	Alone  bool
	Now    func() time.Time // nil is time.Now
	Bounds Bounds
	// Settings returns the current configuration of a destination, or false for one that isn't
	// configured: its deliveries wait. It is asked for every claim, must be quick, and mustn't call back.
	Settings func(core.Destination) (Settings, Runner, bool)
	// Stops tells whether a dead ordered delivery keeps what waits behind it waiting, also for destinations that
	// this node doesn't run, since it takes over from nodes that do; known is false where it can't tell. Nil asks
	// Settings.
	Stops   func(core.Destination) (stops, known bool)
	Log     *slog.Logger // nil discards
	Metrics Metrics      // nil counts nothing
	// OnDead is called once for each delivery that is dead, after that was stored, from up to 16
	// goroutines at once. Of the event of an interrupted delivery it has the id only. May be nil.
	OnDead func(context.Context, store.Claimed, store.Outcome)
}

type noMetrics struct{}

func (noMetrics) AttemptStarted()                                               {}
func (noMetrics) AttemptEnded(core.DestinationKind, core.Reason, time.Duration) {}
func (noMetrics) Dead(core.DestinationKind)                                     {}
