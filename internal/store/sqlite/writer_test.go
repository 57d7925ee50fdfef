package sqlite

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

func TestWritersTimeIsSharedByWeight(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	w := newWriter(s, SyncOff) // one that doesn't run: its queues only
	for k := range kinds {
		for range 2000 {
			w.add(k, &op{done: make(chan struct{})})
		}
	}
	var served [kinds]int
	for range 1150 {
		k, _ := w.next()
		served[k]++
		w.charge(k, time.Millisecond)
	}
	for k, want := range [kinds]int{ingest: 400, outcome: 400, claiming: 200, housekeeping: 100, rejecting: 50} {
		if served[k] < want-2 || served[k] > want+2 {
			t.Errorf("queue %d was served %d times of 1150, want %d", k, served[k], want)
		}
	}
}

func TestFloodLeavesOthersTheirTurn(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = s.Append(ctx, benchBatch(20, 3))
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = s.AppendRejections(ctx, make([]store.Rejection, 20), store.RejectionBounds{PerSource: 100})
			}
		})
	}
	for range 50 {
		begun := time.Now()
		if err := s.Beat(ctx, "n", time.Second); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("an outcome waited %s in a flood", took)
		}
	}
	cancel()
	wg.Wait()
}

func TestWALStaysBoundedUnderSteadyWriting(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff, CheckpointBytes: 1 << 20})
	var written, largest int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 4 {
		wg.Go(func() {
			for range 500 {
				batch := benchBatch(20, 3)
				if _, err := s.Append(t.Context(), batch); err != nil {
					t.Error(err)
					return
				}
				info, err := os.Stat(s.path + "-wal")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				largest = max(largest, info.Size())
				written = s.writer.pages.Load() * pageSize
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if written < 100<<20 || largest > 32<<20 {
		t.Errorf("of %d MiB written, the WAL had grown to %d MiB: want at most 32", written>>20, largest>>20)
	}
}

func TestLongReadIsInterrupted(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff, ReaderTimeout: 50 * time.Millisecond})
	begun := time.Now()
	err := s.read(t.Context(), func(c *conn) error {
		q := c.q("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
		q.next()
		return q.end()
	})
	if core.CodeOf(err) != core.CodeUnavailable || time.Since(begun) > time.Second {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
	// A machine that is busy may not come to a first row in the shortest time.
	rows := 0
	for timeout := 50 * time.Millisecond; rows == 0 && timeout < 10*time.Second; timeout *= 4 {
		s = openTest(t, Options{Sync: SyncOff, ReaderTimeout: timeout})
		err = s.read(t.Context(), func(c *conn) error {
			q := c.q("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
			for q.next() {
				rows++
			}
			return q.end()
		})
		if core.CodeOf(err) != core.CodeUnavailable {
			t.Errorf("after %d rows: %v", rows, err)
		}
	}
	if rows == 0 {
		t.Error("no read came to a row before it was interrupted")
	}
	if _, err := s.Stats(t.Context()); err != nil {
		t.Errorf("the next read: %v", err)
	}
}
