package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

const (
	retainEvery   = time.Minute
	retainFirst   = 5 * time.Second       // after the start, which comes first
	retainPause   = 20 * time.Millisecond // between slices, so that events come first
	recountEvery  = 30 * time.Second
	housekeepWait = 5 * time.Second // after a store that is away
)

// retain deletes what is too old or too much, a slice at a time, until there is nothing left to delete.
// What fails is tried again soon: a day whose readers kept it from being dropped is half out of its table.
func (a *App) retain(ctx context.Context) {
	for pause := retainFirst; wait(ctx, pause); pause = retainEvery {
		for more := true; more; {
			done, err := a.store.Retain(ctx, retainParams(a.current.Load().config))
			if err != nil {
				a.complain(ctx, "retention", err) // which waits
				more = ctx.Err() == nil
				continue
			}
			more = done.More && wait(ctx, retainPause)
		}
	}
}

func retainParams(c *config.Config) store.RetainParams {
	keep := c.Retention
	p := store.RetainParams{
		Events: keep.Events, Dead: keep.Dead, Attempts: keep.Attempts, SizeBytes: keep.Size, Rejections: c.Ingest.Rejections.Age,
	}
	for i := range c.Sources {
		if own := store.SourceAges(c.Sources[i].Retention); own != (store.SourceAges{}) {
			if p.Sources == nil {
				p.Sources = map[string]store.SourceAges{}
			}
			p.Sources[c.Sources[i].Name] = own
		}
	}
	return p
}

func (a *App) recount(ctx context.Context) {
	for wait(ctx, recountEvery) {
		if err := a.store.Recount(ctx); err != nil {
			a.complain(ctx, "recounting the lanes", err)
		}
	}
}

func (a *App) wake(deliveries []store.NewDelivery) {
	for i := range deliveries {
		a.lanes.Wake(deliveries[i].Destination)
	}
}

// complain logs what housekeeping met, and waits a little: a store that is away is asked again later.
func (a *App) complain(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	level := slog.LevelError
	if errors.Is(err, store.ErrUnavailable) || core.CodeOf(err) == core.CodeUnavailable {
		level = slog.LevelWarn
	}
	a.log.Log(ctx, level, what+" failed; it is tried again", "error", err)
	wait(ctx, housekeepWait)
}

// wait returns false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
