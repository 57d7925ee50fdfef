package postgres

import (
	"context"

	"relais/internal/store"
)

const (
	// countUpTo is how many deliveries are counted one by one. Of more than that, the figure is the server's
	// estimate of the table's rows, which it makes anew whenever a part of them has changed.
	countUpTo = 100_000
	// hopsForOldest bounds how many lanes' classes are asked for their oldest delivery.
	hopsForOldest = 10_000
)

// Stats implements store.Reader. The server doesn't tell everybody how large its log is: WALBytes stays 0.
func (s *Store) Stats(ctx context.Context) (store.Stats, error) {
	var stats store.Stats
	err := s.read(ctx, func(t *tx) error {
		var live, stopping, estimate int64
		if err := t.row(`SELECT (SELECT coalesce(sum(running), 0) FROM lane),
			(SELECT count(*) FROM (SELECT FROM delivery LIMIT $1 + 1) d),
			(SELECT count(*) FROM (SELECT FROM delivery WHERE state = 3 LIMIT $1) d),
			(SELECT count(*) FROM (SELECT FROM delivery_done WHERE state = 3 LIMIT $1) d)
				+ (SELECT count(*) FROM (SELECT FROM delivery_kept LIMIT $1) d),
			(SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass('delivery'))`,
			int64(countUpTo)).Scan(&stats.Running, &live, &stopping, &stats.Dead, &estimate); err != nil {
			return err
		}
		if live > countUpTo {
			live = max(live, estimate)
		}
		stats.Pending = max(live-stats.Running-stopping, 0)
		stats.Dead += stopping
		var first, oldest *int64
		// Events are nearly in the order of their ids, which each day's index has.
		if err := t.row(`SELECT least((SELECT at FROM event ORDER BY id LIMIT 1), (SELECT at FROM event_kept ORDER BY seq LIMIT 1))`).
			Scan(&first); err != nil {
			return err
		}
		if err := t.row(oldestDue, hopsForOldest).Scan(&oldest); err != nil {
			return err
		}
		if first != nil {
			stats.FirstEvent = moment(*first)
		}
		if oldest != nil {
			stats.OldestDue = moment(*oldest)
		}
		var err error
		stats.UsedBytes, err = t.usedBytes()
		return err
	})
	return stats, err
}

// oldestDue hops in the index from lane to lane and class to class: each hop is one look, whatever waits.
const oldestDue = `WITH RECURSIVE hop(lane, class, due, n) AS (
	(SELECT lane, class, due, 1 FROM delivery WHERE state = 0 AND wait = 0 ORDER BY lane, class, due LIMIT 1)
	UNION ALL
	SELECT d.lane, d.class, d.due, hop.n + 1 FROM hop CROSS JOIN LATERAL (
		SELECT lane, class, due FROM delivery WHERE state = 0 AND wait = 0 AND (lane, class) > (hop.lane, hop.class)
		ORDER BY lane, class, due LIMIT 1) d
	WHERE hop.n < $1)
	SELECT min(due) FROM hop`

// usedBytes is what relais' tables take on the disk, with their indexes: the database may hold others'.
func (t *tx) usedBytes() (int64, error) {
	var used int64
	err := t.row(`SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
		WHERE c.relkind = 'r' AND (c.oid = ANY($1::text[]::regclass[])
			OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = ANY($2::text[]::regclass[])))`,
		plain, partitioned).Scan(&used)
	return used, err
}

// plain are the tables without partitions.
var plain = []string{
	"event_kept", "dedup", "fan_out", "route_set", "lane", "delivery", "delivery_kept", "step", "effect", "rejection", "pause", "audit", "node",
}
