package sqlite

import (
	"context"
	"fmt"
	"strings"

	"relais/internal/core"
	"relais/internal/store"
)

// Delivery implements store.Reader.
func (s *Store) Delivery(ctx context.Context, id core.DeliveryID) (core.Delivery, error) {
	var d core.Delivery
	err := s.read(ctx, func(c *conn) error {
		q := c.q(selectDelivery + " WHERE d.id = ?").int(int64(id))
		found := q.next()
		if found {
			d = scanDelivery(q)
		}
		if err := q.end(); err != nil || found {
			return err
		}
		return core.Errorf(core.CodeNotFound, "there is no delivery %s", id)
	})
	return d, err
}

// Deliveries implements store.Reader. Where no index leads to them it goes through the deliveries from the
// newest on, a slice of them at a time, each in a snapshot of its own.
func (s *Store) Deliveries(ctx context.Context, f store.DeliveryFilter) (deliveries []core.Delivery, err error) {
	kind, name, _ := strings.Cut(f.Destination, ":")
	sql := selectDelivery + ` WHERE d.id < ?1 AND d.id >= ?10 AND d.created >= ?2 AND d.created <= ?3`
	indexed := !f.Event.IsZero() || f.State == core.StateDead
	// Each filter is in the text only when it is used: the indexes for one event, or for the dead, are
	// found only then.
	if !f.Event.IsZero() {
		sql += ` AND d.event = (SELECT seq FROM event WHERE id = ?4)`
	}
	if f.State != "" {
		state, err := stateNumber(f.State)
		if err != nil {
			return nil, err
		}
		sql += fmt.Sprintf(` AND d.state = %d`, state)
	}
	if f.Destination != "" {
		sql += ` AND d.lane IN (SELECT id FROM lane WHERE kind = ?5 AND name = ?6)`
	}
	if f.Tenant != "" {
		sql += ` AND l.tenant = (SELECT id FROM name WHERE text = ?7)`
	}
	if f.Source != "" {
		sql += ` AND d.source = (SELECT id FROM name WHERE text = ?8)`
	}
	sql += ` AND ?4 IS ?4 AND ?5 IS ?5 AND ?6 IS ?6 AND ?7 IS ?7 AND ?8 IS ?8 ORDER BY d.id DESC LIMIT ?9`
	run := func(c *conn, pace *pace) error {
		before, err := startOf(c, "delivery", "id", "created", f.Before, f.Until)
		if err != nil {
			return err
		}
		oldest, err := pragma(c, "SELECT ifnull(min(id), 0) FROM delivery")
		if err != nil {
			return err
		}
		newest, err := pragma(c, "SELECT ifnull(max(id), 0) FROM delivery")
		if err != nil {
			return err
		}
		until := micros(f.Until)
		if until == 0 {
			until = 1 << 62
		}
		for before = min(before, newest+1); before > oldest; {
			from := oldest
			if !indexed {
				from = max(oldest, before-readSlice)
			}
			q := c.q(sql).int(before).int(micros(f.Since)).int(until).blob(f.Event[:]).text(kind).text(name).
				text(f.Tenant).text(f.Source).int(pageOf(f.Limit) - int64(len(deliveries))).int(from)
			for q.next() {
				deliveries = append(deliveries, scanDelivery(q))
			}
			if err := q.end(); err != nil || int64(len(deliveries)) == pageOf(f.Limit) {
				return err
			}
			if before = from; before <= oldest {
				return nil
			}
			if err := pace.rest(); err != nil {
				return err
			}
		}
		return nil
	}
	if indexed { // one query, in one snapshot
		err = s.read(ctx, func(c *conn) error { return run(c, nil) })
	} else {
		err = s.search(ctx, run)
	}
	return deliveries, err
}

// Steps implements store.Reader.
func (s *Store) Steps(ctx context.Context, id core.DeliveryID) ([]store.StepResult, error) {
	var steps []store.StepResult
	err := s.read(ctx, func(c *conn) (err error) {
		steps, err = readSteps(c, int64(id))
		return err
	})
	return steps, err
}

// Attempts implements store.Reader. An attempt's id is the number of its claim: it is its delivery's.
func (s *Store) Attempts(ctx context.Context, id core.DeliveryID) ([]store.Attempt, error) {
	var attempts []store.Attempt
	err := s.read(ctx, func(c *conn) error {
		q := c.q(`SELECT a.claim, n.text, a.started, a.duration, a.verdict, a.reason, a.message, a.trace
			FROM attempt a JOIN name n ON n.id = a.node WHERE a.delivery = ? ORDER BY a.claim`).int(int64(id))
		for q.next() {
			attempts = append(attempts, store.Attempt{
				ID: q.colInt(0), Delivery: id, Claim: int(q.colInt(0)), Node: q.colText(1), Started: moment(q.colInt(2)),
				Duration: duration(q.colInt(3)), Verdict: store.Verdict(q.colText(4)), Reason: core.Reason(q.colText(5)),
				Message: q.colText(6), Trace: q.colBytes(7),
			})
		}
		return q.end()
	})
	return attempts, err
}
