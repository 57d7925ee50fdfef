package postgres

import (
	"relais/internal/store"
)

// pauseKey is what a pause is of.
type pauseKey struct {
	scope store.PauseScope
	name  string
}

// readPaused returns what is paused now.
func (t *tx) readPaused() (map[pauseKey]bool, error) {
	rows, err := t.query("SELECT scope, name FROM pause")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	paused := map[pauseKey]bool{}
	for rows.Next() {
		var scope, name string
		if err := rows.Scan(&scope, &name); err != nil {
			return nil, err
		}
		paused[pauseKey{store.PauseScope(scope), name}] = true
	}
	return paused, rows.Err()
}
