package postgres

import (
	"context"
	"fmt"
	"time"
)

const (
	microsPerDay = int64(24 * time.Hour / time.Microsecond)
	daysAhead    = 7
	// partitionsTime bounds making them.
	partitionsTime = 30 * time.Second
)

// partitioned are the tables that have a partition for each day.
var partitioned = []string{"event", "delivery_done", "attempt"}

// makePartitions makes today's partitions and those of the days after it, by the database's clock. A new
// one is made apart and attached: that doesn't wait for who writes into the others, nor they for it.
func (s *Store) makePartitions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, partitionsTime)
	defer cancel()
	var today int64
	if err := s.pool.QueryRow(ctx, "SELECT relais_now($1) / $2", s.given(), microsPerDay).Scan(&today); err != nil {
		return err
	}
	for _, table := range partitioned {
		for day := today; day <= today+daysAhead; day++ {
			if err := s.makePartition(ctx, table, day); err != nil {
				return err
			}
		}
	}
	return nil
}

func partitionName(table string, day int64) string { return fmt.Sprintf("%s_d%d", table, day) }

func (s *Store) makePartition(ctx context.Context, table string, day int64) error {
	name := partitionName(table, day)
	var there bool
	// Attached, not only made: who died between the two leaves a table that the next one attaches.
	if err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_inherits
		WHERE inhparent = to_regclass($1) AND inhrelid = to_regclass($2))`, table, name).Scan(&there); err != nil || there {
		return err
	}
	return s.try(ctx, func(t *tx) error {
		// For all nodes: the second waits, and then finds it attached.
		if err := t.exec("SELECT pg_advisory_xact_lock(hashtext('relais partition'), hashtext($1))", name); err != nil {
			return err
		}
		if err := t.row(`SELECT EXISTS (SELECT FROM pg_inherits
			WHERE inhparent = to_regclass($1) AND inhrelid = to_regclass($2))`, table, name).Scan(&there); err != nil || there {
			return err
		}
		if err := t.exec(fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (LIKE %s INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING CONSTRAINTS)", name, table)); err != nil {
			return err
		}
		return t.exec(fmt.Sprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%d) TO (%d)", table, name, day, day+1))
	})
}

// tendPartitions makes the coming days' partitions in time. Those of the days after the start were made by prepare.
func (s *Store) tendPartitions() {
	wait := time.Hour
	for {
		select {
		case <-s.closing.Done():
			return
		case <-time.After(wait):
		}
		wait = time.Hour
		if err := s.makePartitions(s.closing); err != nil && s.closing.Err() == nil {
			s.log.Warn("the coming days' partitions can't be made; it is tried again in a minute", "error", err)
			wait = time.Minute
		}
	}
}
