package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"relais/internal/store"
)

// Replay chooses what is delivered again: named events, named deliveries, or those that a filter takes.
// With a state, the filter looks at deliveries; without, at events, each of which goes to what it
// matches by today's configuration.
type Replay struct {
	Events      []string  `json:"events,omitempty" maxItems:"1000" doc:"These events"`
	Deliveries  []string  `json:"deliveries,omitempty" maxItems:"1000" doc:"These deliveries, each to its destination"`
	Requests    []int64   `json:"requests,omitempty" maxItems:"1000" doc:"These accepted requests, by their id in the view ic_postback"`
	Source      string    `json:"source,omitempty" doc:"Filter: of this source"`
	Type        string    `json:"type,omitempty" doc:"Filter: of types that match this pattern"`
	Since       time.Time `json:"since,omitzero" doc:"Filter: not before this time"`
	Until       time.Time `json:"until,omitzero" doc:"Filter: before this time"`
	State       string    `json:"state,omitempty" enum:"succeeded,dead,cancelled" doc:"Filter: deliveries that ended so and weren't replayed since"`
	Reason      string    `json:"reason,omitempty" doc:"Filter: deliveries that are dead for this reason" example:"exhausted"`
	Where       string    `json:"where,omitempty" maxLength:"65536" doc:"Filter: a CEL condition on event" example:"event.data.amount > 1000"`
	Destination string    `json:"destination,omitempty" doc:"Only to this destination" example:"route:facture"`
	FromStep    string    `json:"from_step,omitempty" doc:"Keep the results of the steps before this one, and run it and the rest again"`
	Limit       int       `json:"limit,omitempty" minimum:"1" maximum:"10000" default:"1000" doc:"A filter takes this many at most, the newest"`
	Oldest      bool      `json:"oldest,omitempty" doc:"A filter takes the oldest within its limit, and tells in next where the following ones begin"`
	After       string    `json:"after,omitempty" doc:"With oldest: what next said"`
	DryRun      bool      `json:"dry_run,omitempty" doc:"Only tell what would be replayed"`
}

// Replayed says what a replay made, or would make.
type Replayed struct {
	DryRun  bool  `json:"dry_run"`
	Count   int   `json:"count" doc:"Deliveries that were made, or would be"`
	Replay  int64 `json:"replay,omitempty" doc:"The replay's number, on each of its deliveries; the first, where it took several"`
	Skipped int   `json:"skipped" doc:"What was chosen and is not replayed"`
	// Truncated: a filter took more than its limit.
	Truncated     bool           `json:"truncated,omitempty" doc:"More matched than limit: replay again with a shorter time range, or after next"`
	Next          string         `json:"next,omitempty" doc:"Where the following ones begin, for after"`
	ByDestination map[string]int `json:"by_destination" doc:"How many go to each destination"`
	Deliveries    []ReplayedOne  `json:"deliveries" doc:"The first hundred"`
	SkippedItems  []NotReplayed  `json:"skipped_items" doc:"The first hundred that are not replayed"`
	SkippedBy     map[string]int `json:"skipped_by" doc:"How many are not replayed, by why"`
	Repeats       []Repeated     `json:"repeats,omitempty" doc:"Named events that repeat another one, which was delivered before; the first hundred"`
}

// ReplayedOne is one delivery of a replay.
type ReplayedOne struct {
	Delivery    string `json:"delivery,omitempty" doc:"The new delivery; absent in a dry run"`
	Event       string `json:"event"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Destination string `json:"destination"`
	Of          string `json:"of,omitempty" doc:"The delivery that is done again"`
}

// NotReplayed is one thing that was chosen and isn't replayed.
type NotReplayed struct {
	Event       string `json:"event"`
	Destination string `json:"destination,omitempty"`
	Reason      string `json:"reason"`
	// Pending is the delivery that is still to run, and DueAt when.
	Pending string    `json:"pending,omitempty" doc:"The delivery that is still to run by itself"`
	DueAt   time.Time `json:"due_at,omitzero" doc:"When it runs"`
}

// Repeated is an event that was named and repeats another one. Requests are ids in the view ic_postback.
type Repeated struct {
	Request   int64  `json:"request"`
	Event     string `json:"event"`
	Of        string `json:"of" doc:"The event that it repeats"`
	OfRequest int64  `json:"of_request,omitempty" doc:"Absent where that event is gone"`
}

type replayRequest struct {
	By
	Body Replay
}

type replayResult struct{ Body Replayed }

func (s *server) registerReplay() {
	register(s, operation(http.MethodPost, "/replay", "replay", "deliveries",
		"Deliver stored events again, by today's configuration", 404, 409, 422, 503), s.replay)
}

// replayBatch is how many deliveries one transaction makes: acknowledgements wait for no more than that.
const replayBatch = 200

func (s *server) replay(ctx context.Context, in *replayRequest) (*replayResult, error) {
	if s.Unread != nil && s.Unread() != nil {
		return nil, s.Unread() // where an event goes today isn't known here
	}
	plan := &replayPlan{server: s, routes: s.Routes(), in: &in.Body, chosen: map[place]bool{}, out: Replayed{
		DryRun: in.Body.DryRun, Deliveries: []ReplayedOne{}, SkippedItems: []NotReplayed{}, SkippedBy: map[string]int{}, ByDestination: map[string]int{},
	}}
	if err := plan.choose(ctx); err != nil {
		return nil, err
	}
	out := &plan.out
	out.Count = len(plan.made)
	if !in.Body.DryRun {
		if err := s.carryOut(ctx, plan, in.by()); err != nil {
			return nil, err
		}
	}
	return &replayResult{*out}, nil
}

func (s *server) carryOut(ctx context.Context, plan *replayPlan, by string) error {
	defer s.Changed()
	plan.out.Count = 0
	for batch := range slices.Chunk(plan.made, replayBatch) {
		done, err := s.Store.Replay(ctx, store.ReplayParams{Deliveries: batch, By: by})
		if err != nil {
			return err
		}
		if plan.out.Replay == 0 {
			plan.out.Replay = done.Replay
		}
		for i, id := range done.Deliveries {
			if n := plan.out.Count + i; n < len(plan.out.Deliveries) {
				plan.out.Deliveries[n].Delivery = id.String()
			}
		}
		plan.out.Count += len(done.Deliveries)
	}
	return nil
}
