package sqlite

import (
	"context"

	"relais/internal/core"
	"relais/internal/store"
)

// Finish implements store.Lanes.
func (s *Store) Finish(ctx context.Context, outcomes []store.Outcome) ([]error, error) {
	if len(outcomes) == 0 {
		return nil, nil
	}
	results := make([]error, len(outcomes))
	err := s.do(ctx, outcome, func(t *tx) error {
		for i := range outcomes {
			lost, err := t.finish(&outcomes[i])
			if err != nil {
				return err
			}
			results[i] = nil
			if lost {
				results[i] = store.ErrLostClaim
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// held is what an outcome needs to know of the delivery that it ends.
type held struct {
	lane          *lane
	class         int64
	attempts      int64
	interruptions int64
	ordered       bool
	orderKey      string
}

// hold checks that a holder's claim is the delivery's newest and still runs.
func (t *tx) hold(h store.Holder) (row held, ok bool, err error) {
	q := t.c.q(`SELECT lane, class, attempts, interruptions, order_key IS NOT NULL, order_key
		FROM delivery WHERE id = ? AND claim = ? AND state = 1`).int(int64(h.Delivery)).int(int64(h.Claim))
	if q.next() {
		row = held{
			lane: t.m.byID[q.colInt(0)], class: q.colInt(1), attempts: q.colInt(2), interruptions: q.colInt(3),
			ordered: q.colInt(4) != 0, orderKey: q.colText(5),
		}
		ok = row.lane != nil
	}
	return row, ok, q.end()
}

// ending is what an outcome makes of a delivery's row.
type ending struct {
	state, class, due, finished, attempts, interruptions int64
	skipped, stops                                       bool
}

func (t *tx) finish(o *store.Outcome) (lost bool, err error) {
	row, ok, err := t.hold(o.Holder)
	if err != nil {
		return false, err
	}
	if !ok {
		known, err := t.known(o)
		return !known, err
	}
	end, err := t.judge(o, row)
	if err != nil {
		return false, err
	}
	if err := t.c.q(`UPDATE delivery SET state = ?, class = ?, due = ?, finished = ?, attempts = ?, interruptions = ?,
		skipped = ?, stops = ?, reason = ?, message = ? WHERE id = ?`).
		int(end.state).int(end.class).int(end.due).int(end.finished).int(end.attempts).int(end.interruptions).
		bool(end.skipped).bool(end.stops).textOrNull(string(o.Reason)).textOrNull(o.Message).
		int(int64(o.Holder.Delivery)).exec(); err != nil {
		return false, err
	}
	t.m.addRunning(row.lane, -1)
	switch end.state {
	case statePending:
		t.m.pending++
	case stateDead:
		t.m.dead++
	}
	for i := range o.Steps {
		if err := t.saveStep(int64(o.Holder.Delivery), &o.Steps[i]); err != nil {
			return false, err
		}
	}
	if err := t.insertAttempt(o); err != nil {
		return false, err
	}
	if row.ordered && end.finished != 0 && !end.stops {
		return false, t.releaseNext(row.lane.id, row.orderKey)
	}
	return false, nil
}

func (t *tx) judge(o *store.Outcome, row held) (ending, error) {
	end := ending{state: statePending, class: row.class, attempts: row.attempts}
	switch o.Verdict {
	case store.VerdictSucceeded, store.VerdictSkipped:
		end.state, end.finished, end.skipped = stateSucceeded, t.now, o.Verdict == store.VerdictSkipped
		end.attempts++
	case store.VerdictDead:
		end.state, end.finished, end.stops = stateDead, t.now, o.FIFOStop && row.ordered
		end.attempts++
	case store.VerdictRetry:
		end.class, end.due = row.class|1, t.now+o.Delay.Microseconds()
		end.attempts++
	case store.VerdictDefer:
		end.due = t.now + o.Delay.Microseconds()
	case store.VerdictReturn:
		// A stop says nothing on whether the delivery is poison: what was counted stays counted.
		end.due, end.interruptions = t.now, row.interruptions
	default:
		return end, core.Errorf(core.CodeInvalid, "verdict %q is not one", o.Verdict)
	}
	if end.finished != 0 {
		end.due = t.now
	}
	return end, nil
}

// known tells whether this very outcome was written before: its commit's outcome was unknown, and it is
// sent again.
func (t *tx) known(o *store.Outcome) (bool, error) {
	q := t.c.q("SELECT verdict FROM attempt WHERE delivery = ? AND claim = ?").
		int(int64(o.Holder.Delivery)).int(int64(o.Holder.Claim))
	known := q.next() && q.colText(0) == string(o.Verdict)
	return known, q.end()
}

func (t *tx) insertAttempt(o *store.Outcome) error {
	node, err := t.name(o.Holder.Node)
	if err != nil {
		return err
	}
	a := &o.Attempt
	return t.c.q(`INSERT INTO attempt (delivery, claim, node, started, duration, verdict, reason, message, trace)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`).
		int(int64(o.Holder.Delivery)).int(int64(o.Holder.Claim)).int(node).int(micros(a.Started)).
		int(int64(a.Duration)).text(string(o.Verdict)).textOrNull(string(a.Reason)).textOrNull(a.Message).
		blob(a.Trace).exec()
}

// SaveStep implements store.Lanes.
func (s *Store) SaveStep(ctx context.Context, holder store.Holder, step store.StepResult) error {
	return s.do(ctx, outcome, func(t *tx) error {
		_, ok, err := t.hold(holder)
		if err != nil {
			return err
		}
		if !ok {
			return store.ErrLostClaim
		}
		return t.saveStep(int64(holder.Delivery), &step)
	})
}

func (t *tx) saveStep(delivery int64, step *store.StepResult) error {
	return t.c.q(`INSERT INTO step (delivery, step, definition, ordinal, result)
		VALUES (?1, ?2, ?3, (SELECT count(*) FROM step WHERE delivery = ?1), ?4)
		ON CONFLICT (delivery, step) DO UPDATE SET definition = excluded.definition, result = excluded.result`).
		int(delivery).text(step.Step).text(step.Definition).blob(step.Result).exec()
}
