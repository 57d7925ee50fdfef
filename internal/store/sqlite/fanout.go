package sqlite

import (
	"context"
	"encoding/json"

	"relais/internal/core"
	"relais/internal/store"
)

// PendingFanOuts implements store.Appender.
func (s *Store) PendingFanOuts(ctx context.Context, limit int, except ...string) ([]store.FanOut, error) {
	var orders []store.FanOut
	left, err := json.Marshal(append([]string{}, except...))
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, func(c *conn) error {
		q := c.q(eventColumns + `, p.header, p.query, p.path, p.body, o.cursor, r.hash` + eventJoins +
			` JOIN payload p ON p.seq = e.seq JOIN fan_out o ON o.event = e.seq
			LEFT JOIN route_set r ON r.id = o.route_set
			WHERE ifnull(r.hash, '') NOT IN (SELECT value FROM json_each(?)) ORDER BY o.event LIMIT ?`).text(string(left)).int(pageOf(limit))
		for q.next() {
			orders = append(orders, store.FanOut{Event: scanEvent(q, true), Cursor: q.colText(14), RouteSet: q.colText(15)})
		}
		return q.end()
	})
	return orders, err
}

// Expand implements store.Appender. A delivery that is there already is left as it is, so that an
// expansion whose outcome was unknown can be sent again.
func (s *Store) Expand(ctx context.Context, p store.ExpandParams) error {
	return s.do(ctx, ingest, func(t *tx) error {
		q := t.c.q(`SELECT o.event, o.route_set, e.source, s.text FROM fan_out o JOIN event e ON e.seq = o.event
			JOIN name s ON s.id = e.source WHERE e.id = ?`).blob(p.Event[:])
		var seq, set, source int64
		var sourceName string
		found := q.next()
		if found {
			seq, set, source, sourceName = q.colInt(0), q.colInt(1), q.colInt(2), q.colText(3)
		}
		if err := q.end(); err != nil {
			return err
		}
		if !found {
			return t.expandedBefore(p.Event)
		}
		for i := range p.Deliveries {
			d := &p.Deliveries[i]
			if _, err := t.insertDelivery(newRow{
				event: seq, source: source, sourceName: sourceName, destination: d.Destination, priority: d.Priority,
				delay: d.Delay, ordered: d.Ordered, orderKey: d.OrderKey, routeSet: set,
			}); err != nil {
				return err
			}
		}
		if p.Done {
			return t.c.q("DELETE FROM fan_out WHERE event = ?").int(seq).exec()
		}
		if len(p.Deliveries) == 0 {
			return nil
		}
		last := p.Deliveries[len(p.Deliveries)-1].Destination
		return t.c.q("UPDATE fan_out SET cursor = ? WHERE event = ?").text(last.String()).int(seq).exec()
	})
}

// expandedBefore accepts the end of an order that was ended already, and refuses one that never was.
func (t *tx) expandedBefore(event core.EventID) error {
	a, err := t.appended(event)
	if err == nil && a.Seq == 0 {
		return core.Errorf(core.CodeNotFound, "there is no event %s", event)
	}
	return err
}
