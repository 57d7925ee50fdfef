// Package api is what people and programs ask of a running relais: lists, details, replays, pauses,
// purges, under /api/v1, described by its own OpenAPI document.
//
// It is served on the data folder's Unix socket alone, which only the user who runs relais can open:
// whoever reaches it may do everything. The same handler, on a store that a command opened by itself,
// is what the command line talks to when no server runs: there is one way in, and one audit.
//
// A wrong request gets an RFC 9457 problem that names the offending field, never a 500. A 500 is a fault
// of relais; its text goes to the log and not to the caller.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"relais/internal/core"
	"relais/internal/store"
)

// Store is what the API needs of the store.
type Store interface {
	store.Reader
	store.Operator
	store.Cluster
	ResolveEffect(ctx context.Context, p store.ResolveEffect) (store.Effect, error)
}

// Routes are the routes in force, for replays. route.Set is one.
type Routes interface {
	Hash() string
	Destinations() []core.Destination
	// MatchAfter returns up to limit deliveries that the event gives rise to today, to destinations
	// that come after the cursor (as Destination.String writes one), and whether these are the last.
	MatchAfter(event *core.Event, cursor string, limit int) (deliveries []store.NewDelivery, done bool)
	// Delivery is the delivery of the event to one destination by today's configuration, or an error
	// whose code says that the destination is gone.
	Delivery(event *core.Event, to core.Destination) (store.NewDelivery, error)
	// Steps lists the ids of a destination's steps, in order.
	Steps(to core.Destination) []string
}

// Predicate tells whether an event is chosen.
type Predicate func(ctx context.Context, event *core.Event) (bool, error)

// Configuration is the configuration in force and the file that it came from.
type Configuration interface {
	// State tells what is in force.
	State() ConfigState
	// Check reads the file as it is now and tells what is wrong with it, without changing anything.
	Check(ctx context.Context) ([]Problem, error)
	// Reload puts the file as it is now in force, or, when it has problems, changes nothing.
	Reload(ctx context.Context) ([]Problem, error)
}

// Deps are what the API works on. All but Changed are needed.
type Deps struct {
	Store Store
	// Routes returns the routes in force at the time of the call.
	Routes func() Routes
	// Unread is why the routes in force can't be read here, or nil; Routes are then those before. Nil is never.
	Unread func() error
	// Sources lists the configured sources' names, so that a pause of a name that doesn't exist is
	// refused.
	Sources func() []string
	// Where compiles a condition on events; its error is shown to the caller.
	Where func(expression string) (Predicate, error)
	// RetryRejection verifies a refused request again by today's configuration and stores it as an
	// event. An error with a code says why it is still refused.
	RetryRejection func(ctx context.Context, r *store.Rejection) (core.EventID, error)
	// Reconcile makes the events that a provider's webhooks lost.
	Reconcile func(ctx context.Context, in Reconcile) (Reconciled, error)
	Config    Configuration
	// BackUp is nil where the store isn't embedded.
	BackUp BackUp
	// State tells what /ready tells.
	State func() State
	// Changed is called after something was done that may give the lanes work.
	Changed func()
	Version string
	Now     func() time.Time
	Log     *slog.Logger
}

type server struct {
	Deps
	api huma.API
}

// Prefix is where the API stands.
const Prefix = "/api/v1"

// UserHeader names the person for whom a client asks. It is what the audit keeps; access is by the
// socket's permissions.
const UserHeader = "X-Relais-User"

// New returns the API's handler.
func New(deps Deps) http.Handler {
	mux := http.NewServeMux()
	s := &server{Deps: deps}
	if s.Changed == nil {
		s.Changed = func() {}
	}
	s.api = humago.New(mux, s.config())
	s.registerEvents()
	s.registerDeliveries()
	s.registerRejections()
	s.registerReconcile()
	s.registerEffects()
	s.registerReplay()
	s.registerPauses()
	s.registerStatus()
	s.registerBackup()
	s.registerNodes()
	mux.Handle("GET /health", Health(deps.Version, deps.State, deps.Now))
	mux.Handle("GET /ready", Ready(deps.State))
	return s.recovered(problems(mux))
}

func (s *server) config() huma.Config {
	c := huma.DefaultConfig("relais", s.Version)
	c.Info.Description = "What relais received, what it did with it, and what you can do about it."
	c.Info.License = &huma.License{Name: "MIT", Identifier: "MIT"}
	// No page that loads a script from elsewhere, and no links that only browsers follow.
	c.DocsPath = ""
	c.SchemasPath = ""
	c.CreateHooks = nil
	c.RejectUnknownQueryParameters = true
	return c
}

// By is the part of every changing request that says who asks.
type By struct {
	User string `header:"X-Relais-User" maxLength:"64" doc:"Who asks, for the audit."`
}

// by returns the name that the audit keeps.
func (b By) by() string {
	if b.User == "" {
		return "unknown"
	}
	return b.User
}

// register adds an operation whose errors become problems.
func register[I, O any](s *server, op huma.Operation, handler func(ctx context.Context, in *I) (*O, error)) {
	op.Path = Prefix + op.Path
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

// operation describes one operation.
func operation(method, path, id, tag, summary string, errors ...int) huma.Operation {
	return huma.Operation{Method: method, Path: path, OperationID: id, Tags: []string{tag}, Summary: summary, Errors: errors}
}

// audit keeps what was done and isn't kept by the store's own operation.
func (s *server) audit(ctx context.Context, by By, act, object, detail string) error {
	return s.Store.Audit(ctx, store.AuditEntry{At: s.Now(), By: by.by(), Act: act, Object: object, Detail: detail})
}
