package sqlite

import (
	"time"

	"relais/internal/core"
)

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
	w := max(window.Milliseconds(), 1000)
	ms := now / 1000
	return dedupKey{key: key, window: w, bucket: (ms/w + 2) * w / 1000, now: ms}
}

// seen finds the event that had the key within the window. A key whose event is gone is forgotten: there
// is nothing to link a repeat to.
func (t *tx) seen(k dedupKey) (first core.EventID, found bool, err error) {
	buckets := []int64{k.bucket, k.bucket - k.window/1000, k.bucket + k.window/1000}
	if !t.setBack {
		buckets = buckets[:2]
	}
	for _, bucket := range buckets {
		at, err := t.lookUpKey(k.place(bucket))
		if err != nil {
			return first, false, err
		}
		if at.event == 0 || k.now-at.at >= k.window {
			continue
		}
		q := t.c.q("SELECT id FROM event WHERE seq = ?").int(at.event)
		found = q.next()
		copy(first[:], q.view(0))
		if err := q.end(); err != nil || found {
			return first, found, err
		}
	}
	return first, false, nil
}

func (k *dedupKey) place(bucket int64) keyPlace { return keyPlace{bucket: bucket, key: k.key} }

// lookUpKey finds the newest event that had a key, the zero keySeen where there is none.
func (t *tx) lookUpKey(p keyPlace) (keySeen, error) {
	if at, ok := t.m.keys.find(p); ok || !t.m.keys.inTable[p.bucket].mayHold(&p.key) {
		return at, nil
	}
	q := t.c.q("SELECT event, at FROM dedup WHERE bucket = ? AND key = ?").int(p.bucket).blob(p.key[:])
	var at keySeen
	if q.next() {
		at = keySeen{event: q.colInt(0), at: q.colInt(1)}
	}
	return at, q.end()
}
