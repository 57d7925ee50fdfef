//go:build unix

package spool

import (
	"math/rand/v2"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/storetest"
)

// acknowledged reads ids until the child ends, and kills it after enough of them; 0 lets it end.
func acknowledged(t *testing.T, role, dir string, enough int) []core.EventID {
	t.Helper()
	cmd, lines := storetest.Child(t, role, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []core.EventID
	for lines.Scan() {
		id, err := core.ParseEventID(lines.Text())
		if err != nil {
			break // cut by the kill: nobody got it
		}
		ids = append(ids, id)
		if len(ids) == enough {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); (err == nil) != (enough == 0) {
		t.Fatalf("the child's end: %v", err)
	}
	return ids
}

func TestAcknowledgedEventsSurviveKillOnceAndInOrder(t *testing.T) {
	dir := t.TempDir()
	var all []core.EventID
	rescued, checked, last := 0, 0, int64(0)
	for kill := range 15 {
		ids := acknowledged(t, "append", dir, 1+rand.IntN(200))
		all = append(all, ids...)
		if kill%3 != 2 {
			continue // the next life takes it on, in front of its own
		}
		db := openStore(t, storeFolder(dir))
		done, err := Drain(t.Context(), spoolFolder(dir), db, toRoute, nil)
		if err != nil || done.Aside != 0 {
			t.Fatalf("kill %d: %+v, %v", kill, done, err)
		}
		rescued += done.Moved
		for i, id := range all[checked:] {
			event, err := db.Event(t.Context(), id)
			if err != nil {
				t.Fatalf("kill %d: event %d was acknowledged: %v", kill, checked+i, err)
			}
			if event.Seq <= last {
				t.Errorf("kill %d: event %d has the number %d, after %d", kill, checked+i, event.Seq, last)
			}
			last = event.Seq
			list, err := db.Deliveries(t.Context(), store.DeliveryFilter{Event: id})
			if err != nil || len(list) != 1 {
				t.Errorf("kill %d: event %d has %d deliveries, %v", kill, checked+i, len(list), err)
			}
		}
		checked = len(all)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged, %d of them rescued after a kill", len(all), rescued)
}

func TestFullDiskAcknowledgesNothingAndRecovers(t *testing.T) {
	dir := t.TempDir()
	ids := acknowledged(t, "small disk", dir, 0)
	if len(ids) != 300 {
		t.Fatalf("%d acknowledged of 300", len(ids))
	}
	db := openStore(t, t.TempDir())
	if done, err := Drain(t.Context(), dir, db, toRoute, nil); err != nil || done.Moved != 300 {
		t.Fatalf("%+v, %v", done, err)
	}
	for i, id := range ids {
		if _, err := db.Event(t.Context(), id); err != nil {
			t.Errorf("event %d was acknowledged: %v", i, err)
		}
	}
}
