package postgres

// The numbers of core's states in delivery.state.
const (
	statePending int16 = iota
	stateRunning
	stateSucceeded
	stateDead
	stateCancelled
)

// deliveryFields are the columns of delivery, as delivery_done has them too.
const deliveryFields = `id, event, event_day, event_seq, lane, source, state, wait, class, due, claim, attempts,
	interruptions, node, replay, route_set, created, finished, skipped, stops, order_key, from_step, reason, message`

// moveDone moves ended deliveries, whose rows say already how they ended, out of the way of those that
// live. A dead one that stops its chain is not ended.
func (t *tx) moveDone(ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return t.exec(`WITH ended AS (DELETE FROM delivery WHERE id = ANY($1::bigint[]) RETURNING *)
		INSERT INTO delivery_done (day, `+deliveryFields+`)
		SELECT relais_now($2) / $3::bigint, `+deliveryFields+` FROM ended`, ids, t.now, microsPerDay)
}
