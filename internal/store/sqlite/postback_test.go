package sqlite

import (
	"strings"
	"testing"
	"time"

	"relais/internal/store/storetest"
)

// TestNewestRequestsReadNoOthers asks for the newest requests, as people do who look what came: both kinds of them are
// merged in the order of their indexes, so that nothing is computed of what isn't shown.
func TestNewestRequestsReadNoOthers(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), Options{Dir: dir, Sync: SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for _, ask := range []string{
		"SELECT * FROM ic_postback ORDER BY id DESC LIMIT 10",
		"SELECT id, payload ->> '$.Ref' FROM ic_postback WHERE source = 'paybox' AND id < 1000000000000000 ORDER BY id DESC LIMIT 10",
		"SELECT * FROM ic_postback WHERE id > 4711 ORDER BY id LIMIT 10",
	} {
		at := map[string]string{} // each step's path
		merged := 0
		for _, step := range askReadOnly(t, storetest.Options{Dir: dir, Now: time.Now}, "EXPLAIN QUERY PLAN "+ask) {
			id, parent, detail := step[0], step[1], step[3]
			at[id] = at[parent] + "/" + detail
			switch path := at[id]; {
			case strings.HasSuffix(path, "UNION ALL)/LEFT"), strings.HasSuffix(path, "UNION ALL)/RIGHT"):
				merged++
			case detail == "USE TEMP B-TREE FOR ORDER BY" && !strings.Contains(path, "SUBQUERY"), detail == "SCAN q":
				t.Errorf("%s: %s", ask, path)
			}
		}
		if merged != 2 {
			t.Errorf("%s isn't merged: %q", ask, at)
		}
	}
}
