package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"relais/internal/expr"
)

// idGrammar keeps ids to what stands after "steps." without quotes.
var idGrammar = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

const onDeadID = "on_dead"

func stepKeys() []field[Step] {
	return []field[Step]{
		one("id", "The step's name: later steps see its result as steps.ID.",
			kind[string]{parseID, func(s string) string { return s }, map[string]any{"type": "string", "pattern": idGrammar.String()}},
			func(s *Step) *string { return &s.ID }),
		{
			name: "use", doc: "The kind of step.", required: true,
			shape: func(s *schemaMaker) map[string]any { return s.stepNames() },
			read: func(r *reader, n *node, path string, s *Step) {
				name, ok := r.plainText(n, path)
				if !ok {
					return
				}
				s.Use = name
				if _, known := find(r.catalog.Steps, name, StepKind.name); !known {
					r.unknown(n.place, path, "step", name, names(r.catalog.Steps, StepKind.name))
				}
			},
		},
		one("connection", "The connection that the step acts on; it may be left out where there is only one of its kind.",
			aText, func(s *Step) *string { return &s.Connection }),
		expressionKey("when", "A condition; where it is false the step is skipped.", func(s *Step) *string { return &s.When }),
		{
			name: "with", group: true, doc: "The step's parameters.",
			shape: func(*schemaMaker) map[string]any { return map[string]any{"type": "object"} },
			read: func(r *reader, n *node, path string, s *Step) {
				if r.isMap(n, path) {
					s.With, _ = r.templateValue(n, path).(map[string]any)
				}
			},
		},
		one("timeout", "Longest time of the step; 60s when left out.", atLeast(aDuration, time.Millisecond), func(s *Step) *time.Duration { return &s.Timeout }),
		one("on_error", "fail (default) ends the attempt; continue goes on with the next step.",
			oneOf("fail", "continue"), func(s *Step) *string { return &s.OnError }),
		one("on_unknown", "When nobody knows whether an at-least-once step was done: retry (default), or stop and ask.",
			oneOf("retry", "stop"), func(s *Step) *string { return &s.OnUnknown }),
	}
}

func parseID(s string) (string, error) {
	if !idGrammar.MatchString(s) {
		return "", fmt.Errorf("%q is not an id: allowed are letters, digits and _, not beginning with a digit", s)
	}
	if s == onDeadID {
		return "", fmt.Errorf("the id %s is taken by the route's on_dead", onDeadID)
	}
	return s, nil
}

func readSteps(r *reader, n *node, path string, t *Route) {
	if n.kind != listNode {
		r.fault(n.place, path, "a list of steps is expected here, and this is %s: begin each step with -", n.describe())
		return
	}
	if len(n.items) == 0 {
		r.fault(n.place, path, "at least one step is needed")
	}
	first := map[string]int{}
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.places[at] = item.place
		step := Step{}
		readObject(r, item, at, stepKeys(), &step)
		if step.ID == "" {
			step.ID = strconv.Itoa(i + 1)
		}
		if other, taken := first[step.ID]; taken {
			r.fault(nearest(r.places, at+".id"), at+".id", "step %d of this route has the id %s already", other+1, step.ID)
		} else {
			first[step.ID] = i
		}
		t.Steps = append(t.Steps, step)
	}
}

// checkSteps looks at the routes again once all connections are known.
func (r *reader) checkSteps(c *Config, root *node) {
	for i := range c.Routes {
		t := &c.Routes[i]
		path := join("routes", t.Name)
		n := root.find("routes").find(t.Name)
		r.checkCondition(n.find("when"), join(path, "when"), t.When, nil, false)
		r.checkTemplate(n.find("order_by"), join(path, "order_by"), t.OrderBy, nil, false)
		r.checkTemplate(n.find("priority"), join(path, "priority"), t.PriorityExpr, nil, false)
		var before []string
		r.results = map[string][]string{}
		for j := range t.Steps {
			at := fmt.Sprintf("%s.steps[%d]", path, j)
			r.checkStep(c, &t.Steps[j], n.find("steps").items[j], at, before, false)
			before = append(before, t.Steps[j].ID)
			if kind, known := find(r.catalog.Steps, t.Steps[j].Use, StepKind.name); known && kind.Result != nil {
				r.results[t.Steps[j].ID] = kind.Result
			}
		}
		if t.OnDead != nil {
			r.checkStep(c, t.OnDead, n.find("on_dead"), join(path, "on_dead"), before, true)
		}
	}
}

func (r *reader) checkStep(c *Config, s *Step, n *node, path string, before []string, failure bool) {
	r.checkCondition(n.find("when"), path+".when", s.When, before, failure)
	kind, known := find(r.catalog.Steps, s.Use, StepKind.name)
	if !known {
		return
	}
	r.connect(c, s, &kind, n, path)
	if s.OnUnknown != "" && kind.Class != "" && kind.Class != "at least once" {
		at := path + ".on_unknown"
		r.fault(nearest(r.places, at), at, "it is for steps of class at least once, and %s is of class %s", kind.Name, kind.Class)
	}
	with := n.find("with")
	if with.kind != mapNode && !with.isNull() {
		return
	}
	for _, e := range with.entries {
		at := join(path+".with", e.key)
		p, known := find(kind.Params, e.key, Param.name)
		if !known {
			r.unknown(e.place, at, "parameter", e.key, names(kind.Params, Param.name))
			continue
		}
		r.checkWith(s, &p, e.value, at, before, failure)
	}
	for _, p := range kind.Params {
		if _, given := s.With[p.Name]; p.Required && !given {
			r.fault(n.place, path+".with", "%s is missing: %s", p.Name, p.Doc)
		}
	}
}

func (r *reader) checkWith(s *Step, p *Param, n *node, path string, before []string, failure bool) {
	if slices.ContainsFunc(r.problems, func(q Problem) bool { return strings.HasPrefix(q.Path, path) }) {
		return // the value could not be read
	}
	value := s.With[p.Name]
	if n.isNull() {
		r.fault(n.place, path, "the parameter has no value: give it one or leave it out")
		return
	}
	checked, err := checkParam(p, value)
	if err == nil && p.Check != nil {
		err = p.Check(checked)
	}
	if err != nil {
		r.fault(n.place, path, "%s", r.withoutVariable(n, err.Error()))
		return
	}
	s.With[p.Name] = checked
	r.warnEmpty(n, path)
	compiler := r.compiler(before, failure)
	if _, err := compiler.Template(checked); err != nil {
		r.compileFaults(n, path, err)
	}
}

// warnEmpty tells of each text that lacks what a variable should have put into it, such as a header's token.
func (r *reader) warnEmpty(n *node, path string) {
	for _, e := range n.entries {
		r.warnEmpty(e.value, join(path, e.key))
	}
	for i, item := range n.items {
		r.warnEmpty(item, fmt.Sprintf("%s[%d]", path, i))
	}
	if name := r.leftEmpty(n.text); name != "" && n.kind == scalarNode {
		r.warn(n.place, path, "${%[1]s} is empty, and so nothing stands in its place: fill it in, or write ${%[1]s:-} if that is meant", name)
	}
}

// connect finds the step's connection: the one it names, or the only one of its kind.
func (r *reader) connect(c *Config, s *Step, kind *StepKind, n *node, path string) {
	at := path + ".connection"
	if kind.Connection == "" {
		if s.Connection != "" {
			r.fault(nearest(r.places, at), at, "%s takes no connection", kind.Name)
		}
		return
	}
	kinds := strings.Join(append([]string{kind.Connection}, kind.Also...), " or ")
	var fitting []string
	// A connection without a kind was reported, and may be the one: nothing more is said of it.
	unread := slices.ContainsFunc(c.Connections, func(one Connection) bool {
		return one.Kind == "" && (s.Connection == "" || s.Connection == one.Name)
	})
	for _, connection := range c.Connections {
		if connection.Kind == kind.Connection || slices.Contains(kind.Also, connection.Kind) {
			fitting = append(fitting, connection.Name)
		}
	}
	switch {
	case unread:
	case s.Connection == "" && len(fitting) == 1:
		s.Connection = fitting[0]
	case s.Connection == "" && len(fitting) == 0:
		r.fault(n.place, path, "%s needs a connection of the kind %s: there is none under connections", kind.Name, kinds)
	case s.Connection == "":
		r.fault(n.place, path, "connection is missing: there are several of the kind %s (%s)", kinds, strings.Join(fitting, ", "))
	case !slices.Contains(fitting, s.Connection):
		r.unknown(nearest(r.places, at), at, "connection of the kind "+kinds+" named", s.Connection, fitting)
	}
}

func (r *reader) checkCondition(n *node, path, src string, before []string, failure bool) {
	if src == "" {
		return
	}
	if _, err := r.compiler(before, failure).Condition(src); err != nil {
		r.compileFaults(n, path, err)
	}
}

func (r *reader) checkTemplate(n *node, path, text string, before []string, failure bool) {
	if text == "" {
		return
	}
	if _, err := r.compiler(before, failure).Template(text); err != nil {
		r.compileFaults(n, path, err)
	}
}

func (r *reader) compiler(before []string, failure bool) *expr.Compiler {
	compiler, err := expr.NewCompiler(before...)
	if err == nil {
		compiler = compiler.WithResults(r.results)
	}
	if err == nil && failure {
		compiler, err = compiler.WithFailure()
	}
	if err != nil {
		panic(err) //nolint:forbidigo // the environment of names is the program's own, and tested
	}
	return compiler
}

// find returns the value under a key; an empty node where there is none.
func (n *node) find(key string) *node {
	for _, e := range n.entries {
		if e.key == key {
			return e.value
		}
	}
	return &node{scalar: nullScalar, place: n.place}
}
