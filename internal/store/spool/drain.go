package spool

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Drained is what a Drain did.
type Drained struct {
	// ID names the folder, as Status does; "" where it has no name.
	ID    string
	Moved int
	// Aside are events that the store refuses: they are still in the folder.
	Aside int
}

// Drain moves all that a folder's spool holds to a store: it rescues the spool of a node that won't come back. The
// node must not run. It may be ended at any time, and run again. Progress, which may be nil, is told after each
// batch how many were moved and how many wait.
func Drain(ctx context.Context, dir string, remote Remote, rematch Rematch, progress func(moved, waiting int)) (Drained, error) {
	var done Drained
	if _, err := os.Stat(filepath.Join(dir, databaseName)); errors.Is(err, fs.ErrNotExist) {
		return done, core.Errorf(core.CodeNotFound, "there is no spool in %s: no file %s", dir, databaseName)
	}
	d, err := openDisk(dir, math.MaxInt64)
	if err != nil {
		return done, err
	}
	defer d.close()
	m := &mover{
		disk: d, remote: remote, rematch: rematch, log: slog.New(slog.DiscardHandler), now: time.Now,
		note: func(time.Duration, error) {},
		moved: func(batch []store.Accepted, _ []store.Appended) {
			done.Moved += len(batch)
			if progress != nil {
				progress(done.Moved, d.figures.Load().waiting)
			}
		},
	}
	if done.ID, err = idOf(dir); err != nil {
		return done, err
	}
	err = m.drain(ctx)
	done.Aside = d.figures.Load().aside
	return done, err
}

// drain moves all. What stands aside is older than what is in line, and goes first.
func (m *mover) drain(ctx context.Context) error {
	if _, err := m.retryAside(ctx); err != nil {
		return err
	}
	for {
		batch, err := m.disk.next()
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			return m.disk.tidy()
		}
		if err := m.move(ctx, batch); err != nil {
			return err
		}
	}
}
