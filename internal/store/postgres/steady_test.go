//go:build unix

package postgres

import (
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The server plans the lanes' statements when the queue is empty and keeps the plans: none of them may go through a
// table or an index.
func TestLanesArePlannedByKey(t *testing.T) {
	c := newCluster(t)
	s := c.node(c.url)
	c.append(s, c.event("", "r"), c.event("", "r"))
	conn := admin(t, c.url)
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, table := range []string{"delivery", "lane", "step"} {
		exec("VACUUM ANALYZE " + table) // as small as they can be
	}
	exec(strings.ReplaceAll(steadyPlans, "true)", "false)"))
	for name, statement := range map[string]string{
		"readCandidates": readCandidates, "markRunning": markRunning, "takeNamedLanes": takeNamedLanes, "takeLanes": takeLanes,
		"lockLanesOf": lockLanesOf, "lockEndingChains": lockEndingChains, "finishHeld": finishHeld, "finishSucceeded": finishSucceeded,
		"readWork": readWork,
	} {
		prepared, err := conn.Prepare(t.Context(), name, statement)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		nulls := strings.TrimSuffix(strings.Repeat("NULL,", len(prepared.ParamOIDs)), ",")
		rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE "+strconv.Quote(name)+"("+nulls+")", pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, line := range plan {
			whole := strings.Contains(line, "Index") && strings.Contains(line, " using ") && !strings.Contains(strings.Join(plan[i+1:min(i+2, len(plan))], ""), "Index Cond")
			whole = whole && !strings.Contains(line, " on pause ") // a few rows at most
			if whole || strings.Contains(line, "Seq Scan") {
				t.Errorf("%s reads all of it: %s\n%s", name, strings.TrimSpace(line), strings.Join(plan, "\n"))
			}
		}
	}
}
