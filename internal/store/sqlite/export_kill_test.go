//go:build unix

package sqlite

import (
	"slices"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store/storetest"
)

// What a killed relais had acknowledged stands in its log, which nobody has copied to the database.
func TestExportReadsWhatAKilledRelaisLeft(t *testing.T) {
	dir := t.TempDir()
	cmd, lines := storetest.Child(t, "append", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acked []core.EventID
	for lines.Scan() {
		id, err := core.ParseEventID(lines.Text())
		if err != nil {
			break // cut by the kill
		}
		if acked = append(acked, id); len(acked) == 300 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	x, err := OpenExport(t.Context(), ExportOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	before, err := x.Source(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var exported []core.EventID
	for _, row := range exportAll(t, x, "event", 100, time.Now()) {
		exported = append(exported, core.EventID(row[2].([]byte)))
	}
	for _, id := range acked {
		if !slices.Contains(exported, id) {
			t.Fatalf("%s was acknowledged, and isn't exported: %d of %d are", id, len(exported), len(acked))
		}
	}
	if after, err := x.Source(t.Context()); err != nil || after != before {
		t.Errorf("reading changed what was read: %+v %+v %v", before, after, err)
	}
}
