package sqlite

// Of the deliveries of one lane and order key that are not ended, one is the head: the only one that
// doesn't wait (bit waitOrder). When it ends, and only then, the one with the lowest number becomes the
// head, in the same transaction; a replay that took a dead head's place has a higher one. A dead delivery may stop the chain: it stays its head until a replay takes its
// place or it is cancelled.

// chainBusy tells whether a new delivery of that key has to wait.
func (t *tx) chainBusy(lane int64, key string) (bool, error) {
	q := t.c.q(`SELECT 1 FROM delivery WHERE lane = ? AND order_key = ? AND order_key IS NOT NULL
		AND (state < 2 OR stops = 1) LIMIT 1`).int(lane).text(key)
	busy := q.next()
	return busy, q.end()
}

// releaseNext makes the next of the chain its head.
func (t *tx) releaseNext(lane int64, key string) error {
	q := t.c.q(`SELECT id, wait FROM delivery WHERE lane = ? AND order_key = ? AND order_key IS NOT NULL
		AND (state < 2 OR stops = 1) ORDER BY id LIMIT 1`).int(lane).text(key)
	id, wait := int64(0), int64(0)
	if q.next() {
		id, wait = q.colInt(0), q.colInt(1)
	}
	if err := q.end(); err != nil || id == 0 || wait&waitOrder == 0 {
		return err
	}
	return t.c.q("UPDATE delivery SET wait = wait & ~1 WHERE id = ?").int(id).exec()
}
