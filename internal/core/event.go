package core

import "time"

// DefaultTenant owns everything until there are more.
const DefaultTenant = "default"

// AppSource is the source of the events that relais makes itself: those of event/emit. No source of a
// configuration may be called so, and what comes in can't pretend to be of it.
const AppSource = "app"

// DataFormat says how event.data is read from the body. It is stored with the event, so that a later
// change of the source doesn't change what an event means.
type DataFormat string

const (
	FormatJSON DataFormat = "json"
	FormatForm DataFormat = "form"
	// FormatFormJSON is followed by a field's name: the JSON text in that field of a form is the data.
	FormatFormJSON DataFormat = "form-json:"
	FormatNone     DataFormat = "none"
)

// Event is one accepted message.
type Event struct {
	ID EventID
	// Seq is the database's order of arrival; 0 until the event is stored.
	Seq        int64
	Tenant     string
	Source     string
	Type       string
	NativeType string // as the provider wrote it
	ReceivedAt time.Time
	Format     DataFormat
	// Header is the request's header, without credentials, as EncodeHeader writes it.
	Header []byte
	// Query is the request's raw query without credentials. Path holds the path's named parts as a
	// query string ("workflowId=stock-alerts").
	Query string
	Path  string
	// Body is what was received, to the byte, unless the source redacts.
	Body     []byte
	Redacted bool
	Test     bool
	// Verified says that a signature or a credential proved who sent it; it is false where the source takes
	// anything (auth: none), and on events from before it was kept.
	Verified bool
	// Answered is the status that its sender got when it was stored; 0 where nobody was answered.
	Answered int
	// RepeatOf is the event that this one repeats; zero for a first.
	RepeatOf EventID
}

// SignaturePlace is where a source's requests carry a signature: in a "header", the "query", a "form"'s field, or at a
// dotted path of "json". It is never a credential's place.
type SignaturePlace struct {
	Source, In, Name string
}

// DestinationKind tells routes from endpoints.
type DestinationKind string

const (
	DestinationRoute    DestinationKind = "route"
	DestinationEndpoint DestinationKind = "endpoint"
)

// Destination is what a delivery goes to. All deliveries to one destination share a lane.
type Destination struct {
	Tenant string
	Kind   DestinationKind
	Name   string
}

// String writes the destination as lanes, logs and the command line name it: "route:facture".
func (d Destination) String() string { return string(d.Kind) + ":" + d.Name }

// Priority is the class of a delivery within its lane: urgent, high, normal and low share 8:4:2:1.
type Priority uint8

const (
	PriorityUrgent Priority = iota
	PriorityHigh
	PriorityNormal
	PriorityLow
)

var priorityNames = [...]string{"urgent", "high", "normal", "low"}

func (p Priority) String() string { return priorityNames[p] }

// ParsePriority reads urgent, high, normal or low.
func ParsePriority(s string) (Priority, error) {
	for i, name := range priorityNames {
		if s == name {
			return Priority(i), nil
		}
	}
	return 0, Errorf(CodeInvalid, "priority %q: allowed are urgent, high, normal, low", s)
}

// State is where a delivery stands.
type State string

const (
	StatePending   State = "pending"
	StateRunning   State = "running"
	StateSucceeded State = "succeeded"
	StateDead      State = "dead"
	StateCancelled State = "cancelled"
)

// Delivery is one event for one destination.
type Delivery struct {
	ID          DeliveryID
	Event       EventID
	EventSeq    int64
	Destination Destination
	Priority    Priority
	State       State
	// Skipped is set on a succeeded delivery that had nothing to do.
	Skipped bool
	// Attempts counts the tries that used up a place in the retry schedule.
	Attempts int
	// Claim is the number of times the delivery was claimed. Whoever holds the newest claim holds the
	// delivery: outcomes and effects of an older one are refused.
	Claim int
	// Interruptions counts the claims in a row that ended without an outcome.
	Interruptions int
	// Ordered tells that the delivery goes out after those before it with the same OrderKey, which may be "".
	Ordered  bool
	OrderKey string
	// Replay is 0 for the delivery made with the event, and else the number of the replay.
	Replay   int64
	FromStep string
	// RouteSet is the hash of the set of routes that matched.
	RouteSet   string
	CreatedAt  time.Time
	DueAt      time.Time
	FinishedAt time.Time
	Reason     Reason
	Message    string
}
