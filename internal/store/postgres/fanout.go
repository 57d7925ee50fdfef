package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"relais/internal/core"
	"relais/internal/store"
)

// PendingFanOuts implements store.Appender.
func (s *Store) PendingFanOuts(ctx context.Context, limit int, except ...string) ([]store.FanOut, error) {
	var orders []store.FanOut
	if except == nil {
		except = []string{}
	}
	err := s.read(ctx, func(t *tx) error {
		rows, err := t.query("SELECT "+eventColumns+`, o.cursor, o.route_set FROM fan_out o CROSS JOIN LATERAL (
				SELECT `+eventFields+` FROM event WHERE id = o.event AND day = o.event_day
				UNION ALL SELECT `+eventFields+` FROM event_kept WHERE id = o.event) e
			WHERE o.route_set <> ALL ($2) ORDER BY o.event_seq LIMIT $1`, pageOf(limit), except)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var o store.FanOut
			if o.Event, err = scanEvent(rows, true, &o.Cursor, &o.RouteSet); err != nil {
				return err
			}
			orders = append(orders, o)
		}
		return rows.Err()
	})
	return orders, err
}

// Expand implements store.Appender. Destinations come in order, so those up to the cursor have their
// delivery, which may have ended since: an expansion whose outcome was unknown can be sent again.
func (s *Store) Expand(ctx context.Context, p store.ExpandParams) error {
	destinations := make([]core.Destination, len(p.Deliveries))
	for i := range p.Deliveries {
		destinations[i] = p.Deliveries[i].Destination
	}
	if _, err := s.knowLanes(ctx, destinations); err != nil {
		return err
	}
	return s.transact(ctx, func(t *tx) error {
		row := newRow{event: p.Event}
		var cursor string
		err := t.row(`SELECT o.event_day, o.event_seq, o.route_set, o.cursor, e.source FROM fan_out o CROSS JOIN LATERAL (
				SELECT source FROM event WHERE id = o.event AND day = o.event_day
				UNION ALL SELECT source FROM event_kept WHERE id = o.event) e
			WHERE o.event = $1 FOR UPDATE OF o`, [16]byte(p.Event)).
			Scan(&row.eventDay, &row.eventSeq, &row.routeSet, &cursor, &row.source)
		if errors.Is(err, pgx.ErrNoRows) {
			return t.expandedBefore(p.Event)
		}
		if err != nil {
			return err
		}
		rows := make([]newRow, 0, len(p.Deliveries))
		for i := range p.Deliveries {
			d := &p.Deliveries[i]
			if d.Destination.String() <= cursor {
				continue
			}
			row.destination, row.priority, row.delay, row.ordered, row.orderKey = d.Destination, d.Priority, d.Delay, d.Ordered, d.OrderKey
			rows = append(rows, row)
		}
		if _, err := t.insertDeliveries(rows); err != nil {
			return err
		}
		if p.Done {
			return t.exec("DELETE FROM fan_out WHERE event = $1", [16]byte(p.Event))
		}
		if len(rows) == 0 {
			return nil
		}
		return t.exec("UPDATE fan_out SET cursor = $2 WHERE event = $1", [16]byte(p.Event), rows[len(rows)-1].destination.String())
	})
}

// expandedBefore accepts the end of an order that was ended already, and refuses one that never was.
func (t *tx) expandedBefore(event core.EventID) error {
	_, _, _, found, err := t.eventOf(event)
	if err == nil && !found {
		return core.Errorf(core.CodeNotFound, "there is no event %s", event)
	}
	return err
}
