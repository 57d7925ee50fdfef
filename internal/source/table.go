package source

import (
	"slices"
	"strings"
)

// table is a rule's map: texts, and beginnings of texts, with the longest first.
type table struct {
	exact    map[string]string
	prefixes []mapping
}

type mapping struct{ begin, to string }

func newTable(where string, in map[string]string) (*table, error) {
	if len(in) == 0 {
		return nil, nil //nolint:nilnil // a rule without a map has none
	}
	t := &table{exact: map[string]string{}}
	for from, to := range in {
		if to == "" {
			return nil, invalid(where, "map: %q is mapped to nothing", from)
		}
		if begin, ok := strings.CutSuffix(from, "*"); ok {
			t.prefixes = append(t.prefixes, mapping{begin, to})
		} else {
			t.exact[from] = to
		}
	}
	slices.SortFunc(t.prefixes, func(a, b mapping) int { return len(b.begin) - len(a.begin) })
	return t, nil
}

func (t *table) look(text []byte) (string, bool) {
	if to, ok := t.exact[string(text)]; ok {
		return to, true
	}
	for _, m := range t.prefixes {
		if strings.HasPrefix(string(text), m.begin) {
			return m.to, true
		}
	}
	return "", false
}
