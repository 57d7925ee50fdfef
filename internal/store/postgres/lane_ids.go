package postgres

import (
	"context"
	"sync"

	"relais/internal/core"
)

// laneIDs remembers lanes by their destination. A lane, once there, stays and keeps its number.
type laneIDs struct {
	mu    sync.RWMutex
	ids   map[core.Destination]int64
	names map[int64]core.Destination
}

func (l *laneIDs) id(d core.Destination) (int64, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	id, ok := l.ids[d]
	return id, ok
}

func (l *laneIDs) remember(d core.Destination, id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids == nil {
		l.ids, l.names = map[core.Destination]int64{}, map[int64]core.Destination{}
	}
	l.ids[d], l.names[id] = id, d
}

// forget is called when the database was away: what comes back may be a replica that has not seen the newest
// lanes, or a backup.
func (l *laneIDs) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids, l.names = nil, nil
}

// lanesOf returns the lanes' numbers, and makes those that aren't there: each at once and for good, so that
// what is remembered doesn't depend on what becomes of the caller's transaction.
func (s *Store) lanesOf(ctx context.Context, destinations []core.Destination) (map[core.Destination]int64, error) {
	if !s.prepared.Load() {
		return nil, s.notPrepared()
	}
	ids := make(map[core.Destination]int64, len(destinations))
	for _, d := range destinations {
		if _, done := ids[d]; done {
			continue
		}
		id, known := s.lanes.id(d)
		if !known {
			if err := s.retry(ctx, func(ctx context.Context) error {
				return s.pool.QueryRow(ctx, `INSERT INTO lane (tenant, kind, name) VALUES ($1, $2, $3)
					ON CONFLICT (tenant, kind, name) DO UPDATE SET name = excluded.name RETURNING id`,
					tenantOr(d.Tenant), string(d.Kind), clean(d.Name)).Scan(&id)
			}); err != nil {
				return nil, err
			}
			s.lanes.remember(d, id)
		}
		ids[d] = id
	}
	return ids, nil
}

func tenantOr(tenant string) string {
	if tenant == "" {
		return core.DefaultTenant
	}
	return tenant
}
