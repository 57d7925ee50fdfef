package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/expr"
)

func routesKey() field[Config] {
	return field[Config]{
		name: "routes", group: true, doc: "What is done for which events, by name.",
		shape: func(s *schemaMaker) map[string]any { return s.named(s.route()) },
		read: func(r *reader, n *node, path string, c *Config) {
			r.named(n, path, func(name string, value *node, at string) {
				route := Route{Name: name}
				readObject(r, value, at, routeKeys(), &route)
				r.checkRoute(&route, value, at)
				c.Routes = append(c.Routes, route)
			})
		},
	}
}

var priorities = []string{"urgent", "high", "normal", "low"}

func routeKeys() []field[Route] {
	return []field[Route]{
		many("on", "The events, as source/type: sellsy/estimate.step, \"*/tracking.delivered\".",
			kind[string]{parseSelector, func(s string) string { return s }, map[string]any{"type": "string"}},
			func(t *Route) *[]string { return &t.On }).must(),
		expressionKey("when", "A condition; where it is false the delivery ends as skipped.", func(t *Route) *string { return &t.When }),
		one("delay", "Wait before the first attempt.", aDuration, func(t *Route) *time.Duration { return &t.Delay }),
		orderByKey(),
		one("fifo", "Strictly one after the other, in order of arrival.", aBool, func(t *Route) *bool { return &t.FIFO }),
		one("fifo_on_dead", "What follows a dead delivery of a fifo route: stop (default) waits for a person, skip goes on.",
			oneOf("stop", "skip"), func(t *Route) *string { return &t.OnFIFO }),
		priorityKey(),
		one("window", "Attempts at once; the file's lanes.window when left out.", atLeast(aCount, 1), func(t *Route) *int { return &t.Window }),
		{
			name: "rate", doc: "Most deliveries per time.",
			shape: func(*schemaMaker) map[string]any { return aRate.shape },
			read: func(r *reader, n *node, path string, t *Route) {
				if v, ok := readScalar(r, n, path, aRate); ok {
					// The other system counts: what is saved up must not come at once.
					t.Rate, t.Burst = v.perSecond, max(1, int(math.Ceil(v.perSecond)))
				}
			},
		},
		retryKey(),
		one("max_age", "Age of the event past which a delivery is not tried again.", atLeast(aDuration, time.Second), func(t *Route) *time.Duration { return &t.MaxAge }),
		{
			name: "steps", doc: "What is done, in order.", required: true,
			shape: func(s *schemaMaker) map[string]any {
				return map[string]any{"type": "array", "minItems": 1, "items": s.ref("step")}
			},
			read: readSteps,
		},
		{
			name: "on_dead", doc: "A step that tells someone about a dead delivery; it sees event, steps and failure (reason, message, attempts).",
			shape: func(s *schemaMaker) map[string]any { return s.ref("step") },
			read: func(r *reader, n *node, path string, t *Route) {
				step := Step{}
				readObject(r, n, path, stepKeys(), &step)
				t.OnDead = &step
			},
		},
		one("test", "Takes test events too: those of a source with test: true, and those of a provider's own test mode.", aBool, func(t *Route) *bool { return &t.Test }),
	}
}

func parseSelector(s string) (string, error) {
	_, err := core.ParseSelector(s)
	return s, err
}

func expressionKey[T any](name, doc string, to func(*T) *string) field[T] {
	return field[T]{
		name: name, doc: doc,
		shape: func(*schemaMaker) map[string]any { return map[string]any{"type": []string{"string", "boolean"}} },
		read: func(r *reader, n *node, path string, t *T) {
			if src, ok := r.expression(n, path); ok {
				*to(t) = src
			}
		},
	}
}

// orderByKey is a template: its expression's value, as text, is the key.
func orderByKey() field[Route] {
	return field[Route]{
		name: "order_by", doc: "Deliveries with the same value run one at a time, in order of arrival: ${{ event.data.sku }}.",
		shape: func(*schemaMaker) map[string]any { return map[string]any{"type": "string", "pattern": `\$\{\{`} },
		read: func(r *reader, n *node, path string, t *Route) {
			text, ok := r.template(n, path)
			if !ok {
				return
			}
			t.OrderBy = text
			if !expr.HasExpressions(text) {
				r.fault(n.place, path, "it holds no ${{ }}, so that all deliveries would wait for each other: write order_by: ${{ event.data.… }}, or fifo: true")
			}
		},
	}
}

func priorityKey() field[Route] {
	return field[Route]{
		name: "priority", doc: "urgent, high, normal or low, or an expression that gives one of them.", def: "normal",
		shape: func(*schemaMaker) map[string]any {
			return map[string]any{"anyOf": []any{map[string]any{"enum": priorities}, map[string]any{"type": "string", "pattern": `\$\{`}}}
		},
		init: func(t *Route) { t.Priority = core.PriorityNormal },
		read: func(r *reader, n *node, path string, t *Route) {
			text, ok := r.template(n, path)
			if !ok {
				return
			}
			if expr.HasExpressions(text) {
				t.PriorityExpr = text
				return
			}
			p, err := core.ParsePriority(text)
			if err != nil {
				r.fault(n.place, path, "%s", r.withoutVariable(n, err.Error()))
				return
			}
			t.Priority = p
		},
	}
}

func retryKey() field[Route] {
	delays := []field[Retry]{
		many("delays", "The wait before each attempt, the first one's included.", aDuration, func(t *Retry) *[]time.Duration { return &t.Delays }).must(),
	}
	list := map[string]any{"type": "array", "minItems": 1, "items": aDuration.shape}
	return field[Route]{
		name: "retry", doc: "The wait before each attempt, the first one's included; as many attempts as waits.",
		def: "[0s, 5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h]",
		shape: func(s *schemaMaker) map[string]any {
			return map[string]any{"anyOf": []any{list, objectShape(s, delays)}}
		},
		read: func(r *reader, n *node, path string, t *Route) {
			if n.kind == mapNode {
				readObject(r, n, path, delays, &t.Retry)
			} else {
				delays[0].read(r, n, path, &t.Retry)
			}
			if n.kind == listNode && len(n.items) == 0 {
				r.fault(n.place, path, "at least one delay is needed: [0s] tries once")
			}
			if len(t.Retry.Delays) > 100 {
				r.fault(n.place, path, "at most 100 attempts are allowed")
			}
		},
	}
}

// template returns a scalar's text with its expressions left in.
func (r *reader) template(n *node, path string) (string, bool) {
	if n.kind != scalarNode || n.isNull() {
		r.fault(n.place, path, "one value is expected here, and this is %s", n.describe())
		return "", false
	}
	text, err := expandTemplate(n.text, r.env)
	if err != nil {
		r.expandFault(n, path, err)
		return "", false
	}
	return text, true
}

// checkRoute refuses keys that contradict each other.
func (r *reader) checkRoute(t *Route, n *node, path string) {
	at := func(key string) (Place, string) {
		under := join(path, key)
		return nearest(r.places, under), under
	}
	if t.FIFO && t.OrderBy != "" {
		place, under := at("order_by")
		r.fault(place, under, "fifo orders all deliveries already: one of order_by and fifo must go")
	}
	if t.OnFIFO != "" && !t.FIFO {
		place, under := at("fifo_on_dead")
		r.fault(place, under, "it is for routes with fifo: true")
	}
	if i := slices.IndexFunc(n.entries, func(e entry) bool { return e.key == "on" }); i >= 0 && len(t.On) == 0 &&
		n.entries[i].value.kind == listNode && len(n.entries[i].value.items) == 0 {
		place, under := at("on")
		r.fault(place, under, "at least one event type is needed")
	}
}

// checkSelectors refuses a route on a source that the file doesn't have: it would never run.
func (r *reader) checkSelectors(c *Config) {
	known := names(c.Sources, func(s Source) string { return s.Name })
	for n := range c.Routes {
		route := &c.Routes[n]
		for i, on := range route.On {
			selector, err := core.ParseSelector(on)
			at := fmt.Sprintf("%s[%d]", join(join("routes", route.Name), "on"), i)
			if err == nil && selector.Source.String() == core.AppSource {
				continue // relais' own events, which need no source of the file
			}
			if err == nil && !r.resolve(c, route, i, selector, at) {
				r.checkType(c, selector, at)
			}
			if err != nil || slices.ContainsFunc(known, selector.Source.Match) {
				continue
			}
			if len(known) == 0 {
				r.fault(nearest(r.places, at), at, "the file has no sources: nothing would ever match %s", on)
				continue
			}
			word, _, _ := strings.Cut(on, "/")
			r.unknown(nearest(r.places, at), at, "source", word, known)
		}
	}
}

// checkType warns of one type, written out, that none of its sources is known to send: it may be a new one
// of the provider's, and is more often a slip of the pen that would let events pass without a word.
func (r *reader) checkType(c *Config, selector core.Selector, at string) {
	typ := selector.Type.String()
	if strings.Contains(typ, "*") {
		return
	}
	var known, presets []string
	for _, s := range c.Sources {
		if !selector.Source.Match(s.Name) {
			continue
		}
		preset, _ := find(r.catalog.Presets, s.Preset, Preset.name)
		if len(preset.Types) == 0 || s.Verify != nil || slices.Contains(preset.Types, typ) {
			return
		}
		known, presets = append(known, preset.Types...), append(presets, preset.Name)
	}
	if len(presets) == 0 {
		return
	}
	slices.Sort(presets)
	message := fmt.Sprintf("%s is not known to send %q", strings.Join(slices.Compact(presets), " or "), typ)
	if near := core.Nearest(typ, known); near != "" {
		message += fmt.Sprintf(": did you mean %q?", near)
	}
	r.warn(nearest(r.places, at), at, "%s", message)
}
