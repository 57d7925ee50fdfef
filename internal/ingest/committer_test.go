package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
)

func contextPair() (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}

// commitAll gives n events to a committer while it is held up, so that they make one batch behind the
// first, and returns their results.
func commitAll(t *testing.T, m *memory, n int, fail func(batch []store.Accepted) error) []result {
	t.Helper()
	reached, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.failWith(func(batch []store.Accepted) error {
		once.Do(func() { reached <- struct{}{}; <-leave })
		return fail(batch)
	})
	var woken int
	c := newCommitter(m, func(batch []store.Accepted, _ []store.Appended) { woken += len(batch) }, slog.New(slog.DiscardHandler))
	ctx, stop := contextPair()
	ran := make(chan struct{})
	go func() { c.run(ctx, 1); close(ran) }()

	pendings := make([]*pending, n+1)
	for i := range pendings {
		pendings[i] = &pending{done: make(chan result, 1), accepted: []store.Accepted{{Event: core.Event{ID: core.NewEventID(), Type: fmt.Sprint(i - 1)}}}}
	}
	results := make([]result, n)
	var all sync.WaitGroup
	all.Go(func() { c.commit(pendings[0]) })
	<-reached
	// The rest goes straight into the queue: then it is known to be there before the first commit ends.
	c.mu.Lock()
	c.queue = append(c.queue, pendings[1:]...)
	c.mu.Unlock()
	for i, p := range pendings[1:] {
		all.Go(func() { results[i] = <-p.done })
	}
	leave <- struct{}{}
	all.Wait()
	stop()
	<-ran
	if stored := len(m.stored()); woken != stored {
		t.Errorf("%d events are stored, and %d were told of", stored, woken)
	}
	return results
}

func TestEventsGatherWhileACommitSyncs(t *testing.T) {
	m := newMemory()
	for i, r := range commitAll(t, m, 100, func([]store.Accepted) error { return nil }) {
		if r.err != nil || r.appended[0].Seq == 0 {
			t.Errorf("event %d: %+v", i, r)
		}
	}
	if !slices.Equal(m.batches, []int{1, 100}) {
		t.Errorf("committed in batches of %v", m.batches)
	}
}

func TestOnlyTheCulpritIsRefused(t *testing.T) {
	m := newMemory()
	calls := 0
	bad := errors.New("bad row")
	results := commitAll(t, m, 500, func(batch []store.Accepted) error {
		calls++
		if slices.ContainsFunc(batch, func(a store.Accepted) bool { return a.Event.Type == "321" }) {
			return bad
		}
		return nil
	})
	for i, r := range results {
		if (i == 321) != (r.err != nil) {
			t.Errorf("event %d: %v", i, r.err)
		}
	}
	if calls > 25 {
		t.Errorf("it took %d transactions", calls)
	}
}

func TestStoreThatIsAwayIsNotAskedForEachHalf(t *testing.T) {
	m := newMemory()
	calls := 0
	results := commitAll(t, m, 500, func([]store.Accepted) error {
		calls++
		return fmt.Errorf("disk full: %w", store.ErrUnavailable)
	})
	for i, r := range results {
		if !errors.Is(r.err, store.ErrUnavailable) {
			t.Errorf("event %d: %v", i, r.err)
		}
	}
	if calls != 2 {
		t.Errorf("the store was asked %d times", calls)
	}
}

// TestEventsThatOthersKeepBackAreRefusedAlone: the first further event in the second try is kept back too.
func TestEventsThatOthersKeepBackAreRefusedAlone(t *testing.T) {
	m := newMemory()
	calls := 0
	results := commitAll(t, m, 300, func(batch []store.Accepted) error {
		calls++
		for _, back := range [][]string{{"7", "8"}, {"9"}} {
			busy := store.BusyError{Cause: fmt.Errorf("held: %w", store.ErrUnavailable)}
			for i := range batch {
				if slices.Contains(back, batch[i].Event.Type) {
					busy.Events = append(busy.Events, batch[i].Event.ID)
				}
			}
			if len(busy.Events) > 0 {
				return fmt.Errorf("appending: %w", &busy)
			}
		}
		return nil
	})
	for i, r := range results {
		if kept := i >= 7 && i <= 9; kept != (r.err != nil) || !kept && r.appended[0].Seq == 0 {
			t.Errorf("event %d: %+v", i, r)
		}
	}
	if calls != 4 {
		t.Errorf("the store was asked %d times, want 1 before and 3", calls)
	}
}

func TestManyCulpritsDoNotMakeAStormOfTransactions(t *testing.T) {
	m := newMemory()
	calls := 0
	results := commitAll(t, m, 512, func(batch []store.Accepted) error {
		if len(batch) > 1 || batch[0].Event.Type != "-1" {
			calls++
			return errors.New("bad rows")
		}
		return nil
	})
	for i, r := range results {
		if r.err == nil {
			t.Errorf("event %d was acknowledged and not stored", i)
		}
	}
	if calls > maxSplits+20 {
		t.Errorf("it took %d transactions", calls)
	}
}

// After large batches a committer waits for more; those that come alone are stored all the same, and
// those that come together at once.
func TestGatheringEndsWithAndWithoutMore(t *testing.T) {
	for _, inFlight := range []int{1, 4} {
		gathering(t, inFlight)
	}
}

func gathering(t *testing.T, inFlight int) {
	t.Helper()
	m := newMemory()
	c := newCommitter(m, nil, slog.New(slog.DiscardHandler))
	ctx, stop := contextPair()
	var all sync.WaitGroup
	all.Go(func() { c.run(ctx, inFlight) })
	for round, many := range []int{64, 64, 1, 1, 9, 64, 2} {
		var commits sync.WaitGroup
		for range many {
			commits.Go(func() {
				for range 20 {
					p := &pending{done: make(chan result, 1), accepted: []store.Accepted{{Event: core.Event{ID: core.NewEventID()}}}}
					if r := c.commit(p); r.err != nil {
						t.Errorf("round %d: %v", round, r.err)
					}
				}
			})
		}
		commits.Wait()
	}
	stop()
	all.Wait()
	if n := len(m.stored()); n != (64+64+1+1+9+64+2)*20 {
		t.Errorf("%d events are stored", n)
	}
}
