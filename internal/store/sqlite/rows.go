package sqlite

import (
	"relais/internal/core"
	"relais/internal/store"
)

const (
	statePending = iota
	stateRunning
	stateSucceeded
	stateDead
	stateCancelled
)

var stateNames = [...]core.State{
	statePending: core.StatePending, stateRunning: core.StateRunning, stateSucceeded: core.StateSucceeded,
	stateDead: core.StateDead, stateCancelled: core.StateCancelled,
}

func stateNumber(s core.State) (int64, error) {
	for i, name := range stateNames {
		if name == s {
			return int64(i), nil
		}
	}
	return 0, core.Errorf(core.CodeInvalid, "state %q: allowed are pending, running, succeeded, dead, cancelled", s)
}

const selectDelivery = `SELECT d.id, e.id, d.event, lt.text, l.kind, l.name, d.class, d.state, d.skipped, d.attempts,
	d.claim, d.interruptions, d.order_key, d.replay, d.from_step, r.hash, d.created, d.due, d.finished, d.reason, d.message,
	d.order_key IS NOT NULL FROM delivery d JOIN lane l ON l.id = d.lane JOIN name lt ON lt.id = l.tenant
	LEFT JOIN event e ON e.seq = d.event LEFT JOIN route_set r ON r.id = d.route_set`

func scanDelivery(q *stmt) core.Delivery {
	d := core.Delivery{
		ID: core.DeliveryID(q.colInt(0)), EventSeq: q.colInt(2),
		Destination: core.Destination{Tenant: q.colText(3), Kind: core.DestinationKind(q.colText(4)), Name: q.colText(5)},
		Priority:    core.Priority(q.colInt(6) / 2), //nolint:gosec // 0 to 3
		State:       stateNames[q.colInt(7)], Skipped: q.colInt(8) != 0, Attempts: int(q.colInt(9)),
		Claim: int(q.colInt(10)), Interruptions: int(q.colInt(11)), OrderKey: q.colText(12), Replay: q.colInt(13),
		FromStep: q.colText(14), RouteSet: q.colText(15), CreatedAt: moment(q.colInt(16)), DueAt: moment(q.colInt(17)),
		FinishedAt: moment(q.colInt(18)), Reason: core.Reason(q.colText(19)), Message: q.colText(20),
		Ordered: q.colInt(21) != 0,
	}
	copy(d.Event[:], q.view(1))
	return d
}

const (
	eventColumns = `SELECT e.seq, e.id, t.text, s.text, e.type, e.native, e.at, f.text, e.flags, e.repeat_of`
	eventJoins   = ` FROM event e JOIN name t ON t.id = e.tenant JOIN name s ON s.id = e.source JOIN name f ON f.id = e.format`

	selectEvent     = eventColumns + `, p.header, p.query, p.path, p.body` + eventJoins + ` JOIN payload p ON p.seq = e.seq`
	selectEventSlim = eventColumns + eventJoins
)

// scanEvent reads a row of selectEvent, or of selectEventSlim, which has no payload.
func scanEvent(q *stmt, payload bool) core.Event {
	e := core.Event{
		Seq: q.colInt(0), Tenant: q.colText(2), Source: q.colText(3), Type: q.colText(4), NativeType: q.colText(5),
		ReceivedAt: moment(q.colInt(6)), Format: core.DataFormat(q.colText(7)),
	}
	store.SetEventFlags(&e, q.colInt(8))
	copy(e.ID[:], q.view(1))
	copy(e.RepeatOf[:], q.view(9))
	if e.NativeType == "" {
		e.NativeType = e.Type
	}
	if payload {
		e.Header, e.Query, e.Path, e.Body = q.colBytes(10), q.colText(11), q.colText(12), q.colBytes(13)
	}
	return e
}

func readSteps(c *conn, delivery int64) ([]store.StepResult, error) {
	var steps []store.StepResult
	q := c.q("SELECT step, definition, result FROM step WHERE delivery = ? ORDER BY ordinal").int(delivery)
	for q.next() {
		steps = append(steps, store.StepResult{Step: q.colText(0), Definition: q.colText(1), Result: q.colBytes(2)})
	}
	return steps, q.end()
}
