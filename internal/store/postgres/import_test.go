//go:build unix

package postgres

import (
	"slices"
	"strings"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

func openImport(t *testing.T, url string) *Import {
	t.Helper()
	i, err := OpenImport(t.Context(), Options{URL: url, Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

var copySource = store.CopySource{Identity: "a", State: "1", Name: "/data"}

func (i *Import) begin(t *testing.T, from store.CopySource) CopyState {
	t.Helper()
	state, err := i.Begin(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func tableNamed(t *testing.T, name string) store.CopyTable {
	t.Helper()
	for _, table := range store.CopyTables {
		if table.Name == name {
			return table
		}
	}
	t.Fatalf("there is no table %s", name)
	return store.CopyTable{}
}

func auditRow(id int64) []any { return []any{id, int64(1), "eve", "act", "o\x00\xff", "d"} }

func TestRowsOfACopyComeOnce(t *testing.T) {
	url := pgtest.URL(t)
	i := openImport(t, url)
	i.begin(t, copySource)
	audit := tableNamed(t, "audit")
	start, two := store.CopyPlace{}, store.CopyPlace{Number: 2, Word: "w\xff"}
	write := func(from, to store.CopyPlace, ids ...int64) error {
		var rows [][]any
		for _, id := range ids {
			rows = append(rows, auditRow(id))
		}
		return i.Write(t.Context(), audit, from, to, rows)
	}
	if err := write(start, two, 1, 2); err != nil {
		t.Fatal(err)
	}
	// The answer to the commit was lost: the same rows are written again.
	if err := write(start, two, 1, 2); err != nil {
		t.Fatal(err)
	}
	// Rows that fail leave the place where it was.
	if err := write(two, store.CopyPlace{Number: 4}, 3, 2); err == nil {
		t.Fatal("a number was stored twice")
	}
	if err := write(start, store.CopyPlace{Number: 9}, 9); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("rows from a place that the copy isn't at: %v", err)
	}
	other := openImport(t, url)
	state := other.begin(t, copySource)
	if !state.Resumed || state.Finished || state.Places["audit"] != two || state.Rows["audit"] != 2 || state.Rows["event"] != 0 {
		t.Errorf("%+v", state)
	}
	counts, err := other.Counts(t.Context())
	if err != nil || counts["audit"] != 2 {
		t.Errorf("%v %v", counts, err)
	}
}

func TestNumbersGoOnBehindACopy(t *testing.T) {
	url := pgtest.URL(t)
	i := openImport(t, url)
	i.begin(t, copySource)
	if _, err := Open(t.Context(), Options{URL: url}); core.CodeOf(err) != core.CodeConflict {
		t.Fatalf("a store on half a copy: %v", err)
	}
	if err := i.Finish(t.Context(), store.CopyNumbers{Event: 70, Delivery: 80, Replay: 5, Rejection: 6, Audit: 7}); err != nil {
		t.Fatal(err)
	}
	if again := openImport(t, url).begin(t, copySource); !again.Finished {
		t.Errorf("%+v", again)
	}
	s, err := Open(t.Context(), Options{URL: url, Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	to := core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: "r"}
	got, err := s.Append(t.Context(), []store.Accepted{{
		Event: core.Event{ID: core.NewEventID(), Source: "s", Type: "t", ReceivedAt: time.Now()}, Deliveries: []store.NewDelivery{{Destination: to}},
	}})
	if err != nil || got[0].Seq != 71 {
		t.Errorf("the next event has the number %+v %v", got, err)
	}
	deliveries, err := s.Deliveries(t.Context(), store.DeliveryFilter{})
	if err != nil || len(deliveries) != 1 || deliveries[0].ID != 81 {
		t.Errorf("the next delivery is %+v %v", deliveries, err)
	}
}

func TestCopyIsOfOneSourceIntoAnEmptyDatabase(t *testing.T) {
	url := pgtest.URL(t)
	i := openImport(t, url)
	i.begin(t, copySource)
	changed, other := copySource, copySource
	changed.State, other.Identity = "2", "b"
	for words, from := range map[string]store.CopySource{"relais has worked on": changed, "other data": other} {
		if _, err := i.Begin(t.Context(), from); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v", from, err)
		}
	}
	// Who opened the database before the copy was begun can't be kept out: it is seen at the end.
	if err := i.s.Beat(t.Context(), "n", time.Second); err != nil {
		t.Fatal(err)
	}
	if err := i.Finish(t.Context(), store.CopyNumbers{}); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("a copy beside a relais that works: %v", err)
	}
	used := openImport(t, database(t))
	if err := used.s.SetPause(t.Context(), store.Pause{Scope: store.PauseAll}); err != nil {
		t.Fatal(err)
	}
	if _, err := used.Begin(t.Context(), copySource); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), "has worked on this database already") {
		t.Errorf("a database that isn't empty: %v", err)
	}
	if _, err := Open(t.Context(), Options{URL: url, Connections: 1}); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("the half copy is a store: %v", err)
	}
}

// A column that a later migration adds has to be copied too.
func TestCopyKnowsEveryColumn(t *testing.T) {
	i := openImport(t, database(t))
	for _, table := range store.CopyTables {
		var columns []string
		if err := i.s.read(t.Context(), func(x *tx) error {
			return x.row(`SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
				WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped`, table.Name).Scan(&columns)
		}); err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(table.Columns), func(c string) bool { return table.Name == "delivery" && c == "day" })
		slices.Sort(want)
		if slices.Sort(columns); !slices.Equal(columns, want) {
			t.Errorf("%s has the columns %v, copied are %v", table.Name, columns, want)
		}
	}
}
