package postgres

import (
	"errors"

	"github.com/jackc/pgx/v5"

	"relais/internal/store"
)

// attemptsGoFirst tells whether attempts are kept for a shorter time than deliveries. Then none stands with its ended
// delivery: their day goes as a whole, and gives its disk back.
func attemptsGoFirst(p store.RetainParams) bool {
	return p.Attempts > 0 && (p.Events <= 0 || p.Attempts < p.Events)
}

// retainAttempts takes out of their rows the attempts that stand with ended deliveries all the same: from when they were
// kept for as long, and from a node's first moments, when it wasn't told yet. It goes through the days one after the
// other, as they become old enough; another process begins again with the first.
func (t *tx) retainAttempts(p store.RetainParams, r *pass, done *store.Retained) error {
	if !attemptsGoFirst(p) {
		return nil
	}
	var day int64
	err := t.row(`SELECT d.day FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		CROSS JOIN LATERAL (SELECT substring(c.relname FROM 'delivery_done_d([0-9]+)$')::bigint AS day) d
		WHERE i.inhparent = to_regclass('delivery_done') AND NOT i.inhdetachpending AND d.day > $1
		AND (d.day + 1) * $2::bigint <= relais_now($3) - greatest($4::bigint, $5::bigint) ORDER BY d.day LIMIT 1`,
		r.tried, microsPerDay, t.now, p.Attempts.Microseconds(), dayOver.Microseconds()).Scan(&day)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	var looked, last, gone int64
	if err := t.row(`WITH looked AS MATERIALIZED (
			SELECT id, started IS NOT NULL AS wanted FROM delivery_done WHERE day = $1 AND id > $2 ORDER BY id LIMIT $3),
		gone AS (
			UPDATE delivery_done SET started = NULL, duration = NULL, trace = NULL
			WHERE day = $1 AND id IN (SELECT id FROM looked WHERE wanted) RETURNING id)
		SELECT (SELECT count(*) FROM looked), (SELECT coalesce(max(id), 0) FROM looked), (SELECT count(*) FROM gone)`,
		day, r.triedAt, retainSlice).Scan(&looked, &last, &gone); err != nil {
		return err
	}
	done.Attempts += int(gone)
	done.More = true
	if r.triedAt = last; looked < retainSlice {
		r.tried, r.triedAt = day, 0
	}
	return nil
}
