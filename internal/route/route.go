// Package route decides which destinations an event goes to.
//
// A set of routes is compiled once and never changes: a reload makes another set. Matching happens in
// memory, on the way in: it looks at the event's source, type and test mark, and evaluates nothing but
// what a delivery must carry from its birth, its order key and its priority. A route's condition is
// evaluated where the delivery runs, so that its error is seen on the delivery and loses no event.
package route

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/store"
)

// FanOutAbove is the number of destinations past which an event is stored with the order to fan out
// instead of its deliveries.
const FanOutAbove = 64

// Set is the routes that are in force.
type Set struct {
	hash    string
	routes  []route // in order of name, which is the order of a fan-out
	meaning Meaning
}

// Meaning is what an event's source knows of it.
type Meaning interface {
	Normalized(event *core.Event) map[string]any
	Priority(event *core.Event) core.Priority
}

// WithMeaning returns the same set, which asks meaning about events.
func (s *Set) WithMeaning(meaning Meaning) *Set {
	out := *s
	out.meaning = meaning
	return &out
}

type route struct {
	config.Route
	destination core.Destination
	selectors   []core.Selector
	orderBy     *expr.Template
	priority    *expr.Template
}

// Compile makes a set of the routes of a validated configuration.
func Compile(routes []config.Route, hash string) (*Set, error) {
	set := &Set{hash: hash, routes: make([]route, 0, len(routes))}
	compiler, err := expr.NewCompiler()
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		compiled := route{Route: r, destination: Destination(r.Name)}
		for _, on := range r.On {
			selector, err := core.ParseSelector(on)
			if err != nil {
				return nil, fmt.Errorf("routes.%s.on: %w", r.Name, err)
			}
			compiled.selectors = append(compiled.selectors, selector)
		}
		if r.OrderBy != "" {
			if compiled.orderBy, err = compiler.Template(r.OrderBy); err != nil {
				return nil, fmt.Errorf("routes.%s.order_by: %w", r.Name, err)
			}
		}
		if r.PriorityExpr != "" {
			if compiled.priority, err = compiler.Template(r.PriorityExpr); err != nil {
				return nil, fmt.Errorf("routes.%s.priority: %w", r.Name, err)
			}
		}
		set.routes = append(set.routes, compiled)
	}
	slices.SortFunc(set.routes, func(a, b route) int { return strings.Compare(a.Name, b.Name) })
	return set, nil
}

// Destination is the destination of the route of that name.
func Destination(name string) core.Destination {
	return core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: name}
}

// Hash identifies the set.
func (s *Set) Hash() string { return s.hash }

// Destinations lists all destinations of the set.
func (s *Set) Destinations() []core.Destination {
	out := make([]core.Destination, len(s.routes))
	for i := range s.routes {
		out[i] = s.routes[i].destination
	}
	return out
}

// Match returns the deliveries that an event gives rise to; or, past FanOutAbove of them, that it is to
// be fanned out.
func (s *Set) Match(event *core.Event) (deliveries []store.NewDelivery, fanOut bool) {
	matched := 0
	for i := range s.routes {
		if s.routes[i].takes(event) {
			matched++
		}
	}
	switch {
	case matched == 0:
		return nil, false
	case matched > FanOutAbove:
		return nil, true
	}
	deliveries = make([]store.NewDelivery, 0, matched)
	for i := range s.routes {
		if r := &s.routes[i]; r.takes(event) {
			deliveries = append(deliveries, s.delivery(r, event))
		}
	}
	return deliveries, false
}

// MatchAfter returns up to limit deliveries to destinations that come after the cursor (one of them as
// String writes it, or ""), and whether these are the last.
func (s *Set) MatchAfter(event *core.Event, cursor string, limit int) (deliveries []store.NewDelivery, done bool) {
	for i := range s.routes {
		r := &s.routes[i]
		if r.destination.String() <= cursor || !r.takes(event) {
			continue
		}
		if len(deliveries) == limit {
			return deliveries, false
		}
		deliveries = append(deliveries, s.delivery(r, event))
	}
	return deliveries, true
}

// Delivery returns the delivery of an event to one destination by today's configuration, for a replay.
func (s *Set) Delivery(event *core.Event, to core.Destination) (store.NewDelivery, error) {
	i, ok := s.find(to)
	if !ok {
		return store.NewDelivery{}, core.Errorf(core.CodeConflict,
			"%s is not in the configuration any more: add the route again, or cancel the delivery", to)
	}
	d := s.delivery(&s.routes[i], event)
	d.Delay = 0
	return d, nil
}

// Stops tells whether a dead delivery keeps what waits behind it waiting; known is false for what isn't a route
// of the set.
func (s *Set) Stops(to core.Destination) (stops, known bool) {
	i, known := s.find(to)
	return known && StopsOnDead(&s.routes[i].Route), known
}

// StopsOnDead tells whether a route's dead delivery keeps what waits behind it waiting.
func StopsOnDead(r *config.Route) bool { return r.FIFO && r.OnFIFO != "skip" }

// Steps lists the ids of a destination's steps, in order.
func (s *Set) Steps(to core.Destination) []string {
	i, ok := s.find(to)
	if !ok {
		return nil
	}
	ids := make([]string, len(s.routes[i].Route.Steps))
	for n, step := range s.routes[i].Route.Steps {
		ids[n] = step.ID
	}
	return ids
}

func (s *Set) find(to core.Destination) (int, bool) {
	i, ok := slices.BinarySearchFunc(s.routes, to.Name, func(r route, name string) int { return strings.Compare(r.Name, name) })
	return i, ok && to.Kind == core.DestinationRoute
}

func (r *route) takes(event *core.Event) bool {
	if event.Test && !r.Test {
		return false
	}
	for _, selector := range r.selectors {
		if selector.Match(event.Source, event.Type) {
			return true
		}
	}
	return false
}

// keyOfErrors orders deliveries whose key can't be told, among themselves: the event is stored and its
// delivery runs all the same, so that nothing is lost.
const keyOfErrors = "\x00no order key"

// delivery is the event's to the route. A route that says nothing else of priority takes the event's own.
func (s *Set) delivery(r *route, ev *core.Event) store.NewDelivery {
	d := store.NewDelivery{Destination: r.destination, Priority: r.Priority, Delay: r.Delay, Ordered: r.FIFO || r.orderBy != nil}
	if s.meaning != nil && r.priority == nil && r.Priority == core.PriorityNormal {
		d.Priority = s.meaning.Priority(ev)
	}
	if r.orderBy == nil && r.priority == nil {
		return d
	}
	// The event is on its way in and must not wait for long: an expression has its own bound too.
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var normalized map[string]any
	if s.meaning != nil {
		normalized = s.meaning.Normalized(ev)
	}
	event, err := expr.EventVars(ev, normalized)
	vars := expr.Vars{"event": event}
	if r.orderBy != nil {
		d.OrderKey = keyOfErrors
		if err == nil {
			if key, err := r.orderBy.Eval(ctx, vars); err == nil && key != nil {
				d.OrderKey = boundedKey(fmt.Sprint(key))
			}
		}
	}
	if r.priority != nil && err == nil {
		if value, err := r.priority.Eval(ctx, vars); err == nil {
			if p, err := core.ParsePriority(fmt.Sprint(value)); err == nil {
				d.Priority = p
			}
		}
	}
	return d
}

// maxOrderKey bounds an order key, which stands beside every delivery, in an index and in memory.
const maxOrderKey = 256

// boundedKey keeps a short key as it is, and the beginning and the digest of a long one: a sender's text
// of a megabyte orders as well, and costs no more.
func boundedKey(key string) string {
	if len(key) <= maxOrderKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	digest := hex.EncodeToString(sum[:])
	return strings.ToValidUTF8(key[:maxOrderKey-len(digest)-1], "") + "#" + digest
}
