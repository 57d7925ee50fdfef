package spool

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"relais/internal/store"
)

// mover takes events from the disk to the store.
type mover struct {
	disk    *disk
	remote  Remote
	rematch Rematch
	moved   func(batch []store.Accepted, results []store.Appended)
	note    func(took time.Duration, err error) // is told of each call of the store
	log     *slog.Logger
	now     func() time.Time
}

// send is one call of the store.
func (m *mover) send(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	begun := time.Now()
	appended, err := m.remote.Append(ctx, batch)
	if err == nil && len(appended) != len(batch) {
		err = fmt.Errorf("%w: it answered for %d events of %d", store.ErrUnavailable, len(appended), len(batch))
	}
	m.note(time.Since(begun), err)
	return appended, err
}

// move takes the first of the line to the store. An error says that they wait on.
func (m *mover) move(ctx context.Context, batch []store.Accepted) error {
	if err := m.match(ctx, batch); err != nil {
		return err
	}
	return m.part(ctx, batch)
}

func (m *mover) match(ctx context.Context, batch []store.Accepted) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if err := m.rematch(ctx, batch); err != nil {
		return fmt.Errorf("matching the spool's events: %w", err)
	}
	return nil
}

// part moves a batch, or the parts of it that the store takes. An error that isn't the store's own is the
// fault of an event in it, which is found by halves and put aside.
func (m *mover) part(ctx context.Context, batch []store.Accepted) error {
	appended, err := m.send(ctx, batch)
	switch {
	case err == nil:
		if err := m.disk.remove(batch); err != nil {
			return err // it is sent again, and known by its ids
		}
		m.moved(batch, appended)
		return nil
	case unavailable(err):
		return err
	case len(batch) == 1:
		m.log.Error("the database refuses a spooled event; it is put aside", "event", batch[0].Event.ID, "source", batch[0].Event.Source, "error", err)
		return m.disk.putAside(&batch[0], err.Error(), m.now())
	}
	half := len(batch) / 2
	if err := m.part(ctx, batch[:half]); err != nil {
		return err
	}
	return m.part(ctx, batch[half:])
}

// retryAside tries what was put aside again, one by one: what the store refused may have been the store's
// fault nevertheless, and have been mended.
func (m *mover) retryAside(ctx context.Context) (moved int, err error) {
	last := int64(0)
	for {
		a, seq, err := m.disk.nextAside(last)
		if err != nil || seq == 0 {
			return moved, err
		}
		last = seq
		batch := []store.Accepted{a}
		if err := m.match(ctx, batch); err != nil {
			return moved, err
		}
		appended, err := m.send(ctx, batch)
		switch {
		case err == nil:
			if err := m.disk.removeAside(seq); err != nil {
				return moved, err
			}
			moved++
			m.moved(batch, appended)
		case unavailable(err):
			return moved, err
		}
	}
}
