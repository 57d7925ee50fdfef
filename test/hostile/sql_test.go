//go:build unix

package hostile

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"relais/internal/config"
	"relais/internal/step/sqlstep/mysqltest"
	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

// sqlDatabases are one connection of each kind, to a database with a table of victims and one for values.
func sqlDatabases(t *testing.T) []config.Connection {
	t.Helper()
	file := filepath.Join(t.TempDir(), "orders.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE made (at TEXT)"); err != nil {
		t.Fatal(err)
	}
	connections := []config.Connection{
		{Name: "postgres", Kind: "postgres", Settings: map[string]any{"url": config.NewSecret(pgtest.URL(t))}},
		{Name: "mysql", Kind: "mysql", Settings: map[string]any{"url": config.NewSecret(mysqltest.Database(t))}},
		{Name: "sqlite", Kind: "sqlite", Settings: map[string]any{"path": file}},
	}
	for _, c := range connections {
		if c.Kind == "mysql" {
			// It can't make tables in a step; the test's user can.
			mysqltest.Exec(t, c.Settings["url"].(config.Secret).Reveal(), "CREATE TABLE victims (id int)", "INSERT INTO victims VALUES (1)",
				"CREATE TABLE seen (v longtext CHARACTER SET utf8mb4)")
			continue
		}
		for _, statement := range []string{"CREATE TABLE victims (id int)", "INSERT INTO victims VALUES (1)", "CREATE TABLE seen (v text)"} {
			if out := attempt(t, config.Step{Use: "sql/exec", Connection: c.Name, With: map[string]any{"statement": statement}}, connections, ""); !succeeded(out) {
				t.Fatalf("%s: %s", statement, out.Message)
			}
		}
	}
	return connections
}

func placeholder(kind string) string {
	if kind == "postgres" {
		return "$1"
	}
	return "?"
}

// rowOf is the first row of a step's result.
func rowOf(t *testing.T, out store.Outcome) map[string]any {
	t.Helper()
	var result struct{ Row map[string]any }
	if !succeeded(out) || len(out.Steps) != 1 {
		t.Fatalf("%s %s %.300s", out.Verdict, out.Reason, out.Message)
	}
	if err := json.Unmarshal(out.Steps[0].Result, &result); err != nil {
		t.Fatal(err)
	}
	return result.Row
}

func sqlExec(t *testing.T) check {
	connections := sqlDatabases(t)
	return func(t *testing.T, _, value string) {
		for _, c := range connections {
			run := func(use, statement string, args ...any) store.Outcome {
				with := map[string]any{"statement": strings.ReplaceAll(statement, "$1", placeholder(c.Kind))}
				if len(args) > 0 {
					with["args"] = args
				}
				return attempt(t, config.Step{Use: use, Connection: c.Name, With: with}, connections, value)
			}
			if out := run("sql/exec", "DELETE FROM seen"); !succeeded(out) {
				t.Fatalf("%s: %s", c.Kind, out.Message)
			}
			out := run("sql/exec", "INSERT INTO seen (v) VALUES ($1)", "${{ event.data.v }}")
			if c.Kind == "postgres" && strings.Contains(value, "\x00") {
				refused(t, out)
				continue
			}
			if !succeeded(out) {
				t.Fatalf("%s: %.300s", c.Kind, out.Message)
			}
			// The database itself compares: a value of a mebibyte is more than a result keeps.
			same := map[string]string{"postgres": "v = $1", "mysql": "CAST(v AS BINARY) = CAST($1 AS BINARY)", "sqlite": "v = $1"}[c.Kind]
			row := rowOf(t, run("sql/query", "SELECT (SELECT COUNT(*) FROM seen WHERE "+same+") AS same, (SELECT COUNT(*) FROM seen) AS seen, (SELECT COUNT(*) FROM victims) AS victims", "${{ event.data.v }}"))
			if row["same"] != 1.0 || row["seen"] != 1.0 || row["victims"] != 1.0 {
				t.Errorf("%s: %v", c.Kind, row)
			}
		}
	}
}

func sqlQuery(t *testing.T) check {
	connections := sqlDatabases(t)
	return func(t *testing.T, name, value string) {
		for _, c := range connections {
			given := placeholder(c.Kind)
			if c.Kind == "mysql" {
				given = "CONVERT(? USING utf8mb4)"
			}
			out := attempt(t, config.Step{Use: "sql/query", Connection: c.Name, With: map[string]any{
				"statement": "SELECT " + given + " AS v, (SELECT COUNT(*) FROM victims) AS victims", "args": []any{"${{ event.data.v }}"}}}, connections, value)
			if c.Kind == "postgres" && strings.Contains(value, "\x00") {
				refused(t, out)
				continue
			}
			if name == "long" || name == "ampersands" {
				if !succeeded(out) || !strings.Contains(string(out.Steps[0].Result), `"truncated":true`) {
					t.Errorf("%s: %.300s", c.Kind, out.Message)
				}
				continue
			}
			if row := rowOf(t, out); row["v"] != value || row["victims"] != 1.0 {
				t.Errorf("%s: it became %.200v", c.Kind, row)
			}
		}
	}
}
