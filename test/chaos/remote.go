package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	"relais/internal/sandbox"
)

// startSandbox starts this program as the sandbox.
func startSandbox(ctx context.Context, dir string) (*sandbox.Remote, error) {
	args := []string{"-journal", filepath.Join(dir, "sandbox.jsonl")}
	for _, fault := range faults {
		args = append(args, "-fault", fault)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), sandboxVariable+"=1")
	cmd.Stderr = os.Stderr
	return sandbox.Start(cmd)
}
