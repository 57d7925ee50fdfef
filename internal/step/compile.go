package step

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/store"
)

// defaultTimeout bounds a step that doesn't say its own, and whose kind doesn't.
const defaultTimeout = 60 * time.Second

// onDeadID is the id of a route's on_dead step.
const onDeadID = "on_dead"

// Options are what programs need of the rest of relais. To check a configuration the zero Options do.
type Options struct {
	Node  string
	Store Store
	Log   *slog.Logger
	Now   func() time.Time
	// Normalized returns an event's common members; nil returns none.
	Normalized func(event *core.Event) map[string]any
}

// Store is what programs need of the store.
type Store interface {
	store.Ledger
	StepSaver
}

// Program is a route's steps, compiled. It runs many deliveries at once and never changes.
type Program struct {
	name   string
	when   *expr.Condition
	steps  []compiled
	onDead *compiled
	o      Options
}

type compiled struct {
	config.Step
	kind           *Kind
	connection     any
	connectionName string
	class          Class
	when           *expr.Condition
	params         []boundParam
	definition     string
}

type boundParam struct {
	*Param
	template *expr.Template
}

// Compile makes a route's program. Everything that is wrong is reported at once, as Errors.
func Compile(route config.Route, registry *Registry, connections Connections, o Options) (*Program, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &routeCompiler{registry: registry, connections: connections}
	p := &Program{name: route.Name, o: o}
	path := "routes." + route.Name
	p.when = c.condition(route.When, nil, false, path+".when")
	var before []string
	for i := range route.Steps {
		at := fmt.Sprintf("%s.steps[%d]", path, i)
		if slices.Contains(before, route.Steps[i].ID) || route.Steps[i].ID == onDeadID {
			c.faults.add(at+".id", "the id %q is taken", route.Steps[i].ID)
		}
		p.steps = append(p.steps, c.step(&route.Steps[i], before, false, at))
		before = append(before, route.Steps[i].ID)
	}
	if route.OnDead != nil {
		last := *route.OnDead
		last.ID = onDeadID
		s := c.step(&last, before, true, path+".on_dead")
		p.onDead = &s
	}
	if err := c.faults.orNil(); err != nil {
		return nil, err
	}
	return p, nil
}

type routeCompiler struct {
	registry    *Registry
	connections Connections
	faults      Errors
}

func (c *routeCompiler) step(s *config.Step, before []string, failure bool, path string) compiled {
	out := compiled{Step: *s}
	kind, ok := c.registry.Kind(s.Use)
	if !ok {
		names := make([]string, 0, len(c.registry.kinds))
		for _, k := range c.registry.Kinds() {
			names = append(names, k.Name)
		}
		c.faults.add(path+".use", "there is no step %q%s", s.Use, among(s.Use, slices.Values(names)))
		return out
	}
	out.kind = kind
	if out.Timeout == 0 {
		out.Timeout = cmp.Or(kind.Timeout, defaultTimeout)
	}
	c.connect(&out, path)
	out.class = kind.Class
	if kind.ClassOn != nil && out.connection != nil {
		out.class = kind.ClassOn(out.connection)
	}
	if s.OnUnknown != "" && out.class != ClassAtLeastOnce {
		c.faults.add(path+".on_unknown", "it is for steps of class %q; %s is of class %q here", ClassAtLeastOnce, kind.Name, out.class)
	}
	out.when = c.condition(s.When, before, failure, path+".when")
	sound := len(c.faults)
	c.params(&out, before, failure, path+".with")
	if c.connections.broken() {
		// What checks a step by its connections would report the broken one again.
		return out
	}
	if kind.Check != nil && len(c.faults) == sound {
		if err := kind.Check(s.With, out.connection); err != nil {
			c.faults.add(path+".with", "%w", err)
		}
	}
	var err error
	if kind.Choose != nil && len(c.faults) == sound {
		if out.connection, err = kind.Choose(s.With, c.connections); err != nil {
			c.faults.add(path+".with", "%w", err)
		}
	}
	if out.definition, err = definition(s, out.connectionName); err != nil {
		c.faults.add(path+".with", "%w", err)
	}
	return out
}

// connect finds the step's connection: the one it names, or the only one of its kind.
func (c *routeCompiler) connect(out *compiled, path string) {
	kinds := out.kind.Connections()
	want := strings.Join(kinds, " or ")
	if len(kinds) == 0 {
		if out.Connection != "" {
			c.faults.add(path+".connection", "%s takes no connection", out.kind.Name)
		}
		return
	}
	var ofKind []string
	for name, connection := range c.connections {
		if slices.Contains(kinds, connection.Kind) {
			ofKind = append(ofKind, name)
		}
	}
	slices.Sort(ofKind)
	name := out.Connection
	switch {
	case name == "" && len(ofKind) == 1:
		name = ofKind[0]
	case name == "" && len(ofKind) == 0:
		c.faults.add(path+".use", "%s needs a connection of kind %s, and the file has none under connections", out.kind.Name, want)
		return
	case name == "":
		c.faults.add(path+".connection", "it must be said: there are %s", strings.Join(ofKind, ", "))
		return
	case !slices.Contains(ofKind, name):
		c.faults.add(path+".connection", "%q is not a connection of kind %s%s", name, want, among(name, slices.Values(ofKind)))
		return
	}
	out.connection, out.connectionName = c.connections[name].Value, name
}

func (c *routeCompiler) params(out *compiled, before []string, failure bool, path string) {
	refuseUnknown(out.kind.Params, out.With, path, &c.faults)
	compiler := c.compiler(before, failure, path)
	if compiler == nil {
		return
	}
	for i := range out.kind.Params {
		p := &out.kind.Params[i]
		value, ok := out.With[p.Name]
		if !ok || value == nil {
			if p.Required {
				c.faults.add(path, "%s is missing: %s", p.Name, p.Doc)
			}
			out.params = append(out.params, boundParam{Param: p})
			continue
		}
		at := path + "." + p.Name
		dynamic := expr.HasExpressions(value)
		if dynamic && p.Literal {
			c.faults.add(at, "no ${{ }} may stand here")
			continue
		}
		template, err := compiler.Template(value)
		if err != nil {
			c.expressionFaults(at, err)
			continue
		}
		if !dynamic {
			_, err = convert(p, value)
		}
		if err == nil && p.Check != nil {
			err = p.Check(value)
		}
		if err != nil {
			c.faults.add(at, "%w", err)
			continue
		}
		out.params = append(out.params, boundParam{Param: p, template: template})
	}
}

func (c *routeCompiler) condition(src string, before []string, failure bool, path string) *expr.Condition {
	if src == "" {
		return nil
	}
	compiler := c.compiler(before, failure, path)
	if compiler == nil {
		return nil
	}
	condition, err := compiler.Condition(src)
	if err != nil {
		c.expressionFaults(path, err)
		return nil
	}
	return condition
}

func (c *routeCompiler) compiler(before []string, failure bool, path string) *expr.Compiler {
	compiler, err := expr.NewCompiler(before...)
	if err == nil && failure {
		compiler, err = compiler.WithFailure()
	}
	if err != nil {
		c.faults.add(path, "%w", err)
		return nil
	}
	return compiler
}

// expressionFaults reports each fault of a value under its own path.
func (c *routeCompiler) expressionFaults(path string, err error) {
	faults := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		faults = joined.Unwrap()
	}
	for _, fault := range faults {
		at := path
		var compile *expr.CompileError
		if errors.As(fault, &compile) && compile.Path != "" {
			at += "." + compile.Path
			if compile.Path[0] == '[' {
				at = path + compile.Path
			}
		}
		c.faults.add(at, "%w", fault)
	}
}
