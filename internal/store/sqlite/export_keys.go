package sqlite

import (
	"bytes"
	"slices"
)

const dedupTable = "dedup"

// keyExport goes through the dedup keys part by part: all that is known of a key stands in one of them, in
// whatever merges brought it and in the events since, so that the newest is found without holding all keys.
type keyExport struct {
	c       *conn
	now     int64   // milliseconds
	windows []int64 // milliseconds
	buckets []int64
	fresh   map[int64][]freshKey // by part
	part    int64
}

type freshKey struct {
	key  [16]byte
	seen keySeen
}

// open starts at a part.
func (k *keyExport) open(part int64) error {
	k.part, k.fresh = part, map[int64][]freshKey{}
	q := k.c.q("SELECT seq, key_bucket, key_at, key FROM event WHERE seq > (SELECT keys_merged FROM tally) AND key_bucket IS NOT NULL")
	for q.next() {
		f := freshKey{seen: keySeen{event: q.colInt(0), bucket: q.colInt(1), at: q.colInt(2)}}
		copy(f.key[:], q.view(3))
		p := partOf(&f.key)
		k.fresh[p] = append(k.fresh[p], f)
	}
	if err := q.end(); err != nil {
		return err
	}
	for bucket, found := k.now/1000-1, true; found; {
		q := k.c.q("SELECT bucket FROM dedup WHERE bucket > ? ORDER BY bucket LIMIT 1").int(bucket)
		if found = q.next(); found {
			bucket = q.colInt(0)
			k.buckets = append(k.buckets, bucket)
		}
		if err := q.end(); err != nil {
			return err
		}
	}
	return nil
}

// next returns the keys of a part that haven't lapsed, each with the event that had it last. As a running
// store does, it forgets a key whose event is gone.
func (k *keyExport) next() ([][]any, error) {
	newest := map[[16]byte]keySeen{}
	for _, bucket := range k.buckets {
		q := k.c.q("SELECT keys FROM dedup WHERE bucket = ? AND part = ?").int(bucket).int(k.part)
		for q.next() {
			for row := q.view(0); len(row) >= entrySize; row = row[entrySize:] {
				key := [16]byte(row)
				seen := findKey(row[:entrySize], &key)
				seen.bucket = bucket
				if seen.event > newest[key].event {
					newest[key] = seen
				}
			}
		}
		if err := q.end(); err != nil {
			return nil, err
		}
	}
	for _, f := range k.fresh[k.part] {
		if f.seen.event > newest[f.key].event {
			newest[f.key] = f.seen
		}
	}
	k.part++
	var rows [][]any
	for key, seen := range newest {
		lapses := seen.at + k.windowOf(seen)
		if lapses <= k.now {
			continue
		}
		q := k.c.q("SELECT id FROM event WHERE seq = ?").int(seen.event)
		if q.next() {
			rows = append(rows, []any{slices.Clone(key[:]), q.colBytes(0), lapses * 1000})
		}
		if err := q.end(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(rows, func(a, b []any) int { return bytes.Compare(a[0].([]byte), b[0].([]byte)) })
	return rows, nil
}

// windowOf finds the window of a key by its bucket, which ends a window's slot and one window more after the
// key was seen. Where none of the known ones fits, it is the one of the roundest length that does.
func (k *keyExport) windowOf(seen keySeen) int64 {
	fits := func(w int64) bool { return w > 0 && w%1000 == 0 && (seen.at/w+2)*w/1000 == seen.bucket }
	if i := slices.IndexFunc(k.windows, fits); i >= 0 {
		return k.windows[i]
	}
	// It is longer than half of this, and not longer.
	longest := seen.bucket*1000 - seen.at
	for _, unit := range [...]int64{24 * 3600_000, 12 * 3600_000, 3600_000, 1800_000, 900_000, 600_000, 300_000, 60_000, 30_000, 10_000, 1000} {
		for w := (longest/2 + unit - 1) / unit * unit; w <= longest; w += unit {
			if fits(w) {
				k.windows = append(k.windows, w)
				return w
			}
		}
	}
	return longest / 2
}
