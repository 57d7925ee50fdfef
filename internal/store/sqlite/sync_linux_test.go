package sqlite

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"relais/internal/core"
)

// walFiles are the process's open descriptors of the store's WAL.
func walFiles(t *testing.T, s *Store) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var fds []int
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err == nil && strings.HasSuffix(target, filepath.Base(s.path)+"-wal") && strings.HasPrefix(target, filepath.Dir(s.path)) {
			fd, err := strconv.Atoi(e.Name())
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
		}
	}
	return fds
}

// TestFailedSyncIsNotAcknowledged puts a device under the WAL that takes writes and can't sync, and one
// that is full.
func TestFailedSyncIsNotAcknowledged(t *testing.T) {
	for device, code := range map[string]core.Code{"/dev/null": core.CodeUnavailable, "/dev/full": core.CodeFull} {
		s := openTest(t, Options{})
		first := benchBatch(1, 1)
		if _, err := s.Append(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		bad, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		var kept []int
		fds := walFiles(t, s)
		if len(fds) == 0 {
			t.Fatal("the WAL isn't open")
		}
		s.writer.turn.Lock()
		for _, fd := range fds {
			copied, err := syscall.Dup(fd)
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, copied)
			if err := syscall.Dup3(int(bad.Fd()), fd, syscall.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
		}
		s.writer.turn.Unlock()
		batch := benchBatch(3, 1)
		_, err = s.Append(t.Context(), batch)
		wantAway(t, err, code)
		if device == "/dev/full" { // the file is the same again; after a failed sync the store opens it anew
			s.writer.turn.Lock()
			for i, fd := range fds {
				if err := syscall.Dup3(kept[i], fd, syscall.O_CLOEXEC); err != nil {
					t.Fatal(err)
				}
			}
			s.writer.turn.Unlock()
		}
		if _, err := s.Append(t.Context(), batch); err != nil {
			t.Fatalf("%s: with the disk back: %v", device, err)
		}
		for _, a := range append(first, batch...) {
			if _, err := s.Event(t.Context(), a.Event.ID); err != nil {
				t.Errorf("%s: %v", device, err)
			}
		}
		checkIntegrity(t, s)
		for _, fd := range kept {
			_ = syscall.Close(fd)
		}
		_ = bad.Close()
		_ = s.Close()
	}
}
