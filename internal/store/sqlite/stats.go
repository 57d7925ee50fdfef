package sqlite

import (
	"context"
	"os"
	"time"

	"relais/internal/store"
)

// lanesForOldest bounds how many lanes are asked for their oldest delivery.
const lanesForOldest = 10_000

// Stats implements store.Reader.
func (s *Store) Stats(ctx context.Context) (store.Stats, error) {
	var stats store.Stats
	err := s.read(ctx, func(c *conn) error {
		q := c.q("SELECT pending, running, dead, (SELECT at FROM event ORDER BY seq LIMIT 1) FROM tally")
		if q.next() {
			stats = store.Stats{Pending: q.colInt(0), Running: q.colInt(1), Dead: q.colInt(2), FirstEvent: moment(q.colInt(3))}
		}
		if err := q.end(); err != nil {
			return err
		}
		used, err := usedPages(c)
		if err != nil {
			return err
		}
		stats.UsedBytes = used * pageSize
		lane := int64(0)
		for range lanesForOldest {
			w, found, err := firstWork(c, lane)
			if err != nil || !found {
				return err
			}
			if lane = int64(w.Lane); stats.OldestDue.IsZero() || w.NextDue.Before(stats.OldestDue) {
				stats.OldestDue = w.NextDue
			}
		}
		return nil
	})
	if info, statErr := os.Stat(s.path + "-wal"); statErr == nil {
		stats.WALBytes = info.Size()
	}
	return stats, err
}

func duration(ns int64) time.Duration { return time.Duration(ns) }
