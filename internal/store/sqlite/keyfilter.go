package sqlite

import (
	"context"
	"encoding/binary"
	"math/bits"
	"slices"
)

const (
	// Each run of a bucket has a Bloom filter of 128 KiB: 32 bits for each of its keys, five of them set, so
	// that one of some ten thousand other keys is taken for one of them.
	filterBits   = 1 << 20
	filterHashes = 5
	// Eight runs share a group, whose bytes have a bit for each: all eight are asked at once.
	groupRuns = 8
	// maxGroups bounds what is held for a bucket (32 MiB, eight million keys).
	maxGroups = 32
)

// tableBucket is what is known of the table's keys of one bucket. Nearly every key is new, and a filter
// in memory says so without a look into the table.
type tableBucket struct {
	// unknown buckets hold keys that were merged in an earlier life and aren't read yet: the table is
	// always asked, as for those that hold too many.
	unknown bool
	runs    []int64 // the ids of those with a filter; 0 for a place that is left out
	groups  [][]byte
	// beyond is the first of the runs that have no filter, and more says that there are some.
	beyond int64
	more   bool
}

// beginRun says that the keys which are added next are another run's.
func (b *tableBucket) beginRun(id int64) {
	if len(b.runs) == maxGroups*groupRuns {
		b.leaveOut(id)
		return
	}
	if len(b.runs) == len(b.groups)*groupRuns {
		b.groups = append(b.groups, make([]byte, filterBits))
	}
	b.runs = append(b.runs, id)
}

// leaveOut notes a run that has no filter.
func (b *tableBucket) leaveOut(id int64) {
	if !b.more || id < b.beyond {
		b.beyond, b.more = id, true
	}
}

// add takes the keys of a row of a run that was begun.
func (b *tableBucket) add(id int64, row []byte) {
	run := slices.Index(b.runs, id)
	if run < 0 {
		return // it has no filter
	}
	group, bit := b.groups[run/groupRuns], byte(1)<<(run%groupRuns)
	for ; len(row) >= entrySize; row = row[entrySize:] {
		for _, at := range filterPlaces((*[16]byte)(row)) {
			group[at] |= bit
		}
	}
}

// holders appends the ids of the runs that may hold a key. Those from beyond on may all, if there are more.
func (b *tableBucket) holders(key *[16]byte, ids []int64) (_ []int64, beyond int64, more bool) {
	switch {
	case b == nil:
		return ids, 0, false
	case b.unknown:
		return ids, 0, true
	}
	at := filterPlaces(key)
	for i, group := range b.groups {
		mask := group[at[0]]
		for h := 1; h < filterHashes && mask != 0; h++ {
			mask &= group[at[h]]
		}
		for ; mask != 0; mask &= mask - 1 {
			ids = append(ids, b.runs[i*groupRuns+bits.TrailingZeros8(mask)])
		}
	}
	return ids, b.beyond, b.more
}

// filterPlaces are chosen by the key's own bits: keys are digests. Each takes 20 bits of three bytes.
func filterPlaces(key *[16]byte) (at [filterHashes]uint32) {
	for i := range at {
		at[i] = binary.LittleEndian.Uint32(key[3*i:]) % filterBits
	}
	return at
}

// filterSlice is how many parts of a bucket one read looks at.
const filterSlice = 64

// readFilters makes the filters of unknown buckets. It reads beside the writer: until it is through, the
// table is asked.
func (s *Store) readFilters(ctx context.Context, of *memory, buckets []int64) error {
	for _, bucket := range buckets {
		read, err := s.readFilter(ctx, bucket)
		if err != nil {
			return err
		}
		err = s.do(ctx, merging, func(t *tx) error {
			if b := t.m.keys.inTable[bucket]; t.m == of && b != nil && b.unknown {
				b.join(read)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// join takes over what was read of an unknown bucket, beside the runs that were merged since. It may come a
// second time when the transaction runs again, which the caller sees by the bucket's being known.
func (b *tableBucket) join(read *tableBucket) {
	b.unknown = false
	if read.more {
		b.leaveOut(read.beyond)
	}
	for i, group := range read.groups {
		of := read.runs[i*groupRuns : min((i+1)*groupRuns, len(read.runs))]
		if len(b.groups) == maxGroups {
			for _, id := range of {
				b.leaveOut(id)
			}
			continue
		}
		b.runs = append(b.runs, make([]int64, len(b.groups)*groupRuns-len(b.runs))...) // the last group stays as it is
		b.runs = append(b.runs, of...)
		b.groups = append(b.groups, group)
	}
}

func (s *Store) readFilter(ctx context.Context, bucket int64) (*tableBucket, error) {
	b := &tableBucket{}
	begun := map[int64]bool{}
	for part := int64(0); part < parts; part += filterSlice {
		err := s.read(ctx, func(c *conn) error {
			q := c.q("SELECT run, keys FROM dedup WHERE bucket = ? AND part >= ? AND part < ?").
				int(bucket).int(part).int(part + filterSlice)
			for q.next() {
				id := q.colInt(0)
				if !begun[id] {
					begun[id] = true
					b.beginRun(id)
				}
				b.add(id, q.view(1))
			}
			return q.end()
		})
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}
