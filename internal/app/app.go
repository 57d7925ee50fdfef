// Package app puts the parts of relais together: the only package that knows all others.
//
// If the process dies at any line of it nothing is lost: what was acknowledged is in the store, what was
// running is taken over at the next start, and the rest is made of the configuration again.
package app

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"relais/internal/api"
	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/ingest"
	"relais/internal/lane"
	"relais/internal/source"
	"relais/internal/step"
	"relais/internal/step/alert"
	"relais/internal/store"
	"relais/internal/store/spool"
	"relais/internal/store/sqlite"
	"relais/internal/telemetry"
)

// Options are what the command line gives.
type Options struct {
	// Config is the configuration file, Data the data folder.
	Config string
	Data   string
	// Listen and AdminListen override the file's where they are set.
	Listen, AdminListen string
	// Role is what this node does; "" is all.
	Role    Role
	Version string
	Env     func(string) (string, bool)
	Log     io.Writer
	// Ready is called once, when requests are answered; it may be nil.
	Ready func(Addresses)
	// ReadyDelay overrides the file's where it is set: a demonstration has no load balancer to wait for.
	ReadyDelay time.Duration
	// Others is asked for destinations that the configuration doesn't have: a benchmark's are more than a file
	// holds. It may be nil.
	Others func(core.Destination) (lane.Settings, lane.Runner, bool)

	// sync is for the test that proves what the disk is asked for, opened for the one that stops relais
	// inside the protocol of effects, look for the one that can't wait for a reconciliation, roots for the one whose
	// certificates are of an authority of its own.
	sync   sqlite.SyncMode
	opened func(step.Connections)
	look   time.Duration
	roots  *x509.CertPool
}

// Addresses are where a running relais can be reached.
type Addresses struct {
	Listen, Admin, Socket string
}

// App is a relais that runs, or can.
type App struct {
	options Options
	log     *telemetry.Log
	metrics *telemetry.Metrics
	// narrator writes the line of each attempt.
	narrator *narrator
	// desk keeps which alerts were sent.
	desk    *alert.Desk
	certs   *source.Certificates
	store   store.Store
	ingest  *ingest.Ingest
	lanes   *lane.Lanes
	node    string
	started time.Time

	// begun is the configuration of the start, some of which stays in force until the next one.
	begun   *config.Config
	current atomic.Pointer[generation]
	inForce atomic.Pointer[inForce]
	spool   *spool.Spool // nil where there is none
	outage  *outage      // nil where the store is a folder
	// warnings are what the database doesn't protect from; nil where it can't say.
	warnings   func() []string
	refused    atomic.Pointer[api.RefusedReload]
	notReady   atomic.Pointer[[]string]
	fanOutWake chan struct{}
	reloading  sync.Mutex
	firstSeen  firstSeen
}

// New reads the configuration and opens the store. A configuration with problems is a config.Problems.
func New(ctx context.Context, o Options) (*App, error) {
	cfg, err := load(o)
	if err != nil {
		return nil, err
	}
	log, err := telemetry.NewLog(telemetry.LogOptions{Out: o.Log, Format: cfg.Log.Format, Level: cfg.Log.Level})
	if err != nil {
		return nil, err
	}
	log.HideSecrets(revealed(cfg.Secrets))
	quiet := newCalm(log.Handler())
	log.Logger = slog.New(quiet)
	a := &App{
		options: o, log: log, metrics: telemetry.NewMetrics(o.Version), started: time.Now(),
		node: nodeName(shared(cfg)), fanOutWake: make(chan struct{}, 1),
	}
	a.narrator = &narrator{log: log.Logger}
	a.desk = alert.NewDesk(alert.Options{Log: log.Logger, Count: a.metrics.Alert})
	a.setNotReady("starting")
	if err := makeData(o.Data); err != nil {
		return nil, err
	}
	if err := refuseCopied(cfg, o.Data); err != nil {
		return nil, err
	}
	opened, err := openStore(ctx, cfg, o, log.Logger, cfg.Ingest.Spool)
	if err != nil {
		return nil, err
	}
	if shared(cfg) {
		a.outage = &outage{log: log.Logger, over: quiet.said.over}
	}
	a.store = measured{opened, a.metrics, a.outage}
	if w, ok := opened.(interface{ Warnings() []string }); ok {
		a.warnings = w.Warnings
	}
	if err := a.assemble(ctx, cfg); err != nil {
		return nil, errors.Join(err, a.closeStores())
	}
	return a, nil
}

func load(o Options) (*config.Config, error) {
	catalog, err := catalogOf(source.Beside(o.Config))
	if err != nil {
		if problems := ownPresets(o); len(problems) > 0 {
			return nil, problems // all at once, each with its file
		}
		return nil, err
	}
	cfg, err := config.Load(o.Config, o.Env, catalog)
	if err != nil {
		return nil, err
	}
	if o.Listen != "" {
		cfg.Listen = o.Listen
	}
	switch o.AdminListen {
	case "":
	case "off": // as in the file: the socket is left
		cfg.AdminListen = ""
	default:
		cfg.AdminListen = o.AdminListen
	}
	if len(cfg.OnDead) > 0 {
		if _, err := exec.LookPath(cfg.OnDead[0]); err != nil {
			cfg.Warnings = append(cfg.Warnings, config.Problem{Place: cfg.At("on_dead[0]"), Path: "on_dead[0]",
				Message: fmt.Sprintf("%s can't be run here: nobody would be told of dead deliveries", cfg.OnDead[0])})
		}
	}
	if cfg.Dev && config.PublicAddress(cfg.Listen) {
		return nil, core.Errorf(core.CodeInvalid, "dev: true is refused with the public listen address %s: listen on 127.0.0.1", cfg.Listen)
	}
	return cfg, nil
}

// warn logs what in a configuration is probably a mistake.
func warn(ctx context.Context, log *slog.Logger, cfg *config.Config) {
	for _, w := range cfg.Warnings {
		log.WarnContext(ctx, "configuration warning", "file", w.Place.File, "line", w.Place.Line, "column", w.Place.Column, "path", w.Path, "warning", w.Message)
	}
}

// nodeName tells this node from others of its store. Containers have the same name and number each;
// a folder's store has one process at a time, which finds its own deliveries again under the same name.
func nodeName(shared bool) string {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	name := fmt.Sprintf("%s-%d", host, os.Getpid())
	if shared {
		name += "-" + rand.Text()[:6]
	}
	return name
}

func (a *App) stepOptions() wiring {
	return wiring{
		data:    a.options.Data,
		Options: step.Options{Node: a.node, Store: a.narrator.watch(a.store), Log: a.log.Logger, Now: time.Now},
		emit:    a.emit, desk: a.desk,
	}
}

// emit stores an event of relais' own. The spool isn't for it: a step that can't store is run again.
func (a *App) emit(ctx context.Context, accepted store.Accepted) (store.Appended, error) {
	matched := a.match(&accepted.Event)
	accepted.Deliveries, accepted.FanOut, accepted.RouteSet = matched.Deliveries, matched.FanOut, matched.RouteSet
	batch := []store.Accepted{accepted}
	results, err := a.store.Append(ctx, batch)
	if err != nil {
		return store.Appended{}, err
	}
	a.stored(batch, results)
	return results[0], nil
}

// assemble makes the parts around the store.
func (a *App) assemble(ctx context.Context, cfg *config.Config) error {
	first, err := build(cfg, a.stepOptions(), time.Now())
	if err != nil {
		return err
	}
	warn(ctx, a.log.Logger, cfg)
	a.begun = cfg
	if a.options.opened != nil {
		a.options.opened(first.connections)
	}
	if err := a.openSpool(cfg); err != nil {
		return err
	}
	a.watchStore()
	a.metrics.SetSources(sourceNames(cfg))
	if a.certs, err = newCertificates(a.log.Logger, a.options.roots, cfg.Dev); err != nil {
		return err
	}
	a.lanes = lane.New(lane.Options{
		Store: a.store, Node: a.node, Alone: !shared(cfg), Log: a.log.Logger, Metrics: a.metrics, OnDead: a.onDead,
		Settings: a.settings, Stops: a.stops,
		Bounds: lane.Bounds{
			Running: cfg.Lanes.Running, Bytes: cfg.Lanes.Bytes, Window: cfg.Lanes.Window, Timeout: cfg.Lanes.Timeout,
			Interrupted: cfg.Lanes.Interrupted,
			Breaker:     core.BreakerRule{After: cfg.Lanes.BreakerAfter, Rest: cfg.Lanes.BreakerRest, MaxRest: core.DefaultBreaker.MaxRest},
		},
	})
	a.ingest, err = ingest.New(ingest.Options{
		Store: a.intake(), InFlight: inFlight(cfg), Match: a.match, Wake: a.stored, Metrics: a.metrics, Log: a.log.Logger,
		Certificates:  a.certs,
		SourceMetrics: func(name string) ingest.SourceMetrics { return a.metrics.Source(name) },
		Settings:      ingestSettings(first),
	})
	if err != nil {
		return err
	}
	err = a.activate(ctx, first)
	if a.spool != nil && errors.Is(err, store.ErrUnavailable) {
		// What comes in is kept in the spool; the routes are put in force when the database is back.
		a.log.WarnContext(ctx, "the database is away; events are kept in the spool", "error", err)
		return a.replace(first)
	}
	return err
}

func inFlight(cfg *config.Config) int {
	if shared(cfg) {
		return appendsInFlight
	}
	return 1
}

// activate puts a generation in force: first in the store, so that a delivery never names a route that
// the store doesn't know, then for what comes in and for what runs.
func (a *App) activate(ctx context.Context, g *generation) error {
	set := store.RouteSet{
		Hash: g.config.Hash, Node: a.node, Destinations: g.routes.Destinations(), Text: g.config.Redacted, Routes: g.shared,
	}
	for _, src := range g.sources {
		set.Signed = append(set.Signed, src.SignedAt()...)
	}
	if err := a.store.Activate(ctx, set); err != nil {
		return err
	}
	if shared(g.config) {
		a.setInForce(set)
	}
	return a.replace(g)
}

// replace puts a generation in the place of the one before on this node.
func (a *App) replace(g *generation) error {
	a.metrics.SetSources(sourceNames(g.config))
	a.metrics.SetSilentAfter(silentAfter(g.config))
	a.metrics.Loaded(g.loadedAt)
	old := a.current.Swap(g)
	if err := a.ingest.Replace(ingestSettings(g)); err != nil {
		a.current.Store(old)
		return err
	}
	a.lanes.Wake()
	if old != nil && old != g {
		old.connections.Retire()
		old.egress.CloseIdle()
	}
	return nil
}

// settings is what the lanes ask about a destination.
func (a *App) settings(d core.Destination) (lane.Settings, lane.Runner, bool) {
	now := a.current.Load()
	p, ok := now.programs[d]
	if !ok && a.options.Others != nil {
		return a.options.Others(d)
	}
	return p.settings, narrated{p.steps, a.narrator, now.hide}, ok && a.canRun(now, d)
}

// stored is called when a batch was stored.
func (a *App) stored(batch []store.Accepted, results []store.Appended) {
	// Whoever has no routes wants events kept, and no line for each.
	routed := len(a.current.Load().config.Routes) > 0
	for i := range batch {
		if !results[i].RepeatOf.IsZero() {
			continue
		}
		// A spooled event (no number yet) is told of when it is moved.
		if routed && results[i].Seq != 0 && len(batch[i].Deliveries) == 0 && !batch[i].FanOut {
			a.narrator.unrouted(&batch[i].Event)
		}
		a.wake(batch[i].Deliveries)
		if batch[i].FanOut {
			select {
			case a.fanOutWake <- struct{}{}:
			default:
			}
		}
	}
}

func ingestSettings(g *generation) ingest.Settings {
	return ingest.Settings{
		Sources: g.sources, TrustedProxies: g.config.TrustedProxies, Bounds: g.config.Ingest, PublicURL: g.config.PublicURL,
	}
}

// Reload puts the file as it is now in force. A file with problems changes nothing, and is told in the
// log, in the metrics and to whoever asks for the configuration's state.
func (a *App) Reload(ctx context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	err := a.reload(ctx)
	now := time.Now()
	a.metrics.Reloaded(err)
	if err == nil {
		a.refused.Store(nil)
		inForce := a.current.Load().config
		a.log.InfoContext(ctx, "configuration reloaded", "file", a.options.Config, "hash", inForce.Hash)
		if waiting := needRestart(a.begun, inForce); len(waiting) > 0 {
			a.log.WarnContext(ctx, "configuration settings that changed need a restart; until then the old ones stay in force", "settings", strings.Join(waiting, ", "))
		}
		return nil
	}
	problems := apiProblems(err)
	if len(problems) == 0 { // the file is right, and something else isn't
		a.refused.Store(&api.RefusedReload{At: now, Problems: []api.Problem{{File: a.options.Config, Message: err.Error()}}})
		a.log.ErrorContext(ctx, "the configuration was not loaded; the one before stays in force", "file", a.options.Config, "error", err)
		return err
	}
	a.refused.Store(&api.RefusedReload{At: now, Problems: problems})
	a.log.ErrorContext(ctx, "the configuration has problems and was not loaded; the one before stays in force",
		"file", a.options.Config, "problems", len(problems))
	for _, p := range problems {
		a.log.ErrorContext(ctx, "configuration problem", "file", p.File, "line", p.Line, "column", p.Column, "path", p.Path, "problem", p.Message)
	}
	return err
}

func (a *App) reload(ctx context.Context) error {
	cfg, err := load(a.options)
	if err != nil {
		return err
	}
	a.log.HideSecrets(revealed(cfg.Secrets))
	g, err := build(cfg, a.stepOptions(), time.Now())
	if err != nil {
		return err
	}
	warn(ctx, a.log.Logger, cfg)
	if err := a.log.SetLevel(cfg.Log.Level); err != nil {
		return err
	}
	return a.activate(ctx, g)
}

// revealed is what must be known of secrets to keep them out of texts.
func revealed(secrets []config.Secret) []string {
	out := make([]string, len(secrets))
	for i, s := range secrets {
		out[i] = s.Reveal()
	}
	return out
}

func (a *App) setNotReady(reasons ...string) { a.notReady.Store(&reasons) }

func (a *App) state() api.State {
	state := api.State{StartedAt: a.started, Reasons: *a.notReady.Load(), Accepts: a.accepts()}
	if a.warnings != nil {
		state.Warnings = a.warnings()
	}
	if away, stores := a.away(time.Now()); away != "" {
		if stores {
			state.Warnings = append(slices.Clip(state.Warnings), away)
		} else {
			state.Reasons = append(slices.Clip(state.Reasons), away)
		}
	}
	if err := a.unread(); err != nil {
		state.Warnings = append(slices.Clip(state.Warnings), err.Error())
	}
	return state
}

func (a *App) watchStore() {
	a.metrics.WatchStore(func(ctx context.Context) (telemetry.Figures, error) {
		s, err := a.store.Stats(ctx)
		return telemetry.Figures(s), err
	}, time.Now)
	a.metrics.WatchReady(func() bool { return len(a.state().Reasons) == 0 })
	a.metrics.WatchStanding(a.standing, func() (telemetry.Disk, error) { return diskOf(a.options.Data) })
}

// Close releases the store of an App that doesn't run.
func (a *App) Close() error { return a.closeStores() }
