package postgres

import (
	"strings"
	"unicode/utf8"
)

// Of the deliveries of one lane and order key that are not ended, one is the head: the only one that
// doesn't wait (bit 1 of wait). When it ends, and only then, the one with the lowest number becomes the
// head, in the same transaction; a replay that took a dead head's place has a higher one. A dead delivery
// may stop the chain: it stays its head until a replay takes its place or it is cancelled.
//
// Two transactions must not decide on one chain at once: a new delivery that still sees the head would
// wait for it, while the head's end, which doesn't see the new delivery yet, releases nobody; and nobody
// would come back. So who adds to a chain or ends one of it holds the chain's lock until it has committed.

// chain is the deliveries of one lane that share an order key.
type chain struct {
	lane int64
	key  string
}

// chainLock is the number of a chain's lock in SQL, from the columns lane and order_key of the table's
// alias c. Two chains with the same number wait for each other, and nothing worse.
const chainLock = `hashtextextended(encode(c.order_key, 'hex') COLLATE "C", c.lane)`

// takeChains locks the chains $1, $2 in the order of their locks' numbers. The statement only locks: in READ
// COMMITTED it is the next statement that sees what the holder before committed.
const takeChains = `SELECT pg_advisory_xact_lock(l.number) FROM (
	SELECT DISTINCT ` + chainLock + ` AS number FROM unnest($1::bigint[], $2::bytea[]) AS c(lane, order_key)
	ORDER BY number) l`

// chainArgs are a statement's parameters for chains.
func chainArgs(chains []chain) (lanes []int64, keys [][]byte) {
	lanes, keys = make([]int64, len(chains)), make([][]byte, len(chains))
	for i, c := range chains {
		lanes[i], keys[i] = c.lane, []byte(c.key)
	}
	return lanes, keys
}

// lockChains waits for the chains, and holds them until the transaction ends. It comes before every
// other lock of the transaction, and once, with all its chains: that keeps two transactions from waiting
// for each other.
func (t *tx) lockChains(chains []chain) error {
	if len(chains) == 0 {
		return nil
	}
	lanes, keys := chainArgs(chains)
	return t.exec(takeChains, lanes, keys)
}

// releaseNext makes the first that waits of the chain its head, unless there is one. The caller holds the
// chain. Two looks into indexes tell, however long the chain is.
func (t *tx) releaseNext(c chain) error {
	return t.exec(`UPDATE delivery SET wait = wait & ~1::smallint WHERE id = (
			SELECT id FROM delivery WHERE lane = $1 AND order_key = $2 AND (state < 2 OR stops) ORDER BY id LIMIT 1)
		AND wait & 1 = 1 AND NOT EXISTS (SELECT FROM delivery h WHERE h.lane = $1 AND h.order_key = $2
			AND (h.state < 2 OR h.stops) AND h.wait & 1 = 0)`,
		c.lane, []byte(c.key))
}

// takeLanes locks lanes' rows, in the order of their numbers.
const takeLanes = "SELECT FROM lane WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE"

// lockLanes locks lanes, after the chains and before deliveries.
func (t *tx) lockLanes(ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return t.exec(takeLanes, ids)
}

// clean makes text of what came from outside: PostgreSQL's text takes neither NUL nor what isn't UTF-8.
func clean(text string) string {
	if utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
