package sqlite

import (
	"testing"
	"time"

	"relais/internal/store"
)

// Events that are kept because something needs them are gone through once, however much else there is to
// delete.
func TestRetentionEndsWhileEventsAreKept(t *testing.T) {
	clock := newClock()
	s := openTest(t, Options{Sync: SyncOff, Now: clock.now})
	const kept = 3000
	for n := 0; n < kept; {
		batch := benchBatch(500, 1) // their deliveries wait
		for i := range batch {
			batch[i].Event.ReceivedAt, batch[i].DedupKey, batch[i].DedupWindow = clock.now(), numberedKey(n), time.Hour
			n++
		}
		if _, err := s.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	mergeKeys(t, s)
	clock.add(40 * 24 * time.Hour)
	keys, slices := 0, 0
	for more := true; more; slices++ {
		done, err := s.Retain(t.Context(), store.RetainParams{Events: 30 * 24 * time.Hour, Dead: 90 * 24 * time.Hour, Attempts: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if done.Events > 0 {
			t.Fatalf("%d events were deleted whose deliveries wait", done.Events)
		}
		keys += done.DedupKeys
		more = done.More
		if slices > 500 {
			t.Fatal("retention doesn't end")
		}
	}
	if keys != kept {
		t.Errorf("%d lapsed keys were deleted, want %d", keys, kept)
	}
	if list, err := s.Events(t.Context(), store.EventFilter{Limit: 10}); err != nil || len(list) != 10 {
		t.Errorf("%d events are left, %v", len(list), err)
	}
}
