package store

import (
	"context"
	"time"

	"relais/internal/core"
)

// Reader is what is shown to people. Every list is a page, newest first: Before is the last id of the
// page before, 0 at the start. No call reads for longer than the store's bound for readers.
type Reader interface {
	Event(ctx context.Context, id core.EventID) (core.Event, error)
	Events(ctx context.Context, f EventFilter) ([]core.Event, error)
	Delivery(ctx context.Context, id core.DeliveryID) (core.Delivery, error)
	Deliveries(ctx context.Context, f DeliveryFilter) ([]core.Delivery, error)
	Steps(ctx context.Context, id core.DeliveryID) ([]StepResult, error)
	Attempts(ctx context.Context, id core.DeliveryID) ([]Attempt, error)
	Rejection(ctx context.Context, id int64) (Rejection, error)
	Rejections(ctx context.Context, f RejectionFilter) ([]Rejection, error)
	Effect(ctx context.Context, key string) (Effect, error)
	Effects(ctx context.Context, f EffectFilter) ([]Effect, error)
	Pauses(ctx context.Context) ([]Pause, error)
	Stats(ctx context.Context) (Stats, error)
}

// EventFilter chooses events; zero members choose all. Body tells whether bodies are read too.
type EventFilter struct {
	Tenant  string
	Source  string
	Type    core.Pattern // zero matches all
	Since   time.Time
	Until   time.Time
	Repeats bool // repeats too
	Before  int64
	Limit   int
	Body    bool
}

// DeliveryFilter chooses deliveries; zero members choose all.
type DeliveryFilter struct {
	Tenant      string
	Event       core.EventID
	Destination string // as Destination.String writes it
	State       core.State
	Source      string
	Since       time.Time
	Until       time.Time
	Before      int64
	Limit       int
}

// RejectionFilter chooses rejections; zero members choose all.
type RejectionFilter struct {
	Source string
	Reason core.RejectReason
	Since  time.Time
	Before int64
	Limit  int
	Body   bool
}

// EffectFilter chooses effects; zero members choose all. After is the last key of the page before.
type EffectFilter struct {
	State EffectState
	Key   string // a prefix
	After string
	Limit int
}

// Stats are figures for metrics and health; none of them scans a table.
type Stats struct {
	Pending, Running, Dead int64
	// OldestDue is when the delivery that waits longest was due; zero when none waits.
	OldestDue  time.Time
	UsedBytes  int64
	WALBytes   int64
	FirstEvent time.Time
}

// Operator is what a person may do to what is stored.
type Operator interface {
	// Replay makes new deliveries of stored events for the same destinations, or for the one named.
	Replay(ctx context.Context, p ReplayParams) (Replayed, error)
	// Cancel ends pending deliveries.
	Cancel(ctx context.Context, ids []core.DeliveryID, by string) (int, error)
	SetPause(ctx context.Context, p Pause) error
	Resume(ctx context.Context, scope PauseScope, name, by string) error
	// Purge deletes events with their deliveries and attempts for good: no page of the database keeps
	// their bytes. Events whose deliveries are running are refused.
	Purge(ctx context.Context, ids []core.EventID, by string) (int, error)
	// Audit keeps who did what, for whoever asks later.
	Audit(ctx context.Context, entry AuditEntry) error
}

// ReplayParams choose what is replayed.
type ReplayParams struct {
	Deliveries []NewReplay
	By         string
}

// NewReplay is one event to deliver again to one destination.
type NewReplay struct {
	Event       core.EventID
	Destination core.Destination
	Priority    core.Priority
	FromStep    string
	// Of is the delivery that is replayed; its finished steps before FromStep are kept. 0 when there is none.
	Of       core.DeliveryID
	Ordered  bool
	OrderKey string
	RouteSet string
}

// Replayed says what a replay made.
type Replayed struct {
	Replay     int64 // the replay's number, on each of its deliveries
	Deliveries []core.DeliveryID
}

// PauseScope is what is paused.
type PauseScope string

const (
	PauseAll      PauseScope = "all"
	PauseSource   PauseScope = "source"
	PauseRoute    PauseScope = "route"
	PauseEndpoint PauseScope = "endpoint"
)

// Pause keeps deliveries waiting; events are still accepted and stored.
type Pause struct {
	Scope  PauseScope
	Name   string
	Reason string
	By     string
	At     time.Time
}

// AuditEntry is one act of a person.
type AuditEntry struct {
	At     time.Time
	By     string
	Act    string
	Object string
	Detail string
}

// Keeper is housekeeping.
type Keeper interface {
	// Retain deletes what is older than its age or beyond the size, oldest first, in one slice that
	// takes no longer than about 5 ms of the writer, and tells whether there is more. Events with
	// live deliveries, and effects, are never deleted. An event that was needed when its age had passed goes within
	// the hour after it isn't any more.
	Retain(ctx context.Context, p RetainParams) (Retained, error)
	// Recount makes the lanes' running counts true again.
	Recount(ctx context.Context) error
}

// RetainParams bound what is kept. Dead deliveries can be replayed for longer than the rest is kept.
type RetainParams struct {
	Events    time.Duration
	Dead      time.Duration
	Attempts  time.Duration
	SizeBytes int64 // used pages; 0 is no bound
	// Rejections is the age of refused requests.
	Rejections time.Duration
	// Sources are the ages of those that have their own.
	Sources map[string]SourceAges
}

// SourceAges are how long what a source sent is kept; 0 is as long as the rest.
type SourceAges struct {
	Events, Rejections time.Duration
}

// Retained says what a slice deleted.
type Retained struct {
	Events, Attempts, DedupKeys, Rejections int
	More                                    bool
}
