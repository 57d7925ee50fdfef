package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/ingest"
	"relais/internal/store"
	"relais/internal/store/postgres"
	"relais/internal/store/spool"
	"relais/internal/store/sqlite"
)

const (
	// spoolName is the spool's folder within the data folder.
	spoolName = "spool"
	// appendsInFlight is how many transactions ingest has on PostgreSQL at once: while one waits for the
	// network or for the disk, others are on their way.
	appendsInFlight = 4
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
	if !shared(cfg) || !cfg.Ingest.Spool || a.options.role() == RoleWorker {
		return nil
	}
	var err error
	a.spool, err = spool.New(spool.Options{
		Dir: filepath.Join(a.options.Data, spoolName), Store: a.store, Rematch: a.rematch,
		MaxBytes: cfg.Ingest.SpoolBytes, Moved: a.stored, Log: a.log.Logger,
	})
	return err
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
		return core.Errorf(core.CodeUnavailable, "the data folder can't be made: %w", err)
	}
	return nil
}
