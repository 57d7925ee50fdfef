package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"time"

	"relais/internal/api"
	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/ingest"
	"relais/internal/route"
	"relais/internal/source"
	"relais/internal/store"
)

// control is the API of a running relais.
func (a *App) control() http.Handler {
	return api.New(api.Deps{
		Store:          a.store,
		Routes:         func() api.Routes { return replayRoutes{a.routes(), a.current.Load().routes} },
		Unread:         a.unread,
		Sources:        func() []string { return sourceNames(a.current.Load().config) },
		Where:          where(a.current.Load),
		RetryRejection: retrier(a.store, a.certs, a.current.Load, a.match, a.stored),
		Reconcile:      a.reconciler().reconcile,
		Config:         runningConfig{a},
		BackUp:         backUp(a.store),
		State:          a.state,
		Changed:        func() { a.lanes.Wake() },
		Version:        a.options.Version,
		Now:            time.Now,
		Log:            a.log.Logger,
	})
}

// where compiles conditions on events, for a purge.
func where(inForce func() *generation) func(condition string) (api.Predicate, error) {
	return func(condition string) (api.Predicate, error) {
		compiler, err := expr.NewCompiler()
		if err != nil {
			return nil, err
		}
		compiled, err := compiler.Condition(condition)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, event *core.Event) (bool, error) {
			vars, err := expr.EventVars(event, inForce().known.Normalized(event))
			if err != nil {
				return false, err
			}
			return compiled.Eval(ctx, expr.Vars{"event": vars})
		}, nil
	}
}

// retrier verifies a refused request again by the configuration in force.
func retrier(s ingest.RetryStore, certs *source.Certificates, inForce func() *generation, match func(*core.Event) ingest.Matched, wake func([]store.Accepted, []store.Appended)) func(context.Context, *store.Rejection) (core.EventID, error) {
	return func(ctx context.Context, r *store.Rejection) (core.EventID, error) {
		g := inForce()
		for _, src := range g.sources {
			if src.Name == r.Source {
				return ingest.RetryRejection(ctx, s, ingest.RetryParams{
					Source: src, Match: match, Wake: wake, PublicURL: g.config.PublicURL, Certificates: certs,
				}, r)
			}
		}
		return core.EventID{}, core.Errorf(core.CodeConflict, "the source %s is not in the configuration any more", r.Source)
	}
}

func sourceNames(c *config.Config) []string {
	names := make([]string, len(c.Sources))
	for i := range c.Sources {
		names[i] = c.Sources[i].Name
	}
	return names
}

// runningConfig is the configuration as the API shows it.
type runningConfig struct{ *App }

func (r runningConfig) State() api.ConfigState {
	now := r.current.Load()
	state := configState(r.options.Config, now, r.refused.Load())
	state.Restart = needRestart(r.begun, now.config)
	return state
}

func configState(file string, g *generation, refused *api.RefusedReload) api.ConfigState {
	state := api.ConfigState{File: file, Hash: g.config.Hash, LoadedAt: g.loadedAt, Sources: sourceNames(g.config), Refused: refused}
	for i := range g.config.Routes {
		state.Routes = append(state.Routes, g.config.Routes[i].Name)
	}
	return state
}

func (r runningConfig) Check(context.Context) ([]api.Problem, error) { return checkFile(r.options) }

func (r runningConfig) Reload(ctx context.Context) ([]api.Problem, error) {
	err := r.App.Reload(ctx)
	if problems := apiProblems(err); len(problems) > 0 {
		return problems, nil
	}
	return nil, err
}

func checkFile(o Options) ([]api.Problem, error) {
	_, err := Check(o)
	if problems := apiProblems(err); len(problems) > 0 {
		return problems, nil
	}
	return nil, err
}

// apiProblems are what is wrong with a file, or nothing where the error is another one.
func apiProblems(err error) []api.Problem {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return nil
	}
	out := make([]api.Problem, len(problems))
	for i, p := range problems {
		out[i] = api.Problem{File: p.Place.File, Line: p.Place.Line, Column: p.Place.Column, Path: p.Path, Message: p.Message}
	}
	return out
}

// Check reads a configuration and tells all that is wrong with it, as config.Problems. It opens no store
// and calls nobody.
func Check(o Options) (*config.Config, error) {
	cfg, err := load(o)
	if err != nil {
		return nil, err
	}
	if problems := ownPresets(o); len(problems) > 0 {
		return nil, problems
	}
	_, err = build(cfg, quietSteps(o.Data), time.Now())
	return cfg, err
}

// ownPresets plays the test vectors of a user's own presets.
func ownPresets(o Options) config.Problems {
	var problems config.Problems
	for _, fault := range source.Beside(o.Config).CheckOwn() {
		at := fault.Field
		if fault.Vector != "" {
			at = "tests: " + fault.Vector
		}
		problems = append(problems, config.Problem{Place: fault.Place, Path: at, Message: fault.Err.Error()})
	}
	return problems
}

// NotRunning is why a stopped relais isn't ready.
const NotRunning = "not running"

// Stopped is the control API of a data folder that no relais runs on. It holds the folder's lock until
// it is closed, so there are never two writers.
type Stopped struct {
	http.Handler
	store store.Store
}

// Close lets go of the folder.
func (s *Stopped) Close() error { return s.store.Close() }

// Open opens a stopped relais' data folder. A configuration that can't be read leaves what is stored
// readable: only replays need routes.
func Open(ctx context.Context, o Options) (*Stopped, error) {
	g, err := stoppedGeneration(o)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.Data); err != nil && !shared(g.config) {
		return nil, core.Errorf(core.CodeNotFound, "there is no data folder %s: give the one that serve uses with --data", o.Data)
	}
	log := slog.New(slog.NewTextHandler(o.Log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	certs, err := newCertificates(log, o.roots, g.config.Dev)
	if err != nil {
		return nil, err
	}
	opened, err := openStore(ctx, g.config, o, log, false)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	inForce := func() *generation { return g }
	return &Stopped{store: opened, Handler: api.New(api.Deps{
		Store:          opened,
		Routes:         func() api.Routes { return g.routes },
		Sources:        func() []string { return sourceNames(g.config) },
		Where:          where(inForce),
		RetryRejection: retrier(opened, certs, inForce, g.match, nil),
		Reconcile:      (&reconciler{store: opened, inForce: inForce, match: g.match, now: time.Now, first: &firstSeen{}}).reconcile,
		Config:         stoppedConfig{o, g},
		BackUp:         backUp(opened),
		State:          func() api.State { return api.State{StartedAt: started, Reasons: []string{NotRunning}} },
		Version:        o.Version,
		Now:            time.Now,
		Log:            log,
	})}, nil
}

func stoppedGeneration(o Options) (*generation, error) {
	if cfg, err := load(o); err == nil {
		if g, err := build(cfg, quietSteps(o.Data), time.Now()); err == nil {
			return g, nil
		}
	}
	routes, err := route.Compile(nil, "")
	return &generation{config: &config.Config{}, routes: routes}, err
}

type stoppedConfig struct {
	options Options
	*generation
}

func (s stoppedConfig) State() api.ConfigState {
	return configState(s.options.Config, s.generation, nil)
}

func (s stoppedConfig) Check(context.Context) ([]api.Problem, error) { return checkFile(s.options) }

func (s stoppedConfig) Reload(context.Context) ([]api.Problem, error) {
	return nil, core.Errorf(core.CodeConflict, "no relais runs on this data folder: the configuration is read at the next start")
}
