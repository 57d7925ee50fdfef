package postgres

import (
	"github.com/jackc/pgx/v5"

	"relais/internal/core"
)

var stateNames = [...]core.State{
	statePending: core.StatePending, stateRunning: core.StateRunning, stateSucceeded: core.StateSucceeded,
	stateDead: core.StateDead, stateCancelled: core.StateCancelled,
}

func stateNumber(s core.State) (int, error) {
	for i, name := range stateNames {
		if name == s {
			return i, nil
		}
	}
	return 0, core.Errorf(core.CodeInvalid, "state %q: allowed are pending, running, succeeded, dead, cancelled", s)
}

// eventFields are the columns of event, as event_kept has them too.
const eventFields = `day, seq, id, tenant, source, type, native, at, format, flags, repeat_of, header, query, path, body`

// deliveryColumns are what scanDelivery reads, of a row d of any of the deliveries' tables and its lane l.
const deliveryColumns = `d.id, d.event, d.event_seq, l.tenant, l.kind, l.name, d.class, d.state, d.skipped, d.attempts,
	d.claim, d.interruptions, d.order_key, d.replay, coalesce(d.from_step, ''), d.route_set, d.created, d.due,
	d.finished, coalesce(d.reason, ''), coalesce(d.message, '')`

// scanDelivery reads a row of deliveryColumns.
func scanDelivery(row pgx.Row) (core.Delivery, error) {
	var d core.Delivery
	var class, state int16
	var kind, reason string
	var orderKey []byte
	var created, due, finished int64
	if err := row.Scan((*int64)(&d.ID), (*[16]byte)(&d.Event), &d.EventSeq, &d.Destination.Tenant, &kind, &d.Destination.Name,
		&class, &state, &d.Skipped, &d.Attempts, &d.Claim, &d.Interruptions, &orderKey, &d.Replay, &d.FromStep,
		&d.RouteSet, &created, &due, &finished, &reason, &d.Message); err != nil {
		return d, err
	}
	d.Destination.Kind = core.DestinationKind(kind)
	d.Priority = core.Priority(class / 2) //nolint:gosec // 0 to 3
	d.State = stateNames[state]
	d.Ordered, d.OrderKey = orderKey != nil, string(orderKey)
	d.CreatedAt, d.DueAt, d.FinishedAt = moment(created), moment(due), moment(finished)
	d.Reason = core.Reason(reason)
	return d, nil
}
