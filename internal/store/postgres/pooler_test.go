//go:build unix

package postgres

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

func TestPoolerIsMetAtOpen(t *testing.T) {
	at := database(t)
	if s := openAt(t, at); s.network.Load() != direct {
		t.Error("without a pooler one was met")
	}
	if s := openAt(t, pgtest.Bouncer(t, at)); s.network.Load() != pooled {
		t.Error("PgBouncer wasn't met")
	}
}

// A pooler can be put before the database while a node runs: a name in the DNS changes.
func TestPoolerThatComesLaterFailsNothing(t *testing.T) {
	var log bytes.Buffer
	s, err := Open(t.Context(), Options{
		URL: pgtest.Bouncer(t, database(t)), Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.network.Store(unknown) // as if it weren't there yet
	s.pool.Reset()
	log.Reset()
	var all sync.WaitGroup
	failed := make(chan error, 400)
	for range 8 {
		all.Go(func() {
			for range 50 {
				_, err := s.Append(t.Context(), []store.Accepted{accepted()})
				failed <- err
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.network.Load() != pooled {
		t.Error("the pooler wasn't met")
	}
	if err := s.Close(); err != nil { // nobody writes to the log any more
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "pooler stands before"); n != 1 {
		t.Errorf("told %d times, want once:\n%s", n, log.String())
	}
}

// PgBouncer 1.18 dies of a request to cancel.
func TestCallerWhoLeavesDoesNotEndThePooler(t *testing.T) {
	s := openAt(t, pgtest.Bouncer(t, database(t)))
	for range 20 {
		ctx, leave := context.WithCancel(t.Context())
		err := s.read(ctx, func(t *tx) error {
			leave()
			return t.exec("SELECT pg_sleep(0.01)")
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("a read whose caller left gave %v", err)
		}
		if _, err := s.Append(t.Context(), []store.Accepted{accepted()}); err != nil {
			t.Fatalf("after it a write gave %v", err)
		}
	}
}
