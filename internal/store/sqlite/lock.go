package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"relais/internal/core"
)

// lockFolder makes sure that one process at a time has the data folder. The lock is the kernel's and
// not the file's existence: a crash leaves none behind.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's folder
	if err != nil {
		return nil, core.Errorf(core.CodeUnavailable, "the data folder can't be used: %w", err)
	}
	taken, err := lockFile(f)
	if err != nil {
		_ = f.Close()
		return nil, core.Errorf(core.CodeUnavailable, "the data folder %s can't be locked: %w", dir, err)
	}
	if !taken {
		holder, _ := os.ReadFile(path) //nolint:gosec // as above
		_ = f.Close()
		return nil, core.Errorf(core.CodeConflict, "the data folder %s is in use by process %s", dir, strings.TrimSpace(string(holder)))
	}
	if err := f.Truncate(0); err == nil {
		// Who holds the lock is only for the message above: a full disk doesn't matter.
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	return f, nil
}
