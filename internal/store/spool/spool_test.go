package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

func TestEventsGoToTheStoreWhileItAnswers(t *testing.T) {
	remote := newFickle(t)
	s := start(t, Options{Store: remote})
	batch := matched(t, events(0, 20))
	for i, got := range mustAppend(t, s, batch) {
		if got.Seq == 0 {
			t.Errorf("event %d has no number", i)
		}
	}
	again := mustAppend(t, s, []store.Accepted{event(1, "1")})
	if again[0].RepeatOf != batch[1].Event.ID {
		t.Errorf("a repeat of %s was told as one of %s", batch[1].Event.ID, again[0].RepeatOf)
	}
	wantStored(t, remote.store, batch)
	if st := s.Status(); st.State != StateDirect || st.Spooled != 0 || st.LastError != "" {
		t.Errorf("status %+v", st)
	}
}

func TestEventsAreKeptWhileTheStoreIsAwayAndMovedInOrder(t *testing.T) {
	remote := newFickle(t)
	var moved int
	s := start(t, Options{Store: remote, Moved: func(batch []store.Accepted, results []store.Appended) {
		for i := range batch {
			if results[i].Seq == 0 || len(batch[i].Deliveries) != 1 {
				t.Errorf("moved %+v with %+v", results[i], batch[i].Deliveries)
			}
		}
		moved += len(batch)
	}})
	first := matched(t, events(0, 3))
	mustAppend(t, s, first)
	remote.away()
	all := first
	for i := range 400 {
		batch := events(3+3*i, 3) // their deliveries are matched at the move
		for _, got := range mustAppend(t, s, batch) {
			if got != (store.Appended{}) {
				t.Fatalf("a spooled event got %+v", got)
			}
		}
		all = append(all, batch...)
	}
	st := s.Status()
	if st.State != StateSpooling || st.Events != 1200 || st.Bytes < 1200*rowBytes || !st.Oldest.Equal(all[3].Event.ReceivedAt) || st.LastError == "" {
		t.Errorf("status %+v", st)
	}
	remote.back()
	untilDirect(t, s)
	last := matched(t, events(2000, 3))
	if got := mustAppend(t, s, last); got[0].Seq == 0 {
		t.Error("the store is back, and events are still spooled")
	}
	wantStored(t, remote.store, append(all, last...))
	if st := s.Status(); st.Moved != 1200 || st.Spooled != 1200 || st.Bytes != 0 || !st.Oldest.IsZero() || moved != 1200 {
		t.Errorf("status %+v, told of %d", st, moved)
	}
	list, err := remote.store.Deliveries(t.Context(), store.DeliveryFilter{Event: all[5].Event.ID})
	if err != nil || len(list) != 1 || list[0].RouteSet != "in force at the move" {
		t.Errorf("deliveries %+v, %v", list, err)
	}
}

func TestStoreThatIsAwayIsNotWaitedFor(t *testing.T) {
	remote := newFickle(t)
	hung := make(chan struct{})
	once := sync.OnceFunc(func() { close(hung) })
	remote.set(func(ctx context.Context, _ []store.Accepted) ([]store.Appended, error) {
		once()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	s := start(t, Options{Store: remote, Bound: 50 * time.Millisecond})
	all := events(0, 1)
	mustAppend(t, s, all)
	<-hung
	begun := time.Now()
	for i := range 100 {
		batch := events(1+i, 1)
		mustAppend(t, s, batch)
		all = append(all, batch...)
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("100 batches took %s: each waited for the store", took)
	}
	if n := remote.called(); n != 1 {
		t.Errorf("the store was called %d times while the first call's outcome was unknown", n)
	}
	if st := s.Status(); st.Events != 101 {
		t.Errorf("status %+v", st)
	}
}

func TestAnswerAfterTheBoundIsHeeded(t *testing.T) {
	remote := newFickle(t)
	release := make(chan struct{})
	remote.set(func(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
		<-release
		return remote.store.Append(ctx, batch)
	})
	s := start(t, Options{Store: remote, Bound: 20 * time.Millisecond})
	slow := matched(t, events(0, 3))
	sent := clone(slow)
	mustAppend(t, s, slow)
	for i := range slow { // ingest uses its buffers again
		clear(slow[i].Event.Body)
		clear(slow[i].Event.Header)
	}
	behind := events(3, 2)
	mustAppend(t, s, behind)
	remote.back()
	close(release)
	until(t, s, "an empty spool", func(st Status) bool { return st.Events == 0 && st.Moved == 5 })
	wantStored(t, remote.store, append(sent, behind...))
	for i, ids := range remote.calls[1:] {
		for _, id := range ids {
			if id == sent[0].Event.ID {
				t.Errorf("call %d sent again what the first one stored", i+1)
			}
		}
	}
}

func TestLostAnswerStoresOnce(t *testing.T) {
	remote := newFickle(t)
	s := start(t, Options{Store: remote})
	lost := 0
	remote.set(func(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
		appended, err := remote.store.Append(ctx, batch)
		if lost++; lost <= 4 {
			return nil, errAway // it was stored, and the connection broke
		}
		return appended, err
	})
	var all []store.Accepted
	for i := range 10 {
		batch := matched(t, events(5*i, 5))
		mustAppend(t, s, batch)
		all = append(all, batch...)
	}
	untilDirect(t, s)
	wantStored(t, remote.store, all)
}

func TestNodeStartsAndAcknowledgesWithoutTheStore(t *testing.T) {
	remote, dir := newFickle(t), t.TempDir()
	remote.away()
	var all []store.Accepted
	for life := range 3 {
		s := start(t, Options{Store: remote, Dir: dir})
		if st := s.Status(); st.Events != 10*life {
			t.Fatalf("life %d begins with %+v", life, st)
		}
		batch := events(10*life, 10)
		mustAppend(t, s, batch)
		all = append(all, batch...)
		end(s)
		if _, err := s.Append(t.Context(), batch); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a closed spool said %v", err)
		}
	}
	remote.back()
	s := start(t, Options{Store: remote, Dir: dir})
	batch := events(30, 10)
	mustAppend(t, s, batch)
	untilDirect(t, s)
	wantStored(t, remote.store, append(all, batch...))
}

func TestAppendIsIdempotentInTheSpool(t *testing.T) {
	remote := newFickle(t)
	remote.away()
	s := start(t, Options{Store: remote})
	batch := events(0, 10)
	mustAppend(t, s, batch[:6])
	before := s.Status()
	mustAppend(t, s, batch[:6])
	if st := s.Status(); st.Events != 6 || st.Bytes != before.Bytes {
		t.Errorf("twice the same: %+v, before %+v", st, before)
	}
	mustAppend(t, s, batch)
	remote.back()
	untilDirect(t, s)
	wantStored(t, remote.store, batch)
}

func TestFullSpoolRefuses(t *testing.T) {
	remote := newFickle(t)
	remote.away()
	s := start(t, Options{Store: remote, MaxBytes: 20_000})
	var kept, refused []store.Accepted
	for i := range 200 {
		batch := events(i, 1)
		_, err := s.Append(t.Context(), batch)
		switch {
		case err == nil:
			kept = append(kept, batch...)
			if len(refused) > 0 {
				t.Fatal("it took an event after it had refused one of the same size")
			}
		case !errors.Is(err, store.ErrUnavailable) || core.CodeOf(err) != core.CodeFull:
			t.Fatal(err)
		default:
			refused = append(refused, batch...)
		}
	}
	if st := s.Status(); len(kept) < 50 || len(refused) < 50 || st.Bytes > 20_000 {
		t.Fatalf("%d kept, %d refused, %+v", len(kept), len(refused), st)
	}
	remote.back()
	untilDirect(t, s)
	wantStored(t, remote.store, kept)
	for _, a := range refused {
		if _, err := remote.store.Event(t.Context(), a.Event.ID); core.CodeOf(err) != core.CodeNotFound {
			t.Fatalf("refused, and stored: %v", err)
		}
	}
	mustAppend(t, s, matched(t, refused))
}

func TestErrorOfAnEventIsIngests(t *testing.T) {
	remote := newFickle(t)
	fault := errors.New("invalid byte sequence")
	remote.set(func(context.Context, []store.Accepted) ([]store.Appended, error) { return nil, fault })
	s := start(t, Options{Store: remote})
	if _, err := s.Append(t.Context(), events(0, 2)); !errors.Is(err, fault) {
		t.Errorf("error %v: ingest has to find the culprit", err)
	}
	if st := s.Status(); st.State != StateDirect || st.Events != 0 {
		t.Errorf("status %+v", st)
	}
}

func TestMatchingThatFailsKeepsTheEvents(t *testing.T) {
	remote := newFickle(t)
	remote.away()
	failing := make(chan bool, 100)
	failing <- true
	failing <- true
	s := start(t, Options{Store: remote, Rematch: func(ctx context.Context, batch []store.Accepted) error {
		select {
		case <-failing:
			return errors.New("the endpoints could not be read")
		default:
			return toRoute(ctx, batch)
		}
	}})
	batch := events(0, 5)
	mustAppend(t, s, batch)
	remote.back()
	untilDirect(t, s)
	wantStored(t, remote.store, batch)
	if st := s.Status(); st.Aside != 0 {
		t.Errorf("status %+v", st)
	}
}

func TestMovedBytesAreNowhereInTheFolder(t *testing.T) {
	remote, dir := newFickle(t), t.TempDir()
	remote.away()
	s := start(t, Options{Store: remote, Dir: dir})
	const secret = "Jeanne-Moreau-12-rue-des-Lilas"
	for i := range 50 {
		mustAppend(t, s, []store.Accepted{event(i, strings.Repeat(secret, 1+i*10))})
	}
	if !folderHolds(t, dir, secret) {
		t.Fatal("the folder doesn't hold what waits: the test can't fail")
	}
	remote.back()
	untilDirect(t, s)
	end(s) // Run ends after it tidied
	if folderHolds(t, dir, secret) {
		t.Error("the folder still holds what was moved")
	}
	if info, err := os.Stat(filepath.Join(dir, databaseName)); err != nil || info.Size() > 64<<10 {
		t.Errorf("an empty spool takes %d bytes, %v", info.Size(), err)
	}
}

func folderHolds(t *testing.T, dir, text string) bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), text) {
			return true
		}
	}
	return false
}
