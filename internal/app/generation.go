package app

import (
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/ingest"
	"relais/internal/lane"
	"relais/internal/route"
	"relais/internal/source"
	"relais/internal/step"
	"relais/internal/step/alert"
	"relais/internal/step/dolibarr"
	"relais/internal/step/email"
	"relais/internal/step/emit"
	"relais/internal/step/httpreq"
	"relais/internal/step/meilisearch"
	"relais/internal/step/n8n"
	"relais/internal/step/redis"
	"relais/internal/step/sellsy"
	"relais/internal/step/slack"
	"relais/internal/step/sqlstep"
	"relais/internal/telemetry"
)

// generation is everything that is made of one configuration. It never changes; a reload makes another
// one, and what runs under the old one ends under it.
type generation struct {
	config   *config.Config
	loadedAt time.Time
	sources  []*source.Source
	known    source.Known // the sources, by name
	routes   *route.Set
	programs map[core.Destination]program
	// shared is what other nodes need of the routes; definitions tell whether this node's are theirs.
	shared      json.RawMessage
	definitions map[core.Destination]string
	egress      *egress.Egress
	// hide takes the configuration's secrets out of what is said of an attempt.
	hide *strings.Replacer

	connections step.Connections
}

type program struct {
	settings lane.Settings
	steps    *step.Program
}

// wiring is what steps need of the running relais. Where they are only asked what they take it is empty.
type wiring struct {
	step.Options
	emit emit.Emitter
	desk *alert.Desk
	data string // the folder that no step may act in
}

// registry lists the kinds of steps and connections of this relais. They call out through e, which may
// be nil where they are only asked what they take.
func registry(e *egress.Egress, w wiring) *step.Registry {
	return step.NewRegistry(
		append(sqlstep.Kinds(), sellsy.CreateInvoice(), dolibarr.Get(), dolibarr.CreateInvoice(), httpreq.Request(e), slack.Post(e), email.Send(), redis.Command(), n8n.Trigger(e), meilisearch.Index(e), emit.Emit(w.emit), alert.Alert(w.desk)),
		append(sqlstep.Connections(e, w.data), sellsy.ConnectionKind(e.Client()), dolibarr.ConnectionKind(e.Client()), slack.Connection(e), email.Connection(e), redis.Connection(e), n8n.Connection(), meilisearch.Connection()),
	)
}

// build makes a generation, or says everything that keeps it from being made.
func build(c *config.Config, w wiring, now time.Time) (*generation, error) {
	g := &generation{config: c, loadedAt: now, programs: map[core.Destination]program{}, hide: telemetry.Hiding(revealed(c.Secrets))}
	var problems config.Problems
	note := func(field string, err error) {
		if err != nil {
			problems = append(problems, problemsOf(c, field, err)...)
		}
	}
	presets := source.Beside(c.File)
	for _, s := range c.Sources {
		compiled, err := source.Compile(s, presets)
		note("sources."+s.Name, err)
		g.sources = append(g.sources, compiled)
	}
	if len(problems) == 0 {
		c.Warnings = append(c.Warnings, unknownAddress(c, g.sources)...)
		c.Warnings = append(c.Warnings, withoutSecret(c, g.sources)...)
		g.known = source.NewKnown(g.sources)
		w.Options.Normalized = g.known.Normalized
	}
	var err error
	g.egress, err = egress.New(egress.Options{
		Trusted: registry(nil, w).TrustedHosts(c.Connections, c.Routes), Dev: c.Dev,
	})
	note("connections", err)
	kinds := registry(g.egress, w)
	g.connections, err = kinds.Open(c.Connections)
	note("connections", err)
	for _, r := range c.Routes {
		steps, err := step.Compile(r, kinds, g.connections, w.Options)
		note("routes."+r.Name, err)
		g.programs[route.Destination(r.Name)] = program{settings: laneSettings(&r), steps: steps}
	}
	g.routes, err = route.Compile(c.Routes, c.Hash)
	note("routes", err)
	if len(problems) > 0 {
		return nil, problems
	}
	if g.shared, err = g.routes.Encode(g.hide, runsWith(c)); err != nil {
		return nil, err
	}
	g.routes = g.routes.WithMeaning(g.known)
	_, g.definitions, err = route.Decode(g.shared, c.Hash)
	return g, err
}

// surroundings are what routes run with besides what they say. What bounds this node alone isn't of them: nodes
// of different sizes run the same routes. A setting of a later version comes in here only where it isn't its
// default: it would else change the definition of every route, and older nodes would leave them all.
type surroundings struct {
	Connections  []config.Connection
	Window       int
	Timeout      time.Duration
	Interrupted  int
	BreakerAfter int
	BreakerRest  time.Duration
}

func runsWith(c *config.Config) surroundings {
	return surroundings{
		Connections: slices.SortedFunc(slices.Values(c.Connections), func(a, b config.Connection) int { return strings.Compare(a.Name, b.Name) }),
		Window:      c.Lanes.Window, Timeout: c.Lanes.Timeout, Interrupted: c.Lanes.Interrupted,
		BreakerAfter: c.Lanes.BreakerAfter, BreakerRest: c.Lanes.BreakerRest,
	}
}

func laneSettings(r *config.Route) lane.Settings {
	return lane.Settings{
		Window: r.Window, Rate: r.Rate, Burst: r.Burst,
		FIFO: r.FIFO, FIFOStop: route.StopsOnDead(r),
		Schedule: r.Retry.Delays, MaxAge: r.MaxAge,
	}
}

// match is what ingest asks about an event.
func (g *generation) match(event *core.Event) ingest.Matched {
	deliveries, fanOut := g.routes.Match(event)
	return ingest.Matched{Deliveries: deliveries, FanOut: fanOut, RouteSet: g.routes.Hash()}
}

// unknownAddress warns of sources whose provider signs the address that it calls, where nothing says what that is:
// relais sees the one that a proxy calls it by, and every signature would be wrong.
func unknownAddress(c *config.Config, sources []*source.Source) config.Problems {
	var out config.Problems
	for i, s := range sources {
		if c.PublicURL != "" || c.Dev || s.Test || !s.SignsURL() {
			continue
		}
		path := "sources." + s.Name
		signer := cmp.Or(c.Sources[i].Preset, "the sender")
		out = append(out, config.Problem{Place: c.At(path), Path: path,
			Message: signer + " signs the address that it calls: behind a proxy relais can't know it, and refuses everything; write public_url: https://…"})
	}
	return out
}

// withoutSecret warns of sources that are still being set up.
func withoutSecret(c *config.Config, sources []*source.Source) config.Problems {
	var out config.Problems
	for _, s := range sources {
		if path := "sources." + s.Name; s.Begins() {
			out = append(out, config.Problem{Place: c.At(path), Path: path,
				Message: "it has no secret yet: its provider's handshake is answered, and everything else is refused; write the secret that the provider gives"})
		}
	}
	return out
}

// problemsOf places what a part says is wrong in the file.
func problemsOf(c *config.Config, field string, err error) config.Problems {
	var known config.Problems
	if errors.As(err, &known) {
		return known
	}
	var several step.Errors
	if errors.As(err, &several) {
		out := make(config.Problems, len(several))
		for i, one := range several {
			out[i] = config.Problem{Place: c.At(one.Field), Path: one.Field, Message: one.Message}
		}
		return out
	}
	var one *core.Error
	if errors.As(err, &one) && one.Field != "" {
		field = one.Field
	}
	return config.Problems{{Place: c.At(field), Path: field, Message: err.Error()}}
}

// quietSteps are for programs that are compiled to be checked and never run.
func quietSteps(data string) wiring {
	return wiring{data: data, Options: step.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now}}
}
