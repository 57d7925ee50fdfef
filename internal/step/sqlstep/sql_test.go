//go:build unix

package sqlstep

import (
	"reflect"
	"strings"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
)

func TestValuesArriveByTheirTypesAndComeBackExactly(t *testing.T) {
	types := map[string]string{
		"postgres": "big bigint, price numeric(12,2), name text, flag boolean, doc jsonb, raw bytea, ratio double precision, at timestamptz, day date, none text",
		"mysql":    "big bigint, price decimal(12,2), name text, flag boolean, doc json, raw varbinary(9), ratio double, at timestamp(3) null, day date, none text",
		"sqlite":   "big bigint, price text, name text, flag boolean, doc json, raw blob, ratio real, at timestamp, day date, none text",
	}
	everywhereAndPooled(t, func(t *testing.T, b *bench) {
		b.must("CREATE TABLE v (" + types[b.kind] + ")")
		raw := map[string]string{"postgres": `'\x00ff41'`, "mysql": "x'00ff41'", "sqlite": "x'00ff41'"}[b.kind]
		at := map[string]string{"postgres": "$7::timestamptz", "mysql": "REPLACE(REPLACE(?, 'T', ' '), 'Z', '')", "sqlite": "?"}[b.kind]
		out, result := b.run("sql/exec", map[string]any{
			"statement": b.text("INSERT INTO v VALUES ($1, $2, $3, $4, $5, " + raw + ", $6, " + at + ", $8, $9)"),
			"args": []any{"${{ event.data.big }}", "${{ event.data.price }}", "n° ${{ event.data.big }}", true, "${{ event.data.doc }}", 0.5,
				"2026-11-22T17:00:08.123Z", "2026-11-22", nil},
			"expect_rows": uint64(1),
		}, map[string]any{"big": int64(9007199254740993), "price": "19.90", "doc": map[string]any{"id": int64(9007199254740993), "l": []any{"<a>"}}})
		if out.Verdict != store.VerdictSucceeded || result["rows_affected"] != int64(1) {
			t.Fatalf("%s %s", out.Verdict, out.Message)
		}
		out, result = b.run("sql/query", map[string]any{"statement": "SELECT * FROM v"}, nil)
		if out.Verdict != store.VerdictSucceeded {
			t.Fatalf("%s %s", out.Verdict, out.Message)
		}
		want := map[string]any{
			"big": int64(9007199254740993), "price": "19.90", "name": "n° 9007199254740993", "flag": true,
			"doc": map[string]any{"id": int64(9007199254740993), "l": []any{"<a>"}}, "raw": "AP9B", "ratio": 0.5,
			"at": "2026-11-22T17:00:08.123Z", "day": "2026-11-22", "none": nil,
		}
		switch b.kind {
		case "mysql":
			want["flag"] = int64(1)                             // there, a boolean is a number
			want["doc"] = `{"id":9007199254740993,"l":["<a>"]}` // and MariaDB's JSON a text
		}
		if !reflect.DeepEqual(result["row"], want) || result["count"] != int64(1) || result["truncated"] != false {
			t.Errorf("got  %v\nwant %v", result["row"], want)
		}
		if b.kind == "mysql" && b.number("SELECT UNIX_TIMESTAMP(at) = 1795366808.123 FROM v") != 1 {
			t.Error("the time isn't the one that was sent")
		}
	})
}

func TestRowsThatDoNotMatchChangeNothing(t *testing.T) {
	everywhereAndPooled(t, func(t *testing.T, b *bench) {
		pay := b.text("UPDATE orders SET state = 'PAID', paid_cents = $1 WHERE reference = $2 AND state = 'PENDING'")
		one := map[string]any{"statement": pay, "args": []any{int64(1990), "${{ event.data.ref }}"}, "expect_rows": uint64(1)}
		for _, c := range []struct {
			with map[string]any
			says string
		}{
			{map[string]any{"statement": pay, "args": []any{int64(1), "nobody"}, "expect_rows": uint64(1)}, "0 rows, and the step expects 1: nothing was changed"},
			{map[string]any{"statement": "UPDATE orders SET state = 'PAID'", "expect_rows": uint64(1)}, "2 rows, and the step expects 1"},
			{map[string]any{"statements": []any{one, map[string]any{"statement": "DELETE FROM orders WHERE id = 77", "expect_rows": ">=1"}}}, "statement 2: 0 rows, and the step expects at least 1"},
		} {
			out, _ := b.run("sql/exec", c.with, map[string]any{"ref": "A-1"})
			if out.Verdict != store.VerdictDead || out.Reason != core.ReasonRows || !strings.Contains(out.Message, c.says) {
				t.Errorf("%s %s %s, want %q", out.Verdict, out.Reason, out.Message, c.says)
			}
			if b.number("SELECT COUNT(*) FROM orders WHERE state = 'PENDING'") != 2 {
				t.Fatal("something was changed")
			}
		}
		out, result := b.run("sql/exec", map[string]any{"statements": []any{one, map[string]any{"statement": "DELETE FROM orders WHERE id = 2"}}}, map[string]any{"ref": "A-1"})
		if out.Verdict != store.VerdictSucceeded || result["rows_affected"] != int64(2) || !reflect.DeepEqual(result["affected"], []any{int64(1), int64(1)}) {
			t.Errorf("%s %v", out.Message, result)
		}
		if b.number("SELECT paid_cents FROM orders WHERE state = 'PAID'") != 1990 || b.number("SELECT COUNT(*) FROM orders") != 1 {
			t.Error("not done")
		}
	})
}

func TestAnUpdateThatChangesNothingFindsItsRow(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bench) {
		for range 2 {
			out, _ := b.run("sql/exec", map[string]any{"statement": "UPDATE orders SET state = 'PAID' WHERE id = 1", "expect_rows": uint64(1)}, nil)
			if out.Verdict != store.VerdictSucceeded {
				t.Errorf("%s", out.Message)
			}
		}
	})
}

func TestWhatIsReturnedIsTheResult(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bench) {
		out, result := b.run("sql/exec", map[string]any{
			"statement": b.text("INSERT INTO orders (id, reference) VALUES ($1, $2) RETURNING id, reference"), "args": []any{int64(9), "A-9"}, "expect_rows": "1"}, nil)
		want := map[string]any{"id": int64(9), "reference": "A-9"}
		if out.Verdict != store.VerdictSucceeded || result["rows_affected"] != int64(1) || !reflect.DeepEqual(result["row"], want) {
			t.Errorf("%s %v", out.Message, result)
		}
		if b.number("SELECT COUNT(*) FROM orders") != 3 {
			t.Error("not done")
		}
	})
}

func TestManyRowsAreCut(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bench) {
		numbers := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) "
		query := numbers + "SELECT a.i * 1000 + b.i AS i FROM n a, n b"
		out, result := b.run("sql/query", map[string]any{"statement": query}, nil)
		list, _ := result["rows"].([]any)
		if out.Verdict != store.VerdictSucceeded || len(list) != maxRows || result["truncated"] != true {
			t.Errorf("%s: %d rows", out.Message, len(list))
		}
		wide := "SELECT '" + strings.Repeat("<", 2000) + "' AS w FROM orders a, orders b, orders c"
		out, result = b.run("sql/query", map[string]any{"statement": wide}, nil)
		list, _ = result["rows"].([]any)
		if out.Verdict != store.VerdictSucceeded || len(list) != 4 || result["truncated"] != true {
			t.Errorf("%s: %d rows", out.Message, len(list))
		}
		out, result = b.run("sql/query", map[string]any{"statement": "SELECT id FROM orders WHERE id > 5"}, nil)
		if out.Verdict != store.VerdictSucceeded || !reflect.DeepEqual(result["rows"], []any{}) || result["row"] != nil {
			t.Errorf("%s: %v", out.Message, result)
		}
	})
}

func TestAQueryChangesNothing(t *testing.T) {
	everywhereAndPooled(t, func(t *testing.T, b *bench) {
		for _, statement := range []string{"DELETE FROM orders", "INSERT INTO orders (id) VALUES (3)", "DELETE FROM orders RETURNING id"} {
			out, _ := b.run("sql/query", map[string]any{"statement": statement}, nil)
			if out.Verdict != store.VerdictDead || b.number("SELECT COUNT(*) FROM orders") != 2 {
				t.Errorf("%s: %s %s", statement, out.Verdict, out.Message)
			}
		}
	})
}

func TestOneStatementStaysOne(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bench) {
		// What no check of the text knows: the dialects disagree on where the quotes end.
		for _, statement := range []string{`SELECT '\'; DELETE FROM orders; -- '`, `SELECT $q$; DELETE FROM orders; -- $q$`, "SELECT 1 # ;\n; DELETE FROM orders"} {
			p, err := b.tryCompile(statement)
			if err == nil {
				b.attempt(p, event(nil))
			}
			if b.number("SELECT COUNT(*) FROM orders") != 2 {
				t.Fatalf("%s: a second statement ran", statement)
			}
		}
	})
}

func TestWhatADatabaseRefusesIsFinal(t *testing.T) {
	everywhere(t, func(t *testing.T, b *bench) {
		for says, with := range map[string]map[string]any{
			"nowhere": {"statement": "UPDATE nowhere SET a = 1"},
			"orders":  {"statement": "INSERT INTO orders (id, reference) VALUES (1, 'x')"},
			"SELEC":   {"statement": "SELEC 1"},
			"":        {"statement": b.text("UPDATE orders SET id = $1"), "args": []any{}},
			"called":  {"statement": "SELECT 1 AS a, 2 AS a"},
		} {
			out, _ := b.run("sql/exec", with, nil)
			if out.Verdict != store.VerdictDead || out.Reason != core.ReasonStatement && says != "" || b.kind != "mysql" && !strings.Contains(out.Message, says) {
				t.Errorf("%s: %s %s %s", with["statement"], out.Verdict, out.Reason, out.Message)
			}
		}
	})
}
