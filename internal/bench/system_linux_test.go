package bench

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFolderThatPostgreSQLCannotReachIsNamed(t *testing.T) {
	closed := filepath.Join(onDisk(t), "closed")
	run := filepath.Join(closed, "run")
	if err := errors.Join(os.Mkdir(closed, 0o700), os.Mkdir(run, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := reachable(run, "postgres"); err == nil || !strings.Contains(err.Error(), closed) {
		t.Errorf("a folder below one that is closed: %v", err)
	}
	if err := os.Chmod(closed, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := reachable(run, "postgres"); err != nil {
		t.Error(err)
	}
}
