package step

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"relais/internal/config"
	"relais/internal/core"
)

// Registry is the kinds of steps and connections that this relais knows, from an explicit list.
type Registry struct {
	kinds       map[string]*Kind
	connections map[string]*ConnectionKind
}

// NewRegistry makes a registry. Two kinds of one name, and a step on an unknown kind of connection, are
// faults of the program and panic.
func NewRegistry(kinds []Kind, connections []ConnectionKind) *Registry {
	r := &Registry{kinds: map[string]*Kind{}, connections: map[string]*ConnectionKind{}}
	for _, c := range connections {
		if r.connections[c.Name] != nil {
			panic("two kinds of connection are called " + c.Name) //nolint:forbidigo // the list is written in the program
		}
		r.connections[c.Name] = &c
	}
	for _, k := range kinds {
		if r.kinds[k.Name] != nil {
			panic("two kinds of step are called " + k.Name) //nolint:forbidigo // the list is written in the program
		}
		for _, connection := range k.Connections() {
			if r.connections[connection] == nil {
				panic("step " + k.Name + " needs a connection of the unknown kind " + connection) //nolint:forbidigo // as above
			}
		}
		r.kinds[k.Name] = &k
	}
	return r
}

// Kind finds a kind of step by its name.
func (r *Registry) Kind(name string) (*Kind, bool) {
	k, ok := r.kinds[name]
	return k, ok
}

// ConnectionKind finds a kind of connection by its name.
func (r *Registry) ConnectionKind(name string) (*ConnectionKind, bool) {
	c, ok := r.connections[name]
	return c, ok
}

// Kinds lists the kinds of steps by name.
func (r *Registry) Kinds() []*Kind {
	return slices.SortedFunc(maps.Values(r.kinds), func(a, b *Kind) int { return strings.Compare(a.Name, b.Name) })
}

// ConnectionKinds lists the kinds of connections by name.
func (r *Registry) ConnectionKinds() []*ConnectionKind {
	return slices.SortedFunc(maps.Values(r.connections), func(a, b *ConnectionKind) int { return strings.Compare(a.Name, b.Name) })
}

// Connected is an opened connection of the configuration.
type Connected struct {
	Kind  string
	Value any // what its ConnectionKind opened
	// Broken is set where it could not be opened, which Open has reported: routes that name it say nothing of it.
	Broken bool
}

// Connections are the opened connections by their names in the configuration.
type Connections map[string]Connected

func (c Connections) broken() bool {
	for _, one := range c {
		if one.Broken {
			return true
		}
	}
	return false
}

// Retire tells each Keeper among them that another configuration is in force.
func (c Connections) Retire() {
	for _, one := range c {
		if keeper, ok := one.Value.(Keeper); ok {
			keeper.Retire()
		}
	}
}

// Errors are everything that is wrong with a route or the connections. The Field of each is its path in
// the configuration.
type Errors []*core.Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Field + ": " + one.Message
	}
	return strings.Join(lines, "\n")
}

func (e *Errors) add(field, format string, args ...any) {
	err := core.Errorf(core.CodeInvalid, format, args...)
	err.Field = field
	*e = append(*e, err)
}

func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// Open checks the settings of all connections and opens them, without any input or output. With an error it
// returns those that are broken too, so that routes can be checked for what else is wrong.
func (r *Registry) Open(connections []config.Connection) (Connections, error) {
	opened := Connections{}
	var faults Errors
	for _, c := range connections {
		path := "connections." + c.Name
		kind, ok := r.connections[c.Kind]
		if !ok {
			faults.add(path+".kind", "there is no connection of kind %q%s", c.Kind, among(c.Kind, maps.Keys(r.connections)))
			continue
		}
		before := len(faults)
		settings := checkGiven(kind.Params, c.Settings, path, &faults)
		opened[c.Name] = Connected{Kind: c.Kind, Broken: true}
		if len(faults) > before {
			continue
		}
		value, err := kind.Open(settings)
		if err != nil {
			faults.add(path, "%w", err)
			continue
		}
		opened[c.Name] = Connected{Kind: c.Kind, Value: value}
	}
	return opened, faults.orNil()
}

// TrustedHosts lists the hosts that stand literally in the configuration: what connections point at, and
// what steps name themselves. Nothing else is trusted.
func (r *Registry) TrustedHosts(connections []config.Connection, routes []config.Route) []string {
	hosts := map[string]bool{}
	add := func(list []string) {
		for _, host := range list {
			hosts[host] = true
		}
	}
	for _, c := range connections {
		if kind, ok := r.connections[c.Kind]; ok && kind.Hosts != nil {
			add(kind.Hosts(c.Settings))
		}
	}
	for _, route := range routes {
		steps := route.Steps
		if route.OnDead != nil {
			steps = append(slices.Clone(steps), *route.OnDead)
		}
		for _, s := range steps {
			if kind, ok := r.kinds[s.Use]; ok && kind.Hosts != nil {
				add(kind.Hosts(s.With))
			}
		}
	}
	return slices.Sorted(maps.Keys(hosts))
}

// checkGiven checks literal settings against their parameters and returns them converted, with defaults.
func checkGiven(params []Param, given map[string]any, path string, faults *Errors) map[string]any {
	out := map[string]any{}
	refuseUnknown(params, given, path, faults)
	for i := range params {
		p := &params[i]
		value, ok := given[p.Name]
		if !ok || value == nil {
			switch {
			case p.Default != nil:
				out[p.Name] = p.Default
			case p.Required:
				faults.add(path, "%s is missing: %s", p.Name, p.Doc)
			}
			continue
		}
		converted, err := convert(p, value)
		if err == nil && p.Check != nil {
			err = p.Check(value)
		}
		if err != nil {
			faults.add(path+"."+p.Name, "%w", err)
			continue
		}
		out[p.Name] = converted
	}
	return out
}

func refuseUnknown(params []Param, given map[string]any, path string, faults *Errors) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.ContainsFunc(params, func(p Param) bool { return p.Name == name }) {
			continue
		}
		names := make([]string, len(params))
		for i, p := range params {
			names[i] = p.Name
		}
		faults.add(path+"."+name, "there is no parameter %q%s", name, among(name, slices.Values(names)))
	}
}

// among ends a message about an unknown name with what exists.
func among(name string, names func(func(string) bool)) string {
	known := slices.Sorted(names)
	if len(known) == 0 {
		return " (there is none)"
	}
	if near := core.Nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %s? (allowed: %s)", near, strings.Join(known, ", "))
	}
	return fmt.Sprintf(" (allowed: %s)", strings.Join(known, ", "))
}
