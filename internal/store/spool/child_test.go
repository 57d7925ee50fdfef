//go:build unix

package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"relais/internal/store"
	"relais/internal/store/sqlite"
	"relais/internal/store/storetest"
)

func TestMain(m *testing.M) {
	storetest.Main(m, map[string]func(dir string) error{
		"append":     childAppends,
		"open":       childOpens,
		"small disk": childSmallDisk,
	})
}

// The child's folder holds the spool, and the store that stands for the database.
func spoolFolder(dir string) string { return filepath.Join(dir, "spool") }
func storeFolder(dir string) string { return filepath.Join(dir, "database") }

// childAppends acknowledges events one by one, by printing their ids, until it is killed. Its store goes away
// and comes back, is slow, and loses answers.
func childAppends(dir string) error {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, sqlite.Options{Dir: storeFolder(dir), Sync: sqlite.SyncOff})
	if err != nil {
		return err
	}
	remote := &fickle{store: db}
	mood, left := 0, 0
	moods := make(chan int)
	go func() {
		for {
			if left--; left <= 0 {
				mood, left = rand.IntN(5), rand.IntN(40)
			}
			moods <- mood
		}
	}()
	remote.on = func(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
		switch <-moods {
		case 0:
			return nil, errAway
		case 1:
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		case 2:
			if _, err := db.Append(ctx, batch); err != nil {
				return nil, err
			}
			return nil, errAway
		}
		return db.Append(ctx, batch)
	}
	s, err := New(Options{Dir: spoolFolder(dir), Store: remote, Rematch: toRoute, Bound: 5 * time.Millisecond})
	if err != nil {
		return err
	}
	go s.Run(ctx)
	for i := 0; ; i++ {
		batch := events(i, 1)
		batch[0].Force = true // serials begin again in each life
		if err := toRoute(ctx, batch); err != nil {
			return err
		}
		if _, err := s.Append(ctx, batch); err != nil {
			return err
		}
		fmt.Println(batch[0].Event.ID)
	}
}

func childOpens(dir string) error {
	fmt.Println(opening(dir))
	return nil
}

func TestFolderIsForOneProcess(t *testing.T) {
	remote, dir := newFickle(t), t.TempDir()
	remote.away()
	s := start(t, Options{Store: remote, Dir: dir})
	mustAppend(t, s, events(0, 1))
	said := func() string {
		cmd, lines := storetest.Child(t, "open", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines.Scan()
		text := lines.Text()
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		return text
	}
	if got := said(); !strings.Contains(got, "in use by another process") {
		t.Errorf("another process was told %q", got)
	}
	_ = opening(dir) // refused here: its closing must not drop the lock
	if got := said(); !strings.Contains(got, "in use by another process") {
		t.Errorf("another process was told %q", got)
	}
	end(s)
	if got := said(); got != "<nil>" {
		t.Errorf("after the first one's end: %q", got)
	}
}

// childSmallDisk spools with a bound on the size of its files, which is a disk that is full, and lifts the bound
// again.
func childSmallDisk(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	remote := &fickle{}
	remote.away()
	s, err := New(Options{Dir: dir, Store: remote, Rematch: toRoute})
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
	refused := 0
	var left []store.Accepted
	for i := range 300 {
		batch := events(i, 1)
		batch[0].Event.Body = []byte(strings.Repeat("x", 2000))
		_, err := s.Append(ctx, batch)
		switch {
		case err == nil:
			fmt.Println(batch[0].Event.ID)
		case !errors.Is(err, store.ErrUnavailable):
			return fmt.Errorf("not unavailable: %w", err)
		default:
			refused++
			left = append(left, batch...)
		}
	}
	if refused == 0 || refused == 300 {
		return fmt.Errorf("%d refused of 300", refused)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if _, err := s.Append(ctx, left); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	for i := range left {
		fmt.Println(left[i].Event.ID)
	}
	if st := s.Status(); st.Events != 300 {
		return fmt.Errorf("%d wait", st.Events)
	}
	return s.Close()
}
