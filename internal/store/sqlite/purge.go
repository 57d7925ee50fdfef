package sqlite

import (
	"context"
	"fmt"
	"math"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"relais/internal/core"
)

// Purge implements store.Operator. What is deleted is overwritten with zeros in its pages, and then the
// WAL, whose older frames still hold it, is emptied.
func (s *Store) Purge(ctx context.Context, ids []core.EventID, by string) (int, error) {
	purged := 0
	err := s.do(ctx, outcome, func(t *tx) (err error) {
		purged = 0
		if err := t.c.exec("PRAGMA secure_delete = ON"); err != nil {
			return err
		}
		defer func() {
			if restore := t.c.exec("PRAGMA secure_delete = FAST"); err == nil {
				err = restore
			}
		}()
		for _, id := range ids {
			found, err := t.purge(id)
			if err != nil {
				return err
			}
			if found {
				purged++
			}
		}
		if err := t.saveFloors(); err != nil {
			return err
		}
		return t.audit(by, "purge", fmt.Sprintf("%d events", purged), "")
	})
	if err != nil || purged == 0 {
		return 0, err
	}
	return purged, s.emptyWAL(ctx)
}

func (t *tx) purge(id core.EventID) (bool, error) {
	a, err := t.appended(id)
	if err != nil || a.Seq == 0 {
		return false, err
	}
	deliveries, err := t.deliveriesOf(a.Seq)
	if err != nil {
		return false, err
	}
	for i, d := range deliveries {
		if d.state == stateRunning {
			return false, core.Errorf(core.CodeConflict, "event %s can't be purged while delivery %s is running", id, core.DeliveryID(d.id))
		}
		if d.state == statePending || d.stops {
			if _, err := t.cancel(d.id, ""); err != nil {
				return false, err
			}
			deliveries[i].state = stateCancelled
		}
	}
	// A rejection that became the event holds the same bytes.
	if _, err := t.deleteRejections(t.c.q("SELECT id, source, bytes FROM rejection WHERE event = ?").blob(id[:]), math.MaxInt64); err != nil {
		return false, err
	}
	return true, t.deleteEvent(a.Seq, deliveries)
}

// emptyWAL waits until no reader stands in the WAL, copies it and cuts it to nothing.
func (s *Store) emptyWAL(ctx context.Context) error {
	deadline := time.NewTimer(s.readTime + time.Second)
	defer deadline.Stop()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		busy, err := s.truncateWAL()
		if err != nil || !busy {
			return public(err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return core.Errorf(core.CodeUnavailable, "the events are deleted, but a reader keeps the log that still holds them: purge again")
		}
	}
}

func (s *Store) truncateWAL() (busy bool, err error) {
	w := s.writer
	w.turn.Lock()
	defer w.turn.Unlock()
	if err := w.reopen(); err != nil {
		return false, w.failed(err)
	}
	// The writer doesn't wait for readers: it tries again between other transactions.
	if err := w.conn.exec("PRAGMA busy_timeout = 0"); err != nil {
		return false, err
	}
	_, err = w.conn.checkpoint(sqlite3.SQLITE_CHECKPOINT_TRUNCATE)
	if restore := w.conn.exec(lockPatience); err == nil {
		err = restore
	}
	if codeOf(err)&0xff == sqlite3.SQLITE_BUSY {
		return true, nil
	}
	return false, err
}
