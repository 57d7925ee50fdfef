package spool

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relais/internal/store"
)

// Under a load that doesn't end there is always one more event in the spool: it has to come to an end
// nevertheless.
func TestSpoolEmptiesUnderLoad(t *testing.T) {
	remote := newFickle(t)
	s := start(t, Options{Store: remote})
	var stop atomic.Bool
	var running sync.WaitGroup
	acked := make([][]store.Accepted, 4)
	for worker := range acked {
		running.Go(func() {
			for i := 0; !stop.Load(); i++ {
				batch := events(1_000_000*worker+5*i, 5)
				if err := toRoute(t.Context(), batch); err != nil {
					t.Error(err)
				}
				if _, err := s.Append(t.Context(), batch); err != nil {
					t.Error(err)
					return
				}
				acked[worker] = append(acked[worker], batch...)
			}
		})
	}
	for range 3 {
		remote.away()
		before := s.Status().Spooled
		until(t, s, "events in the spool", func(st Status) bool { return st.Spooled > before+300 })
		remote.back()
		untilDirect(t, s)
	}
	stop.Store(true)
	running.Wait()
	untilDirect(t, s)
	for _, batch := range acked {
		wantStored(t, remote.store, batch)
	}
	st := s.Status()
	t.Logf("%+v", st)
	if st.Moved != st.Spooled {
		t.Errorf("status %+v", st)
	}
}

// A store that hangs while the last events are moved holds up nobody for longer than the bound.
func TestStoreThatHangsAtTheLastEventsHoldsNobodyUp(t *testing.T) {
	remote := newFickle(t)
	remote.away()
	s := start(t, Options{Store: remote, Bound: 300 * time.Millisecond})
	all := events(0, maxBatch+100)
	mustAppend(t, s, all)
	hung := make(chan struct{})
	release := make(chan struct{})
	calls := 0
	remote.set(func(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
		if calls++; calls == 2 {
			close(hung)
			<-release
		}
		return remote.store.Append(ctx, batch)
	})
	select {
	case <-hung:
	case <-time.After(30 * time.Second):
		t.Fatalf("the last events weren't moved: %+v", s.Status())
	}
	for i := range 20 {
		begun := time.Now()
		batch := events(1000+i, 1)
		mustAppend(t, s, batch)
		all = append(all, batch...)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("event %d took %s", i, took)
		}
	}
	close(release)
	until(t, s, "an empty spool", func(st Status) bool { return st.Events == 0 })
	wantStored(t, remote.store, all)
}

// lose makes the spool's file unreachable, and returns what brings it back.
func lose(t *testing.T, s *Spool) (found func()) {
	t.Helper()
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	path := s.disk.path
	s.disk.drop()
	s.disk.path = filepath.Join(t.TempDir(), "nowhere")
	return func() {
		s.disk.mu.Lock()
		defer s.disk.mu.Unlock()
		s.disk.path = path
	}
}

func TestSpoolThatCantBeWrittenAcknowledgesNothingAndLeavesTheStore(t *testing.T) {
	remote := newFickle(t)
	s := start(t, Options{Store: remote})
	found := lose(t, s)
	remote.away()
	refused := events(0, 3)
	for range 3 {
		if _, err := s.Append(t.Context(), refused); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("error %v", err)
		}
	}
	remote.back()
	taken := matched(t, events(3, 3))
	if got := mustAppend(t, s, taken); got[0].Seq == 0 {
		t.Error("the store is there, and didn't get it")
	}
	found()
	untilDirect(t, s)
	remote.away()
	kept := events(6, 3)
	mustAppend(t, s, kept)
	remote.back()
	untilDirect(t, s)
	wantStored(t, remote.store, append(taken, kept...))
	if _, err := remote.store.Event(t.Context(), refused[0].Event.ID); err == nil {
		t.Error("it was refused, and is stored")
	}
}

func TestSlowStoreIsWaitedForWhenTheSpoolCantBeWritten(t *testing.T) {
	remote := newFickle(t)
	s := start(t, Options{Store: remote, Bound: 20 * time.Millisecond})
	defer lose(t, s)()
	release := make(chan struct{})
	remote.set(func(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
		<-release
		return remote.store.Append(ctx, batch)
	})
	batch := matched(t, events(0, 3))
	answer := make(chan error, 1)
	go func() {
		got, err := s.Append(t.Context(), batch)
		if err == nil && got[0].Seq == 0 {
			err = errors.New("spooled")
		}
		answer <- err
	}()
	until(t, s, "the bound to pass", func(st Status) bool { return st.LastError != "" })
	close(release)
	if err := <-answer; err != nil {
		t.Error(err)
	}
	wantStored(t, remote.store, batch)
}
