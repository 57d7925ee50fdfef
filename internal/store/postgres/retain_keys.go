package postgres

import (
	"fmt"
	"time"

	"relais/internal/store"
)

const (
	// keysEvery is how often the keys are gone through for those whose window has passed. One that is sent again
	// before it is deleted is taken all the same.
	keysEvery = time.Hour
	// keyPages is how many of the table's pages a slice goes through: a page holds about a hundred keys.
	keyPages = 16
)

// retainKeys deletes keys whose window has passed. It goes through the table in the order of its pages: an index on
// expires would cost each event more than this costs. Who takes a key at the moment is not waited for.
func (t *tx) retainKeys(r *pass, done *store.Retained) error {
	var now, pages int64
	if err := t.row("SELECT relais_now($1), pg_relation_size('dedup') / current_setting('block_size')::bigint", t.now).Scan(&now, &pages); err != nil {
		return err
	}
	if now < r.keysNext {
		return nil
	}
	gone, err := t.affect(`DELETE FROM dedup WHERE ctid = ANY(ARRAY(SELECT ctid FROM dedup
		WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND expires <= $3 FOR UPDATE SKIP LOCKED))`,
		place(r.keys), place(r.keys+keyPages), now)
	if err != nil {
		return err
	}
	done.DedupKeys = int(gone)
	if r.keys += keyPages; r.keys >= pages {
		r.keys, r.keysNext = 0, now+keysEvery.Microseconds()
		return nil
	}
	done.More = true
	return nil
}

// place is before the first row of a page.
func place(page int64) string { return fmt.Sprintf("(%d,0)", page) }
