package sqlite

import "encoding/binary"

const (
	filterWords = 1 << 13 // 64 KiB: sixteen bits for each key of a run, one false hit in some hundreds
	filterBits  = filterWords * 64
	// maxFilters bounds what a bucket's filters take, and how many are asked for one key.
	maxFilters = 48
)

// tableBucket is what is known of the table's keys of one bucket. Nearly every key is new, and a filter
// in memory says so without a look into the table.
type tableBucket struct {
	// unknown buckets hold keys of an earlier life, or too many: the table is always asked.
	unknown bool
	filters []keyFilter
}

// with returns the bucket with one filter more.
func (b *tableBucket) with(f keyFilter) *tableBucket {
	switch {
	case b == nil:
		return &tableBucket{filters: []keyFilter{f}}
	case b.unknown || len(b.filters) == maxFilters:
		return &tableBucket{unknown: true}
	}
	b.filters = append(b.filters, f)
	return b
}

func (b *tableBucket) mayHold(key *[16]byte) bool {
	if b == nil || b.unknown {
		return b != nil
	}
	for _, f := range b.filters {
		if f.mayHold(key) {
			return true
		}
	}
	return false
}

// keyFilter is a Bloom filter. Keys are digests: their own bits choose the places.
type keyFilter []uint64

func filtersOf(places []keyPlace) map[int64]keyFilter {
	filters := map[int64]keyFilter{}
	for i := range places {
		f := filters[places[i].bucket]
		if f == nil {
			f = make(keyFilter, filterWords)
			filters[places[i].bucket] = f
		}
		for _, bit := range filterPlaces(&places[i].key) {
			f[bit/64] |= 1 << (bit % 64)
		}
	}
	return filters
}

func (f keyFilter) mayHold(key *[16]byte) bool {
	for _, bit := range filterPlaces(key) {
		if f[bit/64]&(1<<(bit%64)) == 0 {
			return false
		}
	}
	return true
}

func filterPlaces(key *[16]byte) [4]uint32 {
	var at [4]uint32
	for i := range at {
		at[i] = binary.LittleEndian.Uint32(key[4*i:]) % filterBits
	}
	return at
}
