package sqlite

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
)

func TestFolderIsForOneProcess(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir, Sync: SyncOff})
	_, err := Open(t.Context(), Options{Dir: dir})
	if core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("the second opener got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	openTest(t, Options{Dir: dir, Sync: SyncOff})
}

func TestFolderIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := openTest(t, Options{Dir: dir, Sync: SyncOff})
	if _, err := s.Append(t.Context(), benchBatch(1, 1)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 4 { // database, WAL, its index, lock
		t.Errorf("%d files", len(entries))
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
}

func TestDatabaseOfLaterVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir, Sync: SyncOff})
	s.onWriter(t, "PRAGMA user_version = 99")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: dir}); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("error %v", err)
	}
}

func TestPurgedBytesAreNowhereInTheFolder(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Dir: dir, Sync: SyncOff})
	const secret = "Jeanne-Moreau-12-rue-des-Lilas"
	var ids []core.EventID
	for i := range 300 {
		batch := benchBatch(1, 1)
		if i%3 == 0 {
			batch[0].Event.Body = bytes.Repeat([]byte(secret+" "), 1+i*7%400)
			batch[0].Event.Header = []byte("X-Name: " + secret + "\r\n")
			batch[0].Event.Query = "name=" + secret
			ids = append(ids, batch[0].Event.ID)
		}
		if _, err := s.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	finishAll(t, s, secret)
	if !folderHolds(t, dir, secret) {
		t.Fatal("before the purge the folder doesn't hold it: the test can't fail")
	}
	if n, err := s.Purge(t.Context(), ids, "anne"); err != nil || n != len(ids) {
		t.Fatalf("%d purged, %v", n, err)
	}
	if folderHolds(t, dir, secret) {
		t.Error("the folder still holds it while the store is open")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if folderHolds(t, dir, secret) {
		t.Error("the folder still holds it")
	}
}

// finishAll ends all deliveries, after a retry, with traces and steps that hold the text.
func finishAll(t *testing.T, s *Store, text string) {
	t.Helper()
	for range 2 {
		for {
			claimed, err := s.Claim(t.Context(), store.ClaimParams{Node: "n", Max: 50, Lanes: []store.LaneRoom{{Lane: 1, Max: 50}}})
			if err != nil {
				t.Fatal(err)
			}
			if len(claimed) == 0 {
				break
			}
			var outcomes []store.Outcome
			for _, c := range claimed {
				o := store.Outcome{Holder: store.Holder{Delivery: c.Delivery.ID, Claim: c.Delivery.Claim, Node: "n"}, Verdict: store.VerdictSucceeded}
				if bytes.Contains(c.Event.Body, []byte(text)) {
					o.Message = "for " + text
					o.Attempt.Trace = fmt.Appendf(nil, `{"to":%q}`, text)
					o.Steps = []store.StepResult{{Step: "s", Definition: "d", Result: fmt.Appendf(nil, `{"to":%q}`, text)}}
				}
				if c.Delivery.Claim == 1 {
					o.Verdict = store.VerdictRetry
				}
				outcomes = append(outcomes, o)
			}
			if _, err := s.Finish(t.Context(), outcomes); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func folderHolds(t *testing.T, dir, text string) bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	holds := false
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(content, []byte(text)); n > 0 {
			t.Logf("%s holds it %d times", e.Name(), n)
			holds = true
		}
	}
	return holds
}
