package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"relais/internal/store"
)

// TestFailedSyncIsNotAcknowledged puts a device under the spool's log that takes writes and can't sync.
func TestFailedSyncIsNotAcknowledged(t *testing.T) {
	remote, dir := newFickle(t), t.TempDir()
	remote.away()
	s := start(t, Options{Store: remote, Dir: dir})
	all := events(0, 4)
	mustAppend(t, s, all[:1])
	bad, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	replaced := 0
	s.disk.mu.Lock()
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil || !strings.HasPrefix(target, dir) || !strings.HasSuffix(target, databaseName+"-wal") {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Dup3(int(bad.Fd()), fd, syscall.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		replaced++
	}
	s.disk.mu.Unlock()
	if replaced == 0 {
		t.Fatal("the log isn't open")
	}
	if _, err := s.Append(t.Context(), all[1:]); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("error %v: it wasn't synced", err)
	}
	mustAppend(t, s, all[1:]) // the spool was opened again
	if st := s.Status(); st.Events != 4 {
		t.Errorf("status %+v", st)
	}
	remote.back()
	untilDirect(t, s)
	wantStored(t, remote.store, all)
}
