package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
)

// Purge implements store.Operator. No query finds what is deleted once it is committed; the tables that held
// it are then vacuumed, which takes the rows out of their pages. What the server itself keeps of past writes
// is not relais' to take: its log, its backups, its replicas, and the gaps in pages until they are filled.
func (s *Store) Purge(ctx context.Context, ids []core.EventID, by string) (int, error) {
	purged := 0
	var tables []string
	err := s.transact(ctx, func(t *tx) error {
		p := purge{tx: t, events: uuids(ids), tables: map[string]bool{}}
		events, err := t.lockEvents(ids, "UPDATE")
		if err != nil {
			return err
		}
		purged = len(events)
		if purged > 0 {
			if err := p.run(); err != nil {
				return err
			}
		}
		tables = p.touched()
		return t.audit(by, "purge", fmt.Sprintf("%d events", purged), "")
	})
	if err != nil {
		return 0, err
	}
	for _, table := range tables {
		// Not within a transaction; and it waits for nobody, nor anybody for it.
		if _, err := s.pool.Exec(ctx, "VACUUM (TRUNCATE false) "+table, pgx.QueryExecModeSimpleProtocol); err != nil {
			return purged, core.Errorf(core.CodeUnavailable, "the events are deleted, but their pages are not cleaned yet: %w", public(err))
		}
	}
	return purged, nil
}

// purge is the deletion of events, which are locked, with all that belongs to them.
type purge struct {
	*tx
	events [][16]byte
	tables map[string]bool
}

func (p *purge) run() error {
	// Who expands the events' orders is waited for: after it, no delivery of theirs is made.
	if err := p.exec("SELECT FROM fan_out WHERE event = ANY($1::uuid[]) ORDER BY event FOR UPDATE", p.events); err != nil {
		return err
	}
	live, err := p.live()
	if err != nil {
		return err
	}
	if _, err := p.cancel(live, ""); err != nil {
		return err
	}
	// What isn't cancelled runs; it may have been claimed just now.
	var id int64
	var event core.EventID
	rows, err := p.query("SELECT id, event FROM delivery WHERE event = ANY($1::uuid[]) ORDER BY id LIMIT 1", p.events)
	if err != nil {
		return err
	}
	if _, err := pgx.ForEachRow(rows, []any{&id, (*[16]byte)(&event)}, func() error {
		return core.Errorf(core.CodeConflict, "event %s can't be purged while delivery %s is running", event, core.DeliveryID(id))
	}); err != nil {
		return err
	}
	if err := p.removeEnded(); err != nil {
		return err
	}
	// A rejection that became the event holds the same bytes.
	return p.remove("rejection WHERE event = ANY($1::uuid[])", p.events)
}

// removeEnded deletes events of which no delivery is live, with their deliveries, attempts and steps.
func (p *purge) removeEnded() error {
	rows, err := p.query("SELECT id FROM delivery_done WHERE event = ANY($1::uuid[]) UNION ALL SELECT id FROM delivery_kept WHERE event = ANY($1::uuid[])", p.events)
	if err != nil {
		return err
	}
	deliveries, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, from := range [...]string{"attempt", "step"} {
		if err := p.remove(from+" WHERE delivery = ANY($1::bigint[])", deliveries); err != nil {
			return err
		}
	}
	for _, from := range [...]string{
		"delivery_done WHERE event", "delivery_kept WHERE event", "fan_out WHERE event", "event WHERE id", "event_kept WHERE id",
	} {
		if err := p.remove(from+" = ANY($1::uuid[])", p.events); err != nil {
			return err
		}
	}
	return nil
}

func (p *purge) live() ([]int64, error) {
	rows, err := p.query("SELECT id FROM delivery WHERE event = ANY($1::uuid[])", p.events)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if len(ids) > 0 {
		p.tables["delivery"] = true
	}
	return ids, err
}

// remove deletes rows and notes the tables, and the days' partitions, that held any.
func (p *purge) remove(from string, arg any) error {
	rows, err := p.query("WITH gone AS (DELETE FROM "+from+" RETURNING tableoid) SELECT DISTINCT tableoid::regclass::text FROM gone", arg)
	if err != nil {
		return err
	}
	var table string
	_, err = pgx.ForEachRow(rows, []any{&table}, func() error {
		p.tables[table] = true
		return nil
	})
	return err
}

func (p *purge) touched() []string {
	var tables []string
	for table := range p.tables {
		tables = append(tables, table)
	}
	slices.Sort(tables)
	return tables
}
