package sqlite

import (
	"context"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	// releaseSlice is how many deliveries of a resumed source go on in one operation.
	releaseSlice = 256
	// releaseRetry is how long releasing waits for a store that is away.
	releaseRetry = time.Second
)

// SetPause implements store.Operator. Deliveries of a paused source are put aside when a claim meets
// them, or when they are made.
func (s *Store) SetPause(ctx context.Context, p store.Pause) error {
	if err := p.Scope.Check(p.Name); err != nil {
		return err
	}
	return s.do(ctx, outcome, func(t *tx) error {
		p := p
		if p.At.IsZero() {
			p.At = moment(t.now)
		}
		if err := t.c.q("INSERT OR REPLACE INTO pause (scope, name, reason, by, at) VALUES (?, ?, ?, ?, ?)").
			text(string(p.Scope)).text(p.Name).text(p.Reason).text(p.By).int(micros(p.At)).exec(); err != nil {
			return err
		}
		if p.Scope == store.PauseSource {
			if _, err := t.name(p.Name); err != nil {
				return err
			}
		}
		key := pauseKey{p.Scope, p.Name}
		before, was := t.m.pauses[key]
		t.m.pauses[key] = p
		t.m.onUndo(func() {
			delete(t.m.pauses, key)
			if was {
				t.m.pauses[key] = before
			}
		})
		return t.audit(p.By, "pause", p.Scope.Object(p.Name), p.Reason)
	})
}

// Resume implements store.Operator.
func (s *Store) Resume(ctx context.Context, scope store.PauseScope, name, by string) error {
	if err := scope.Check(name); err != nil {
		return err
	}
	err := s.do(ctx, outcome, func(t *tx) error {
		key := pauseKey{scope, name}
		before, was := t.m.pauses[key]
		if !was {
			return core.Errorf(core.CodeNotFound, "%s is not paused", scope.Object(name))
		}
		if err := t.c.q("DELETE FROM pause WHERE scope = ? AND name = ?").text(string(scope)).text(name).exec(); err != nil {
			return err
		}
		delete(t.m.pauses, key)
		t.m.onUndo(func() { t.m.pauses[key] = before })
		return t.audit(by, "resume", scope.Object(name), "")
	})
	if scope != store.PauseSource {
		return err
	}
	// Also after an error: a commit whose outcome is unknown may have happened.
	select {
	case s.resumed <- struct{}{}:
	default:
	}
	if err == nil {
		// What a caller that goes away, or a disk that fails, leaves is released behind.
		_ = s.release(ctx)
	}
	return err
}

// release lets the deliveries of sources that are no longer paused go on, slice by slice.
func (s *Store) release(ctx context.Context) error {
	for more := true; more; {
		if err := s.do(ctx, housekeeping, func(t *tx) (err error) {
			more, err = t.releaseSlice()
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// releaseResumed releases what an earlier life of the process left of a resume, and what each resume
// leaves, until there is nothing left: nobody else would wake it.
func (s *Store) releaseResumed() {
	for {
		next := s.resumed
		var again <-chan time.Time
		if err := s.release(s.closing); err != nil {
			next, again = nil, time.After(releaseRetry)
		}
		select {
		case <-s.closing.Done():
			return
		case <-next:
		case <-again:
		}
	}
}

func (t *tx) releaseSlice() (more bool, err error) {
	var ids []int64
	for source := int64(-1); len(ids) < releaseSlice; {
		q := t.c.q("SELECT source FROM delivery WHERE state = 0 AND wait >= 2 AND source > ? ORDER BY source LIMIT 1").int(source)
		found := q.next()
		if found {
			source = q.colInt(0)
		}
		if err := q.end(); err != nil {
			return false, err
		}
		if !found {
			break
		}
		if t.m.sourceIDPaused(source) {
			continue
		}
		q = t.c.q("SELECT id FROM delivery WHERE state = 0 AND wait >= 2 AND source = ? ORDER BY id LIMIT ?").
			int(source).int(int64(releaseSlice - len(ids)))
		for q.next() {
			ids = append(ids, q.colInt(0))
		}
		if err := q.end(); err != nil {
			return false, err
		}
	}
	for _, id := range ids {
		if err := t.c.q("UPDATE delivery SET wait = wait & ~2 WHERE id = ?").int(id).exec(); err != nil {
			return false, err
		}
	}
	return len(ids) == releaseSlice, nil
}

// Pauses implements store.Reader.
func (s *Store) Pauses(ctx context.Context) ([]store.Pause, error) {
	var pauses []store.Pause
	err := s.read(ctx, func(c *conn) error {
		q := c.q("SELECT scope, name, reason, by, at FROM pause ORDER BY scope, name")
		for q.next() {
			pauses = append(pauses, store.Pause{
				Scope: store.PauseScope(q.colText(0)), Name: q.colText(1),
				Reason: q.colText(2), By: q.colText(3), At: moment(q.colInt(4)),
			})
		}
		return q.end()
	})
	return pauses, err
}

// Audit implements store.Operator.
func (s *Store) Audit(ctx context.Context, entry store.AuditEntry) error {
	return s.do(ctx, outcome, func(t *tx) error {
		now := t.now
		if !entry.At.IsZero() {
			t.now = micros(entry.At)
		}
		err := t.audit(entry.By, entry.Act, entry.Object, entry.Detail)
		t.now = now
		return err
	})
}

func (t *tx) audit(by, act, object, detail string) error {
	return t.c.q("INSERT INTO audit (at, by, act, object, detail) VALUES (?, ?, ?, ?, ?)").
		int(t.now).text(by).text(act).text(object).text(detail).exec()
}
