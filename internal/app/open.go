package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/ingest"
	"relais/internal/store"
	"relais/internal/store/postgres"
	"relais/internal/store/spool"
	"relais/internal/store/sqlite"
	"relais/internal/telemetry"
)

const (
	// spoolName is the spool's folder within the data folder.
	spoolName = "spool"
	// appendsInFlight is how many transactions ingest has on PostgreSQL at once: while one waits for the
	// network or for the disk, another is on its way. With more, each has fewer events for the same fixed cost.
	appendsInFlight = 2
)

// shared tells whether the configuration's store may have other nodes.
func shared(cfg *config.Config) bool { return cfg.Store != (config.Secret{}) }

// openStore opens the store that the configuration names: a PostgreSQL, or SQLite in the data folder. With
// later, a PostgreSQL that is away is opened all the same, and used once it is there.
func openStore(ctx context.Context, cfg *config.Config, o Options, log *slog.Logger, later bool) (store.Store, error) {
	if !shared(cfg) {
		return sqlite.Open(ctx, sqlite.Options{Dir: o.Data, Sync: o.sync, Log: log})
	}
	if !isURL(cfg.Store.Reveal()) {
		return nil, core.Errorf(core.CodeInvalid, "store: postgres://user:password@host:5432/database is expected; leave store out for SQLite in the data folder")
	}
	return postgres.Open(ctx, postgres.Options{URL: cfg.Store.Reveal(), Log: log, Later: later})
}

// openSpool opens this node's spool, where the configuration wants one.
func (a *App) openSpool(cfg *config.Config) error {
	dir := filepath.Join(a.options.Data, spoolName)
	if !shared(cfg) || !cfg.Ingest.Spool || a.options.role() == RoleWorker {
		if _, err := os.Stat(dir); err == nil {
			a.log.Warn("this node has no spool, and one of an earlier run is there: if it isn't empty, \"relais spool drain\" moves what it holds", "folder", dir)
		}
		return nil
	}
	var err error
	a.spool, err = spool.New(spool.Options{
		Dir: dir, Store: a.store, Rematch: a.rematch,
		MaxBytes: cfg.Ingest.SpoolBytes, Moved: a.stored, Log: a.log.Logger,
	})
	if err != nil {
		return err
	}
	a.metrics.WatchSpool(func() telemetry.SpoolFigures {
		s := a.spool.Status()
		return telemetry.SpoolFigures{
			State: string(s.State), Events: s.Events, Aside: s.Aside, Bytes: s.Bytes + s.AsideBytes, MaxBytes: s.MaxBytes,
			Oldest: s.Oldest, Spooled: s.Spooled, Moved: s.Moved,
		}
	}, time.Now)
	return nil
}

// Drain moves what a dead node's spool holds to the store of the configuration, matched by the routes in
// force. The node must not run.
func Drain(ctx context.Context, o Options, dir string, progress func(moved, waiting int)) (spool.Drained, error) {
	cfg, err := load(o)
	if err != nil {
		return spool.Drained{}, err
	}
	if !shared(cfg) {
		return spool.Drained{}, core.Errorf(core.CodeInvalid, "there are spools beside a PostgreSQL only: %s names none as its store", o.Config)
	}
	opened, err := openStore(ctx, cfg, o, slog.New(slog.DiscardHandler), false)
	if err != nil {
		return spool.Drained{}, err
	}
	a := &App{}
	rematch := func(ctx context.Context, batch []store.Accepted) error {
		set, err := opened.Active(ctx)
		if err == nil && set.Hash == "" {
			err = core.Errorf(core.CodeConflict, "no routes are in force in that store: start a relais on it first")
		}
		if err == nil {
			a.setInForce(set)
			a.direct(batch)
		}
		return err
	}
	drained, err := spool.Drain(ctx, dir, opened, rematch, progress)
	if err == nil && drained.Aside == 0 {
		err = emptied(ctx, opened, drained.ID)
	}
	return drained, errors.Join(err, opened.Close())
}

// closeStores ends what Run opened.
func (a *App) closeStores() error {
	var err error
	if a.spool != nil {
		err = a.spool.Close()
	}
	return errors.Join(err, a.store.Close())
}

// intake is where ingest stores: through the spool, where there is one.
type intake struct {
	spool *spool.Spool
	store.Store
}

func (i intake) Append(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
	return i.spool.Append(ctx, batch)
}

func (a *App) intake() ingest.Store {
	if a.spool == nil {
		return a.store
	}
	return intake{a.spool, a.store}
}

func makeData(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return core.Errorf(core.CodeUnavailable, "the data folder can't be made: %w; give its user the right to, or another folder as --data", err)
	}
	return nil
}
