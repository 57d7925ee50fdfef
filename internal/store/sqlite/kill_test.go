//go:build unix

package sqlite

import (
	"math/rand/v2"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store/storetest"
)

func TestAcknowledgedEventsSurviveKill(t *testing.T) {
	dir := t.TempDir()
	var acked []core.EventID
	for kill := range 20 {
		cmd, lines := storetest.Child(t, "append", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := len(acked)
		enough := 1 + rand.IntN(200)
		for lines.Scan() {
			id, err := core.ParseEventID(lines.Text())
			if err != nil {
				break // cut by the kill: nobody got it
			}
			acked = append(acked, id)
			if len(acked)-before == enough {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		if len(acked)-before < enough {
			t.Fatalf("kill %d: %d acknowledged, waited for %d", kill, len(acked)-before, enough)
		}
		begun := time.Now()
		s, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatalf("kill %d: the lock or the database outlived the process: %v", kill, err)
		}
		t.Logf("kill %d: ready after %s", kill, time.Since(begun))
		for _, id := range acked[before:] {
			if _, err := s.Event(t.Context(), id); err != nil {
				t.Errorf("kill %d: %s was acknowledged: %v", kill, id, err)
			}
		}
		checkIntegrity(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged events", len(acked))
}
