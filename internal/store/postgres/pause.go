package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	// releaseSlice is how many deliveries of a resumed source go on in one transaction.
	releaseSlice = 1000
	// releaseEvery is how often it is looked for deliveries that were put aside as their source was resumed:
	// who makes a delivery, or claims one, may have read the pause just before.
	releaseEvery = 5 * time.Second
)

// SetPause implements store.Operator. Deliveries of a paused source are put aside when a claim meets
// them, or when they are made.
func (s *Store) SetPause(ctx context.Context, p store.Pause) error {
	if err := p.Scope.Check(p.Name); err != nil {
		return err
	}
	return s.transact(ctx, func(t *tx) error {
		at := t.now
		if !p.At.IsZero() {
			given := p.At.UnixMicro()
			at = &given
		}
		if err := t.exec(`INSERT INTO pause (scope, name, reason, by, at) VALUES ($1, $2, $3, $4, relais_now($5))
			ON CONFLICT (scope, name) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = excluded.at`,
			string(p.Scope), clean(p.Name), clean(p.Reason), clean(p.By), at); err != nil {
			return err
		}
		return t.audit(p.By, "pause", p.Scope.Object(p.Name), p.Reason)
	})
}

// Resume implements store.Operator.
func (s *Store) Resume(ctx context.Context, scope store.PauseScope, name, by string) error {
	if err := scope.Check(name); err != nil {
		return err
	}
	err := s.transact(ctx, func(t *tx) error {
		n, err := t.affect("DELETE FROM pause WHERE scope = $1 AND name = $2", string(scope), clean(name))
		if err != nil {
			return err
		}
		if n == 0 {
			return core.Errorf(core.CodeNotFound, "%s is not paused", scope.Object(name))
		}
		return t.audit(by, "resume", scope.Object(name), "")
	})
	if err == nil && scope == store.PauseSource {
		// What a caller that goes away, or a database that fails, leaves is released behind.
		_ = s.release(ctx)
	}
	return err
}

// release lets the deliveries of sources that are no longer paused go on, slice by slice. One at a time: who resumes a
// source would find them locked by what tends them, and return before they can be claimed.
func (s *Store) release(ctx context.Context) error {
	select {
	case s.releasing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.releasing }()
	for more := true; more; {
		if err := s.transact(ctx, func(t *tx) (err error) {
			more, err = t.releaseSlice()
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// tendPauses releases what a resume left: of this node, of one that died, or of one that the pause met
// while it went. Nobody else would wake it.
func (s *Store) tendPauses() {
	for {
		if err := s.release(s.closing); err != nil && s.closing.Err() == nil {
			s.log.Debug("deliveries of resumed sources aren't released", "error", err)
		}
		select {
		case <-s.closing.Done():
			return
		case <-time.After(releaseEvery):
		}
	}
}

// releaseSlice hops in the index from source to source of what is put aside: while nothing is, or all of
// it is rightly, it looks at a row for each.
func (t *tx) releaseSlice() (more bool, err error) {
	n, err := t.affect(`WITH RECURSIVE hop(source) AS (
			(SELECT source FROM delivery WHERE state = 0 AND wait >= 2 ORDER BY source LIMIT 1)
			UNION ALL
			SELECT (SELECT d.source FROM delivery d WHERE d.state = 0 AND d.wait >= 2 AND d.source > hop.source ORDER BY d.source LIMIT 1)
			FROM hop WHERE hop.source IS NOT NULL),
		resumed AS (SELECT source FROM hop WHERE source IS NOT NULL
			AND NOT EXISTS (SELECT FROM pause p WHERE p.scope = 'source' AND p.name = hop.source)),
		slice AS (SELECT d.id FROM resumed r CROSS JOIN LATERAL (
				SELECT id FROM delivery WHERE state = 0 AND wait >= 2 AND source = r.source ORDER BY id LIMIT $1) d LIMIT $1),
		locked AS (SELECT id FROM delivery WHERE id IN (SELECT id FROM slice) AND state = 0 AND wait >= 2 ORDER BY id FOR UPDATE SKIP LOCKED)
		UPDATE delivery SET wait = wait & ~2::smallint WHERE id IN (SELECT id FROM locked)`, releaseSlice)
	return n == releaseSlice, err
}

// Pauses implements store.Reader.
func (s *Store) Pauses(ctx context.Context) ([]store.Pause, error) {
	var pauses []store.Pause
	err := s.read(ctx, func(t *tx) error {
		rows, err := t.query("SELECT scope, name, reason, by, at FROM pause ORDER BY scope, name")
		if err != nil {
			return err
		}
		pauses, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Pause, error) {
			var p store.Pause
			var at int64
			err := row.Scan((*string)(&p.Scope), &p.Name, &p.Reason, &p.By, &at)
			p.At = moment(at)
			return p, err
		})
		return err
	})
	return pauses, err
}

// Audit implements store.Operator.
func (s *Store) Audit(ctx context.Context, entry store.AuditEntry) error {
	return s.transact(ctx, func(t *tx) error {
		if !entry.At.IsZero() {
			at := entry.At.UnixMicro()
			t.now = &at
		}
		return t.audit(entry.By, entry.Act, entry.Object, entry.Detail)
	})
}

func (t *tx) audit(by, act, object, detail string) error {
	return t.exec("INSERT INTO audit (at, by, act, object, detail) VALUES (relais_now($1), $2, $3, $4, $5)",
		t.now, clean(by), clean(act), clean(object), clean(detail))
}
