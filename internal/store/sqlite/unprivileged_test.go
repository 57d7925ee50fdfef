//go:build unix

package sqlite

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// unprivileged makes a command of root's run as somebody whom the folder's mode concerns.
func unprivileged(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	// The binary and the folder stand in temporary folders that only root may enter.
	binary := filepath.Join(os.TempDir(), filepath.Base(t.TempDir())+".test")
	content, err := os.ReadFile(cmd.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, content, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(binary) })
	cmd.Path = binary
	for _, path := range []string{dir, filepath.Join(dir, "lock"), filepath.Join(dir, databaseName)} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		if path != dir {
			if err := os.Chmod(path, 0o400); err != nil {
				t.Fatal(err)
			}
		}
	}
	for up := filepath.Dir(dir); up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
