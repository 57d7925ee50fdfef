package app

import (
	"context"

	"relais/internal/api"
	"relais/internal/store"
	"relais/internal/store/sqlite"
)

// backUp is how a store is copied into a file; nil where the store is no file of this machine's.
func backUp(s store.Store) api.BackUp {
	if m, ok := s.(measured); ok {
		s = m.Store
	}
	embedded, ok := s.(*sqlite.Store)
	if !ok {
		return nil
	}
	return func(ctx context.Context, b api.Backup, progress func(copied, total int64)) (api.BackedUp, error) {
		done, err := embedded.Backup(ctx, sqlite.BackupParams{File: b.File, Force: b.Force, Progress: progress})
		return api.BackedUp{File: b.File, Bytes: done.Bytes, Events: done.Events}, err
	}
}
