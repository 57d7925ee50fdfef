package sqlite

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"relais/internal/store"
)

// TestNoStatementOfTheWriterScansATable asks SQLite for the plan of every statement that a day's work
// prepared: none may read a table that grows from end to end, or sort.
func TestNoStatementOfTheWriterScansATable(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	batch := benchBatch(40, 4)
	for i := range batch {
		batch[i].Deliveries[0].Ordered, batch[i].Deliveries[0].OrderKey = i%2 == 0, "k"
	}
	batch[0].FanOut, batch[1].DedupKey = true, batch[2].DedupKey
	if _, err := s.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	finishAll(t, s, "\x00")
	for _, act := range []func() error{
		func() error {
			_, err := s.TakeOver(t.Context(), store.TakeOverParams{Node: "n", MaxInterruptions: 3})
			return err
		},
		func() error { _, err := s.Work(t.Context(), 0, 100); return err },
		func() error { _, err := s.Stats(t.Context()); return err },
		func() error { _, err := s.Event(t.Context(), batch[1].Event.ID); return err },
		func() error {
			_, err := s.Deliveries(t.Context(), store.DeliveryFilter{Event: batch[1].Event.ID})
			return err
		},
		func() error { _, err := s.Retain(t.Context(), store.RetainParams{Events: 1, Attempts: 1}); return err },
	} {
		if err := act(); err != nil {
			t.Fatal(err)
		}
	}
	grows := regexp.MustCompile(`(SCAN (event|payload|dedup|delivery|d|e|p|step|attempt|a|effect|rejection)\b(?: USING (?:COVERING )?INDEX delivery_(event|of)\b)?|USE TEMP B-TREE)`)
	reader := <-s.readers
	defer func() { s.readers <- reader }()
	explained := 0
	for _, c := range []*conn{s.writer.conn, reader} {
		if c == nil {
			t.Fatal("no reader was opened")
		}
		for sql := range c.stmts {
			if !strings.HasPrefix(sql, "SELECT") && !strings.HasPrefix(sql, "UPDATE") && !strings.HasPrefix(sql, "DELETE") && !strings.HasPrefix(sql, "INSERT") {
				continue
			}
			q := c.q("EXPLAIN QUERY PLAN " + sql)
			for q.next() {
				line := q.colText(3)
				// A scan in the order of the key, cut by a LIMIT, of an index that holds little, or of one delivery's steps.
				if grows.MatchString(line) && !strings.Contains(sql, "LIMIT") && !strings.Contains(line, "delivery_running") && !strings.Contains(sql, "ifnull(max(") && !strings.Contains(sql, "FROM step WHERE delivery") {
					t.Errorf("%s\n\t%s", line, sql)
				}
			}
			if err := q.end(); err != nil {
				t.Error(err)
			}
			explained++
		}
	}
	if explained < 30 {
		t.Errorf("only %d statements were explained", explained)
	}
}

// modernc.org/sqlite is translated for one version of modernc.org/libc, and no other is safe.
func TestLibcIsTheVersionThatSQLiteNeeds(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "modernc.org/sqlite").Output()
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`modernc\.org/libc (v[^\s]+)`)
	var found []string
	for _, path := range []string{"../../../go.mod", strings.TrimSpace(string(dir)) + "/go.mod"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		match := version.FindSubmatch(text)
		if match == nil {
			t.Fatalf("%s names no libc", path)
		}
		found = append(found, string(match[1]))
	}
	if found[0] != found[1] {
		t.Errorf("go.mod has libc %s, sqlite needs %s", found[0], found[1])
	}
}
