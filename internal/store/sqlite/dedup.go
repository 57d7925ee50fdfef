package sqlite

import (
	"encoding/binary"
	"time"

	"relais/internal/core"
)

// Keys stand in the table many to a row: a row holds what one merge brought for one part of a bucket, the
// part being the key's first bits. Keys are digests, so a table with a row for each is written all over
// by every merge, and each key costs a page as soon as there are many.
const (
	parts     = 1 << 10
	entrySize = 16 + 8 + 8 // the key, its event, when it was seen
)

func partOf(key *[16]byte) int64 { return int64(binary.BigEndian.Uint16(key[:]) >> 6) }

func appendEntry(row []byte, key *[16]byte, seen keySeen) []byte {
	row = append(row, key[:]...)
	row = binary.LittleEndian.AppendUint64(row, uint64(seen.event)) //nolint:gosec // only to be read again
	return binary.LittleEndian.AppendUint64(row, uint64(seen.at))   //nolint:gosec // as above
}

// findKey returns the zero keySeen for a key that isn't in the row.
func findKey(row []byte, key *[16]byte) keySeen {
	for ; len(row) >= entrySize; row = row[entrySize:] {
		if [16]byte(row) == *key {
			return keySeen{
				event: int64(binary.LittleEndian.Uint64(row[16:])), //nolint:gosec // as it was written
				at:    int64(binary.LittleEndian.Uint64(row[24:])), //nolint:gosec // as it was written
			}
		}
	}
	return keySeen{}
}

// dedupKey is a key with its place. Time is cut into slots as long as the window; a key of slot k is
// needed until the end of slot k+1, which names its bucket. A key seen within the window is in this
// slot's bucket or in the one before; or, when the clock was set back since, in the one after.
type dedupKey struct {
	key    [16]byte
	window int64 // milliseconds
	bucket int64 // seconds
	now    int64 // milliseconds
}

func newDedupKey(key [16]byte, window time.Duration, now int64) dedupKey {
	w := int64((max(window, time.Second) + time.Second - 1) / time.Second * 1000) // buckets are whole seconds
	ms := now / 1000
	return dedupKey{key: key, window: w, bucket: (ms/w + 2) * w / 1000, now: ms}
}

// seen finds the event that had the key within the window. A key whose event is gone is forgotten: there
// is nothing to link a repeat to.
func (t *tx) seen(k *dedupKey) (first core.EventID, found bool, err error) {
	last, fresh := t.m.keys.find(&k.key)
	if !fresh {
		if last, err = t.lookUpKey(k); err != nil {
			return first, false, err
		}
	}
	if last.event == 0 || k.now-last.at >= k.window {
		return first, false, nil
	}
	for i := range t.events {
		if t.events[i].seq == last.event {
			return t.events[i].ID, true, nil
		}
	}
	q := t.c.q("SELECT id FROM event WHERE seq = ?").int(last.event)
	found = q.next()
	copy(first[:], q.view(0))
	return first, found, q.end()
}

// lookUpKey finds the newest event in the table that had a key, the zero keySeen where there is none.
func (t *tx) lookUpKey(k *dedupKey) (newest keySeen, err error) {
	buckets := [...]int64{k.bucket, k.bucket - k.window/1000, k.bucket + k.window/1000}
	for _, bucket := range buckets {
		var room [4]int64
		runs, beyond, more := t.m.keys.inTable[bucket].holders(&k.key, room[:0])
		if more {
			if err := t.findIn(&newest, &k.key, t.c.q("SELECT keys FROM dedup WHERE bucket = ? AND part = ? AND run >= ?").
				int(bucket).int(partOf(&k.key)).int(beyond)); err != nil {
				return keySeen{}, err
			}
		}
		for _, run := range runs {
			if err := t.findIn(&newest, &k.key, t.c.q("SELECT keys FROM dedup WHERE bucket = ? AND part = ? AND run = ?").
				int(bucket).int(partOf(&k.key)).int(run)); err != nil {
				return keySeen{}, err
			}
		}
	}
	return newest, nil
}

// findIn looks for a key in the rows of a query, and keeps the newest that it finds.
func (t *tx) findIn(newest *keySeen, key *[16]byte, rows *stmt) error {
	for rows.next() {
		if at := findKey(rows.view(0), key); at.event > newest.event {
			*newest = at
		}
	}
	return rows.end()
}
