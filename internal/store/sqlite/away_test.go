//go:build unix

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/storetest"
)

func wantAway(t *testing.T, err error, code core.Code) {
	t.Helper()
	if !errors.Is(err, store.ErrUnavailable) || core.CodeOf(err) != code {
		t.Fatalf("error %v (code %q): want one that is unavailable, with code %q", err, core.CodeOf(err), code)
	}
}

func TestFullDatabaseAcknowledgesNothingAndRecovers(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	s.onWriter(t, "PRAGMA max_page_count = 200")
	acked, refused := map[core.EventID]bool{}, []store.Accepted{}
	for len(refused) < 5 {
		batch := benchBatch(20, 3)
		if _, err := s.Append(t.Context(), batch); err != nil {
			wantAway(t, err, core.CodeFull)
			refused = append(refused, batch...)
			continue
		}
		for _, a := range batch {
			acked[a.Event.ID] = true
		}
	}
	for _, a := range refused {
		if _, err := s.Event(t.Context(), a.Event.ID); core.CodeOf(err) != core.CodeNotFound {
			t.Errorf("refused, and stored: %v", err)
		}
	}
	s.onWriter(t, "PRAGMA max_page_count = 100000")
	if _, err := s.Append(t.Context(), refused); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	for id := range acked {
		if _, err := s.Event(t.Context(), id); err != nil {
			t.Errorf("acknowledged: %v", err)
		}
	}
	checkIntegrity(t, s)
}

// childSmallDisk runs with a bound on the size of its files, which is a disk that fails where it is
// full, and lifts the bound again.
func childSmallDisk(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	s, err := Open(ctx, Options{Dir: dir})
	if err != nil {
		return err
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 300_000, Max: old.Max}); err != nil {
		return err
	}
	var mu sync.Mutex
	var acked, refused []store.Accepted
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				batch := benchBatch(1, 2)
				_, err := s.Append(ctx, batch)
				mu.Lock()
				if err == nil {
					acked = append(acked, batch...)
				} else {
					refused = append(refused, batch...)
					if !errors.Is(err, store.ErrUnavailable) {
						fmt.Println("not unavailable:", err)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(refused) == 0 || len(acked) == 0 {
		return fmt.Errorf("%d acknowledged and %d refused on a small disk", len(acked), len(refused))
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	// The same calls again: what was stored by a commit whose outcome was unknown is not stored twice.
	if _, err := s.Append(ctx, refused); err != nil {
		return fmt.Errorf("with a large disk again: %w", err)
	}
	for _, a := range append(acked, refused...) {
		if _, err := s.Event(ctx, a.Event.ID); err != nil {
			return fmt.Errorf("acknowledged: %w", err)
		}
		list, err := s.Deliveries(ctx, store.DeliveryFilter{Event: a.Event.ID})
		if err != nil || len(list) != 1 {
			return fmt.Errorf("%d deliveries, %w", len(list), err)
		}
	}
	fmt.Println("recovered")
	return s.Close()
}

func TestFailingDiskAcknowledgesNothingAndRecovers(t *testing.T) {
	cmd, lines := storetest.Child(t, "small disk", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	if err := cmd.Wait(); err != nil || strings.Join(said, "\n") != "recovered" {
		t.Errorf("the child said %q, %v", said, err)
	}
}

func TestForeignLockIsToldAndWaitedOut(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	other, err := connect(s.path, readWrite, "PRAGMA busy_timeout = 5000")
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if err := other.exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	batch := benchBatch(1, 1)
	_, err = s.Append(t.Context(), batch)
	wantAway(t, err, core.CodeUnavailable)
	if err := other.exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), batch); err != nil {
		t.Errorf("without the lock: %v", err)
	}
}

// childReadOnly may read its folder and not write it.
func childReadOnly(dir string) error {
	_, err := Open(context.Background(), Options{Dir: dir})
	fmt.Println(core.CodeOf(err), err)
	return nil
}

func TestReadOnlyFolderIsTold(t *testing.T) {
	dir := t.TempDir()
	if err := openTest(t, Options{Dir: dir, Sync: SyncOff}).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	cmd, lines := storetest.Child(t, "readonly", dir)
	if os.Getuid() == 0 {
		unprivileged(t, cmd, dir)
	} else {
		for _, name := range []string{"lock", databaseName} {
			if err := os.Chmod(dir+"/"+name, 0o400); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines.Scan()
	if said := lines.Text(); !strings.HasPrefix(said, string(core.CodeUnavailable)+" ") {
		t.Errorf("the child said %q", said)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
