// Package store is the seam between relais and its databases: the steps of the business as methods,
// with their parameters and results. It holds no SQL. Every method is one atomic operation; no
// transaction leaves a store, which is what lets SQLite merge many callers into one sync and PostgreSQL
// send them as one batch.
//
// A method that returns without an error has committed and synced what it did. A method that returns an
// error whose code is core.CodeUnavailable did nothing, or its outcome is unknown: each writing method
// may be called again with the same parameters (Append is idempotent by event id, Finish by claim,
// effects by holder and state).
package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"relais/internal/core"
)

// ErrUnavailable is wrapped by every error that says that the database can't be written now (full,
// locked, read-only, away, failed sync). Nothing that got it may be acknowledged.
var ErrUnavailable = errors.New("the store is unavailable")

// ErrLostClaim is returned for an outcome or an effect of a claim that is no longer the delivery's newest.
var ErrLostClaim = errors.New("the delivery is held by another claim")

// Store is everything that relais needs of a database. Consumers declare the part they use.
type Store interface {
	Appender
	Rejector
	Lanes
	Ledger
	Reader
	Operator
	Keeper
	Cluster
	Close() error
}

// Appender is what the ingest path needs.
type Appender interface {
	// Append stores each accepted event together with its deliveries, and returns when they are synced
	// to disk, one result for each, in order. An event whose dedup key was seen within its window is
	// stored as a repeat, linked to the first, without deliveries. Append is atomic: on an error none
	// of the batch is stored. It is idempotent by event id: an id that is already stored is reported
	// as it was, and nothing is stored again. A BusyError names the events without which the batch may be stored.
	Append(ctx context.Context, batch []Accepted) ([]Appended, error)
	// PendingFanOuts returns up to limit orders to fan out, oldest first, but those made for the sets of routes
	// with these hashes.
	PendingFanOuts(ctx context.Context, limit int, except ...string) ([]FanOut, error)
	// Expand stores the next deliveries of an order to fan out, and its cursor, or its end.
	Expand(ctx context.Context, p ExpandParams) error
}

// Accepted is a verified event on its way into the store, with where it goes.
type Accepted struct {
	Event core.Event
	// DedupKey is a digest of the tenant, the source and what makes the message unique; zero means
	// never a repeat. DedupWindow is how long it is remembered.
	DedupKey    [16]byte
	DedupWindow time.Duration
	// Force stores the event as a first even when its key was seen (a person forced a repeat).
	Force bool
	// Deliveries are made in the same transaction. FanOut asks for the order to fan out instead.
	Deliveries []NewDelivery
	FanOut     bool
	RouteSet   string
}

// NewDelivery is a delivery to be made. The store knows the destination's lane by name and makes it at need.
type NewDelivery struct {
	Destination core.Destination
	Priority    core.Priority
	Delay       time.Duration
	// OrderKey, where Ordered is set, makes deliveries of one lane and key run one at a time, in order
	// of arrival. A fifo lane uses the same key for all.
	Ordered  bool
	OrderKey string
}

// Appended is what became of one accepted event.
type Appended struct {
	// Seq is the database's order of arrival. It is 0 where the event is kept in this node's spool, because the
	// database is away: it is as safe there, and whether it is a repeat is known when it is moved.
	Seq int64
	// RepeatOf is the first event with the same dedup key; zero when this is the first.
	RepeatOf core.EventID
}

// FanOut is an event whose deliveries are still to be made.
type FanOut struct {
	Event    core.Event
	RouteSet string
	// Cursor is the last destination that has its delivery, as Destination.String writes it; "" at the
	// start.
	Cursor string
}

// ExpandParams are the next deliveries of an order to fan out. Destinations are expanded in the
// order of what Destination.String writes.
type ExpandParams struct {
	Event      core.EventID
	Deliveries []NewDelivery
	Done       bool
}

// Rejector keeps refused requests for the audit.
type Rejector interface {
	// AppendRejections stores refused requests and deletes the oldest beyond the bounds. It gives way to
	// every other write.
	AppendRejections(ctx context.Context, batch []Rejection, bounds RejectionBounds) error
	// MarkRejectionAccepted notes that the rejection was verified again and became that event.
	MarkRejectionAccepted(ctx context.Context, id int64, event core.EventID) error
}

// RejectionBounds cap what rejections may take.
type RejectionBounds struct {
	PerSource int   // rows kept for one source
	Bytes     int64 // of bodies and headers, in all
}

// Rejection is a refused request. The body is cut to 4 KiB unless only the signature was wrong.
type Rejection struct {
	ID       int64
	Tenant   string
	Source   string
	At       time.Time
	Reason   core.RejectReason
	Detail   string
	Status   int
	Address  string
	Method   string
	Path     string
	Query    string
	Header   []byte
	Body     []byte
	BodySize int64
	Complete bool         // Body is the whole body
	Event    core.EventID // what it became when it was verified again
	// Format is how Body can be read: it is whole and well formed so. "" is not known.
	Format core.DataFormat
}

// Lanes is what the lanes need: claiming, finishing, waking.
type Lanes interface {
	// Activate makes a set of routes the one that is in force, and registers its destinations.
	Activate(ctx context.Context, set RouteSet) error
	// Beat keeps this node's lease. ErrUnavailable means that the node must start no attempt.
	Beat(ctx context.Context, node string, lease time.Duration) error
	// TakeOver gives back the running deliveries of nodes whose lease has lapsed, and of earlier lives
	// of this data folder (all that isn't in Held): they are pending and due at once, with one interruption more. A delivery
	// interrupted MaxInterruptions times is dead as interrupted; those are returned.
	TakeOver(ctx context.Context, p TakeOverParams) (TakenOver, error)
	// Work lists lanes that have a delivery that could be claimed at once or later, after the given
	// lane id, each with when its first delivery is due. It never scans deliveries: it hops from lane
	// to lane in the index.
	Work(ctx context.Context, after LaneID, limit int) ([]LaneWork, error)
	// Claim marks due deliveries as running, up to a bound for each lane and in all, and returns them
	// with their events and finished steps. Paused lanes, and lanes at their window or rate, give none.
	Claim(ctx context.Context, p ClaimParams) ([]Claimed, error)
	// Finish writes outcomes. An outcome whose claim isn't the delivery's newest is dropped, and its
	// place in the result is ErrLostClaim.
	Finish(ctx context.Context, outcomes []Outcome) ([]error, error)
	// SaveStep keeps a finished step's result before the delivery's outcome is known.
	SaveStep(ctx context.Context, holder Holder, step StepResult) error
	// SetBreaker keeps a lane's breaker.
	SetBreaker(ctx context.Context, lane LaneID, breaker core.BreakerState) error
}

// LaneID is the store's number for a destination.
type LaneID int64

// RouteSet is a validated configuration's routes, by the hash of their text.
type RouteSet struct {
	Hash         string
	Node         string
	Destinations []core.Destination
	// Text is the configuration without secrets, kept so that a delivery can be explained later.
	Text []byte
	// Routes is what other nodes need to match events by this set.
	Routes json.RawMessage
	// Signed says where the sources' signatures stand, for whoever reads requests by SQL.
	Signed []core.SignaturePlace
	// ActivatedAt is when it was activated, by the store's clock; Activate takes no heed of it.
	ActivatedAt time.Time
}

// Holder is the proof that a delivery is one's own: the claim's number must be the newest.
type Holder struct {
	Delivery core.DeliveryID
	Claim    int
	Node     string
}

// TakeOverParams bound a take-over.
type TakeOverParams struct {
	Node             string
	MaxInterruptions int
	// Held are the deliveries that Node works on. Whatever else runs under its own name is left from an
	// earlier life, or from a claim whose commit got no answer, and is given back as well. The caller
	// makes no claim meanwhile.
	Held []core.DeliveryID
	// FIFOStop tells whether a dead delivery of that destination keeps what waits behind it waiting, as
	// Outcome.FIFOStop does; nil is never. Where that isn't known, an ordered delivery is given back however often
	// it was interrupted: what waits must neither overtake it nor wait for a person without need.
	FIFOStop func(core.Destination) (stops, known bool)
}

// TakenOver says what a take-over did.
type TakenOver struct {
	Returned int
	Dead     []core.Delivery
}

// LaneWork is a lane with something to do.
type LaneWork struct {
	Lane        LaneID
	Destination core.Destination
	NextDue     time.Time
	// Breaker is what SetBreaker kept last.
	Breaker core.BreakerState
}

// ClaimParams ask for deliveries.
type ClaimParams struct {
	Node  string
	Lease time.Duration
	Max   int
	Lanes []LaneRoom
}

// LaneRoom is what one lane may be given now.
type LaneRoom struct {
	Lane LaneID
	Max  int
	// Window bounds the lane's running deliveries over all nodes. Rate is deliveries per second over
	// all nodes, with Burst at once; 0 is no limit.
	Window int
	Rate   float64
	Burst  int
}

// Claimed is a delivery that this node holds.
type Claimed struct {
	Lane     LaneID
	Delivery core.Delivery
	Event    core.Event
	Steps    []StepResult
}

// Verdict is what an outcome does to the delivery.
type Verdict string

const (
	VerdictSucceeded Verdict = "succeeded"
	VerdictSkipped   Verdict = "skipped" // succeeded, with nothing to do
	VerdictRetry     Verdict = "retry"   // failed; due again at Delay; uses up an attempt
	VerdictDefer     Verdict = "defer"   // not now; due again at Delay; uses up no attempt
	VerdictDead      Verdict = "dead"
	VerdictReturn    Verdict = "return" // handed back by a stop: due at once, uses up nothing
)

// Outcome is the end of a claim.
type Outcome struct {
	Holder Holder
	// Lane is the delivery's. A store that is left to look for it, with 0, takes longer.
	Lane LaneID
	// Unordered says that nothing waits for the delivery's place in an order. A store that isn't told looks for it.
	Unordered bool
	Verdict   Verdict
	Delay     time.Duration
	Reason    core.Reason
	Message   string
	// Steps are results that SaveStep hasn't kept yet.
	Steps   []StepResult
	Attempt Attempt
	// FIFOStop keeps what waits behind an ordered delivery that is dead waiting (fifo_on_dead: stop).
	FIFOStop bool
}

// StepResult is a finished step of a delivery.
type StepResult struct {
	Step       string
	Definition string // hash of the step's definition: another one runs the step again
	Result     json.RawMessage
}

// Attempt is one try, for whoever wants to know.
type Attempt struct {
	ID       int64
	Delivery core.DeliveryID
	Claim    int
	Node     string
	Started  time.Time
	Duration time.Duration
	Verdict  Verdict
	Reason   core.Reason
	Message  string
	// Trace is what was done, as JSON: the steps that ran with their status, or the request and the
	// response, without secrets and capped.
	Trace json.RawMessage
}

// Ledger keeps effects: what is done in other systems and must not be done twice. Effects are never
// deleted by retention.
type Ledger interface {
	// OpenEffect returns the effect of that key, after making it (open) where there is none. The holder
	// becomes the effect's unless another delivery that is still running holds it: then Held is set and
	// nothing changes.
	OpenEffect(ctx context.Context, p OpenEffect) (Effect, error)
	// AdvanceEffect moves an effect from one state to another for its holder, or returns ErrLostClaim.
	// What is done stays done: nothing moves it. To "sent", it stamps SentAt with the store's clock; the change is durable before it returns.
	AdvanceEffect(ctx context.Context, p AdvanceEffect) (Effect, error)
	// ResolveEffect is a person's word on an effect that couldn't be decided.
	ResolveEffect(ctx context.Context, p ResolveEffect) (Effect, error)
}

// EffectState is where an effect stands.
type EffectState string

const (
	EffectOpen    EffectState = "open"    // nothing was sent
	EffectSent    EffectState = "sent"    // the first byte may have left
	EffectDone    EffectState = "done"    // it exists in the other system; Result says as what
	EffectUnknown EffectState = "unknown" // a person must say
)

// Effect is an entry of the ledger.
type Effect struct {
	Key      string
	Kind     string
	State    EffectState
	Holder   Holder
	Held     bool
	OpenedAt time.Time
	SentAt   time.Time
	DoneAt   time.Time
	// AbsentAt is when a look-up first found nothing after SentAt, and the settle time.
	AbsentAt time.Time
	Result   json.RawMessage
	Message  string
	// ResolvedBy is the person who ended it by hand; "" when relais did.
	ResolvedBy string
	// Now is the store's clock when the effect was read: settle times are counted on it.
	Now time.Time
}

// OpenEffect asks for an effect.
type OpenEffect struct {
	Key    string
	Kind   string
	Holder Holder
}

// AdvanceEffect moves an effect on. NoteAbsent stamps AbsentAt and leaves the state.
type AdvanceEffect struct {
	Key        string
	Holder     Holder
	From, To   EffectState
	Result     json.RawMessage
	Message    string
	NoteAbsent bool
}

// ResolveEffect ends an undecided effect: done under that result, or absent (open again).
type ResolveEffect struct {
	Key    string
	Done   json.RawMessage
	Absent bool
	By     string
}
