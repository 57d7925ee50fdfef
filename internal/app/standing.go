package app

import (
	"context"
	"time"

	"relais/internal/api"
	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/telemetry"
)

const (
	// undecidedUpTo and lanesUpTo bound what a scrape looks at.
	undecidedUpTo = 1000
	lanesUpTo     = 10_000
)

// standing is what waits for a person, and who is there.
func (a *App) standing(ctx context.Context) (telemetry.Standing, error) {
	effects, err := a.store.Effects(ctx, store.EffectFilter{State: store.EffectUnknown, Limit: undecidedUpTo})
	if err != nil {
		return telemetry.Standing{}, err
	}
	out := telemetry.Standing{Undecided: len(effects)}
	work, err := a.store.Work(ctx, 0, lanesUpTo)
	if err != nil {
		return telemetry.Standing{}, err
	}
	known := map[core.Destination]bool{}
	for _, d := range a.routes().Destinations() {
		known[d] = true
	}
	for _, w := range work {
		if !known[w.Destination] && (a.options.Others == nil || !a.isOther(w.Destination)) {
			out.OrphanedLanes++
		}
	}
	told, err := a.store.Nodes(ctx)
	if err != nil {
		return telemetry.Standing{}, err
	}
	nodes, err := api.Nodes(told)
	if err != nil {
		return telemetry.Standing{}, err
	}
	for _, n := range nodes {
		switch {
		case n.State == "alive":
			out.Alive++
			continue
		case n.Spool != nil:
			out.Stranded += n.Spool.Events + n.Spool.Aside
		}
		out.Gone++
	}
	return out, nil
}

func (a *App) isOther(d core.Destination) bool {
	_, _, ok := a.options.Others(d)
	return ok
}

// silentAfter is how long each source that says so may be silent.
func silentAfter(c *config.Config) map[string]time.Duration {
	out := map[string]time.Duration{}
	for i := range c.Sources {
		if s := &c.Sources[i]; s.SilentAfter > 0 {
			out[s.Name] = s.SilentAfter
		}
	}
	return out
}
