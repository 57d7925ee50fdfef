package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/ingest"
	"relais/internal/route"
	"relais/internal/source"
	"relais/internal/store"
)

const (
	// followEvery bounds how long a node matches by routes that another one has replaced.
	followEvery = time.Second
	// beatLease is as the lanes' own, so that all nodes count as gone after the same time.
	beatLease = 7500 * time.Millisecond
)

// inForce is the set of routes that every node matches by: the one that was activated last, by this node or
// by another. A process that has its store for itself has none, and matches by its own configuration.
type inForce struct {
	routes      *route.Set
	definitions map[core.Destination]string
	hash, text  string
	// unread is why this version of relais can't read the set; routes are then those before, good for looking at
	// what is there. Events are stored with the order to fan them out by the set, which nodes that understand it
	// work off, and no route is run here.
	unread error
}

// match is what ingest asks about an event.
func (a *App) match(event *core.Event) ingest.Matched {
	if f := a.inForce.Load(); f != nil && f.unread != nil {
		return ingest.Matched{FanOut: true, RouteSet: f.hash}
	}
	routes := a.routes()
	deliveries, fanOut := routes.Match(event)
	return ingest.Matched{Deliveries: deliveries, FanOut: fanOut, RouteSet: routes.Hash()}
}

// routes are those that events are matched by.
func (a *App) routes() *route.Set {
	if f := a.inForce.Load(); f != nil {
		return f.routes
	}
	if own := a.current.Load(); own != nil {
		return own.routes
	}
	return &route.Set{}
}

// unread is why this node can't read the routes in force; nil where it can.
func (a *App) unread() error {
	if f := a.inForce.Load(); f != nil {
		return f.unread
	}
	return nil
}

// activeHash identifies the routes in force.
func (a *App) activeHash() string {
	if f := a.inForce.Load(); f != nil {
		return f.hash
	}
	return a.routes().Hash()
}

// canRun tells whether a destination's route is in this node's configuration as it is in force. Deliveries
// of one that isn't are left to nodes that have it.
func (a *App) canRun(g *generation, d core.Destination) bool {
	f := a.inForce.Load()
	if f == nil { // not known yet, where there are other nodes
		return !shared(g.config)
	}
	return f.unread == nil && f.definitions[d] == g.definitions[d]
}

// stops is what the lanes ask about what died under a node that is gone: it is the routes in force that say it,
// whether or not this node runs the route.
func (a *App) stops(d core.Destination) (stops, known bool) {
	if a.inForce.Load() == nil && shared(a.begun) || a.unread() != nil {
		return false, false
	}
	return a.routes().Stops(d)
}

// setInForce takes over the routes that some node put in force, or that they can't be read.
func (a *App) setInForce(set store.RouteSet) {
	f := &inForce{hash: set.Hash, text: string(set.Routes)}
	var err error
	if f.routes, f.definitions, err = route.Decode(set.Routes, set.Hash); err != nil {
		f.routes, f.definitions = a.routes(), nil
		f.unread = core.Errorf(core.CodeConflict,
			"the routes in force, put there by %s, are of another version of relais and can't be read by this one: events are taken in, and everything else is left to nodes of that version (%w)", set.Node, err)
	}
	f.routes = f.routes.WithMeaning(meaning{a})
	a.inForce.Store(f)
}

// meaning is what the sources of the configuration in force know of an event: routes that another node put
// in force are matched by this node's own sources.
type meaning struct{ *App }

func (m meaning) known() source.Known {
	if g := m.current.Load(); g != nil {
		return g.known
	}
	return nil
}

// Normalized implements route.Meaning.
func (m meaning) Normalized(event *core.Event) map[string]any { return m.known().Normalized(event) }

// Priority implements route.Meaning.
func (m meaning) Priority(event *core.Event) core.Priority { return m.known().Priority(event) }

// follow keeps this node on the routes that were activated last.
func (a *App) follow(ctx context.Context) {
	for wait(ctx, followEvery) {
		if err := a.followOnce(ctx); err != nil {
			a.complain(ctx, "looking for the routes in force", err)
		}
	}
}

func (a *App) followOnce(ctx context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	set, err := a.store.Active(ctx)
	if err != nil {
		return err
	}
	now := a.inForce.Load()
	switch {
	case now == nil && !set.ActivatedAt.After(a.current.Load().loadedAt):
		// The database was away when this node started; nobody has put newer routes in force since.
		return a.activate(ctx, a.current.Load())
	case set.Hash == "", now != nil && now.hash == set.Hash && now.text == string(set.Routes):
		return nil
	}
	a.setInForce(set)
	if err := a.unread(); err != nil {
		a.log.ErrorContext(ctx, "another node's routes are in force, and can't be read here: events are taken in, and left to others", "node", set.Node, "hash", set.Hash, "error", err)
		return nil
	}
	own := a.current.Load()
	left := 0
	for _, d := range a.routes().Destinations() {
		if !a.canRun(own, d) {
			left++
		}
	}
	a.log.InfoContext(ctx, "another node's routes are in force", "node", set.Node, "hash", set.Hash, "left_to_others", left)
	a.lanes.Wake()
	return nil
}

// beat keeps a node among those that are known where no lanes do: a node that only takes webhooks in.
func (a *App) beat(ctx context.Context) {
	for {
		if err := a.store.Beat(ctx, a.node, beatLease); err != nil && !errors.Is(err, store.ErrUnavailable) {
			a.complain(ctx, "telling that this node is alive", err)
		}
		if !wait(ctx, beatLease/3) {
			return
		}
	}
}

// rematch finds where spooled events go by the routes that are in force now.
func (a *App) rematch(ctx context.Context, batch []store.Accepted) error {
	if err := a.followOnce(ctx); err != nil { // others may have put newer ones in force while the database was away
		return err
	}
	a.direct(batch)
	return nil
}

// direct says where events go by the routes in force.
func (a *App) direct(batch []store.Accepted) {
	for i := range batch {
		to := a.match(&batch[i].Event)
		batch[i].Deliveries, batch[i].FanOut, batch[i].RouteSet = to.Deliveries, to.FanOut, to.RouteSet
	}
}

// Role is what a node does.
type Role string

// Roles.
const (
	RoleAll    Role = "all"
	RoleIngest Role = "ingest" // takes webhooks in, and leaves deliveries to others
	RoleWorker Role = "worker" // delivers, and takes no webhooks in
)

func (o Options) role() Role {
	if o.Role == "" {
		return RoleAll
	}
	return o.Role
}

// replayRoutes are what the API asks of routes: matching by those in force, steps by this node's own, since
// others' aren't known.
type replayRoutes struct {
	*route.Set
	own *route.Set
}

func (r replayRoutes) Steps(to core.Destination) []string { return r.own.Steps(to) }

// isURL tells a PostgreSQL's address from anything else.
func isURL(s string) bool {
	return strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://")
}
