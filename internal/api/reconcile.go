package api

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Reconcile asks a provider what happened, for what its webhooks lost.
type Reconcile struct {
	Kind       string    `json:"kind" enum:"dolibarr,sellsy"`
	Source     string    `json:"source,omitempty" doc:"Needed where there are several"`
	Connection string    `json:"connection,omitempty" doc:"Needed where there are several"`
	Since      time.Time `json:"since,omitzero" doc:"When left out: 24 hours ago for dolibarr, 60 days for sellsy, which dates a quote by its making"`
	DryRun     bool      `json:"dry_run,omitempty" doc:"Only tell what is missing"`
}

// Reconciled says what was missing.
type Reconciled struct {
	DryRun   bool           `json:"dry_run"`
	Looked   int            `json:"looked" doc:"How many things happened"`
	Unwanted int            `json:"unwanted" doc:"Of those without an event, how many no route waits for"`
	Made     int            `json:"made" doc:"How many events were made, or would be"`
	Missing  []MissingEvent `json:"missing" doc:"The first hundred"`
	// Waiting are those that the provider gives no time for: Sellsy says when a quote was made, and not since when it is accepted.
	Waiting int `json:"waiting" doc:"How many without an event have no time at the provider, and may have happened a moment ago: their events are made by a look after the time in wait, if they still have none"`
	Wait    int `json:"wait,omitempty" doc:"In how many seconds to look again, where some are waiting"`
}

// MissingEvent is one that was lost.
type MissingEvent struct {
	Event  string    `json:"event,omitempty" doc:"The event that was made of it"`
	Type   string    `json:"type"`
	Object string    `json:"object"`
	At     time.Time `json:"at"`
}

type reconcileRequest struct {
	By
	Body Reconcile
}

type reconcileResult struct{ Body Reconciled }

func (s *server) registerReconcile() {
	register(s, operation(http.MethodPost, "/reconcile", "reconcile", "events", "Make the events that a provider's webhooks lost", 404, 422, 503), s.reconcile)
}

func (s *server) reconcile(ctx context.Context, in *reconcileRequest) (*reconcileResult, error) {
	out, err := s.Reconcile(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	if in.Body.DryRun {
		return &reconcileResult{out}, nil
	}
	s.Changed()
	return &reconcileResult{out}, s.audit(ctx, in.By, "reconcile", in.Body.Kind, strconv.Itoa(out.Made)+" events made")
}
