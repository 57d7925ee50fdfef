// Package step runs the steps of a route for one delivery, and keeps the ledger's protocol for steps
// that must happen once.
//
// Steps run in order. A step's result is stored under its id and its definition's hash before the next
// one starts, so that a retry, or another life of the process, goes on from the step that had not
// finished. If the process dies inside a step, the step runs again: harmless for class exact (the
// ledger and a look-up decide), up to the receiver for class keyed, a second mail for class at least once.
package step

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/store"
)

// Class is what a kind of step promises about happening twice.
type Class string

const (
	// ClassExact happens once, whatever crashes: by a look-up in the other system, or a row in the same
	// transaction.
	ClassExact Class = "exact"
	// ClassKeyed sends an Idempotency-Key that a receiver may honour.
	ClassKeyed Class = "keyed"
	// ClassAtLeastOnce may happen again after a crash or a timeout.
	ClassAtLeastOnce Class = "at least once"
	// ClassReads changes nothing, so that a repeat does no harm.
	ClassReads Class = "reads"
)

// Kind is a kind of step: what it is called, what it takes, what it promises, and what it does.
type Kind struct {
	Name       string // sellsy/create-invoice
	Class      Class
	Connection string // the kind of connection that it acts on; "" for none
	// Also names further kinds of connection that it acts on as well.
	Also []string
	// ClassOn is the class on one connection, where that decides; nil where it doesn't.
	ClassOn func(connection any) Class
	// Timeout bounds a step that doesn't say its own; 0 is 60 s.
	Timeout time.Duration
	Doc     string // one sentence, shown by check, editors and the reference
	Params  []Param
	// Result is what its result can have besides what any has; nil for anything. An expression that asks
	// for something else is refused when the configuration is checked.
	Result []string
	Run    func(ctx context.Context, call *Call) (Result, error)
	// Choose finds what the step acts on where its parameters say it: they are the file's own, and all is the
	// opened connections. What it returns is the call's Connection. nil where Connection says it all.
	Choose func(with map[string]any, all Connections) (any, error)
	// Check refuses parameters that don't go together, or not with the connection; from the file's text. Nil
	// where each is checked by itself.
	Check func(with map[string]any, connection any) error
	// Hosts names the hosts that stand literally in the parameters, as egress.Options.Trusted takes
	// them; nil for none. They are read from the file's text: never from an evaluated value.
	Hosts func(with map[string]any) []string
}

// ParamType is what a parameter must be.
type ParamType string

const (
	TypeString   ParamType = "string" // a number or a bool from an expression is written in plain decimal
	TypeInt      ParamType = "integer"
	TypeBool     ParamType = "boolean"
	TypeDuration ParamType = "duration"
	TypeList     ParamType = "list" // of strings; one string is a list of one
	TypeMap      ParamType = "object"
	TypeAny      ParamType = "any"
)

// Param is one parameter of a step or a setting of a connection.
type Param struct {
	Name     string
	Type     ParamType
	Required bool
	Secret   bool // connections only: kept in a config.Secret, name_file: allowed
	Literal  bool // no ${{ }} allowed (SQL statements, a URL's scheme and host are checked by Check)
	Enum     []string
	Default  any
	Doc      string
	// Check refuses what can be known to be wrong from the text in the file; it may be nil.
	Check func(value any) error
	// Encode joins the file's words with the values inserted between them, encoded as the place asks
	// (steps' texts only); nil joins them as they are.
	Encode func(pieces []expr.Piece) (string, error)
}

// Result is what a step made: a JSON object, visible to later steps as steps.<id>.
type Result map[string]any

// Members are what a result of the kind can have, for checking expressions; nil for anything. Status is
// always there, reason and message where the step was skipped, or failed and on_error says continue.
func (k *Kind) Members() []string {
	if k.Result == nil {
		return nil
	}
	out := append([]string{"status", "reason", "message"}, k.Result...)
	slices.Sort(out)
	return slices.Compact(out)
}

// Connections are the kinds of connection that it acts on, any of them.
func (k *Kind) Connections() []string {
	if k.Connection == "" {
		return nil
	}
	return append([]string{k.Connection}, k.Also...)
}

// Call is one run of a step.
type Call struct {
	// With holds the evaluated parameters: string, int64, bool, time.Duration, []any, map[string]any, by
	// the Param's type. A parameter that wasn't given and has no default is not there.
	With       map[string]any
	Connection any
	// ConnectionName is the name in the configuration: a part of effects' keys.
	ConnectionName string
	StepID         string
	Delivery       core.Delivery
	Event          *core.Event
	// IdempotencyKey is the same for every attempt of this step of this delivery.
	IdempotencyKey string
	Effects        Effects
	Now            func() time.Time
}

// Effects is the ledger as one delivery's holder sees it. store.ErrLostClaim from any method means that
// the delivery is no longer this node's: stop at once, write nothing.
type Effects interface {
	Open(ctx context.Context, kind, key string) (store.Effect, error)
	// Sent makes the effect "sent", durably, after checking that the delivery is still held.
	Sent(ctx context.Context, key string) (store.Effect, error)
	Done(ctx context.Context, key string, result json.RawMessage) error
	Absent(ctx context.Context, key string) (store.Effect, error)
	Reopen(ctx context.Context, key string) error
	Unknown(ctx context.Context, key, message string) error
}

// ConnectionKind is a kind of connection: its settings, and how to open it. Opening does no input or
// output: a system that is away must not keep relais from starting.
type ConnectionKind struct {
	Name   string
	Doc    string
	Params []Param
	// Open returns what steps get as Call.Connection. What it keeps open is closed when it is a Keeper.
	Open func(settings map[string]any) (any, error)
	// Env names the environment variables that settings default to: {"client_id": "SELLSY_CLIENT_ID"}.
	Env map[string]string
	// Hosts names the hosts that the settings point at, as egress.Options.Trusted takes them.
	Hosts func(settings map[string]any) []string
}

// Notice is word to people.
type Notice struct {
	Title, Text string
	// To are addresses, where the way there needs some.
	To []string
	// Key is the same for repeats of one notice.
	Key string
}

// Teller is an opened connection by which people can be told something.
type Teller interface {
	// NeedsTo tells whether a notice must have addresses.
	NeedsTo() bool
	Tell(ctx context.Context, notice Notice) error
}

// Disposition says what a failure means for the delivery.
type Disposition int

const (
	// Retry: it may work later; the schedule goes on.
	Retry Disposition = iota
	// Final: it can't work; the delivery is dead.
	Final
	// Wait: it isn't time; the delivery comes back after After and no attempt is used up.
	Wait
	// Unknown: it was sent and nobody knows; on_unknown decides for class at least once.
	Unknown
)

// Failure is a step's error with what it means. Message may be read by users: it says what to do, and
// holds no secret.
type Failure struct {
	Disposition Disposition
	Reason      core.Reason
	Message     string
	After       time.Duration // for Retry: not before (Retry-After); for Wait: when
	Cause       error
}

func (f *Failure) Error() string { return f.Message }

func (f *Failure) Unwrap() error { return f.Cause }
