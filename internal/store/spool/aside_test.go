package spool

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"relais/internal/store"
)

// refusing takes every batch but those with an event whose body is that.
func refusing(remote *fickle, body string) func(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
	return func(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
		for i := range batch {
			if bytes.Equal(batch[i].Event.Body, []byte(body)) {
				return nil, errors.New("invalid byte sequence")
			}
		}
		return remote.store.Append(ctx, batch)
	}
}

func TestRefusedEventHoldsNobodyUpAndIsKept(t *testing.T) {
	remote, dir := newFickle(t), t.TempDir()
	remote.away()
	s := start(t, Options{Store: remote, Dir: dir})
	batch := events(0, 300)
	mustAppend(t, s, batch)
	remote.set(refusing(remote, "123"))
	untilDirect(t, s)
	rest := append(append([]store.Accepted{}, batch[:123]...), batch[124:]...)
	wantStored(t, remote.store, rest)
	if n := remote.called(); n > 60 {
		t.Errorf("%d calls to find one event among 300", n)
	}
	st := s.Status()
	if st.Aside != 1 || st.AsideBytes != sizeOf(&batch[123]) || st.Events != 0 || st.Moved != 299 || st.LastError == "" {
		t.Errorf("status %+v", st)
	}
	end(s)

	s = start(t, Options{Store: remote, Dir: dir})
	if st := s.Status(); st.Aside != 1 || st.State != StateDirect {
		t.Errorf("after a restart: %+v", st)
	}
	mustAppend(t, s, matched(t, events(300, 1)))
	end(s)

	remote.back() // the store was mended
	s = start(t, Options{Store: remote, Dir: dir})
	until(t, s, "what was aside to be moved", func(st Status) bool { return st.Aside == 0 && st.Moved == 1 })
	wantStored(t, remote.store, batch[123:124])
}

func TestEveryRefusedEventIsKept(t *testing.T) {
	remote, dir := newFickle(t), t.TempDir()
	remote.away()
	s := start(t, Options{Store: remote, Dir: dir})
	batch := events(0, 40)
	mustAppend(t, s, batch)
	remote.set(func(context.Context, []store.Accepted) ([]store.Appended, error) {
		return nil, errors.New("no such column")
	})
	untilDirect(t, s)
	if st := s.Status(); st.Aside != 40 || st.Bytes != 0 {
		t.Errorf("status %+v", st)
	}
	end(s)
	remote.back()
	done, err := Drain(t.Context(), dir, remote, toRoute, nil)
	if err != nil || done.Moved != 40 || done.Aside != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	wantStored(t, remote.store, batch)
}

// What is aside takes its part of the bound, and isn't a reason to refuse what the store would take.
func TestSpoolFullOfRefusedEventsLeavesTheStore(t *testing.T) {
	remote := newFickle(t)
	remote.away()
	s := start(t, Options{Store: remote, MaxBytes: 3000})
	mustAppend(t, s, events(0, 12))
	remote.set(func(context.Context, []store.Accepted) ([]store.Appended, error) {
		return nil, errors.New("no such column")
	})
	until(t, s, "all to stand aside", func(st Status) bool { return st.Aside == 12 })
	remote.away()
	if _, err := s.Append(t.Context(), events(12, 10)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	remote.back()
	batch := matched(t, events(22, 10))
	mustAppend(t, s, batch)
	wantStored(t, remote.store, batch)
	untilDirect(t, s)
}
