package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"relais/internal/sandbox"
)

// remote is the sandbox in its own process.
type remote struct {
	url string
	cmd *exec.Cmd
}

func startSandbox(ctx context.Context, dir string) (*remote, error) {
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
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the sandbox did not start: %w", err)
	}
	return &remote{url: strings.TrimSpace(strings.TrimPrefix(line, "sandbox ")), cmd: cmd}, nil
}

func (r *remote) stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// newEstimates makes accepted estimates, each of a company of its own.
func (r *remote) newEstimates(ctx context.Context, count int) ([]int64, error) {
	body, err := json.Marshal(sandbox.NewEstimates{Count: count})
	if err != nil {
		return nil, err
	}
	var made struct {
		IDs []int64 `json:"ids"`
	}
	err = r.call(ctx, http.MethodPost, "/sandbox/estimates", body, &made)
	return made.IDs, err
}

func (r *remote) inspect(ctx context.Context) (sandbox.Inspection, error) {
	var i sandbox.Inspection
	return i, r.call(ctx, http.MethodGet, "/sandbox/invoices", nil, &i)
}

func (r *remote) call(ctx context.Context, method, path string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, r.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the sandbox answered %s %s with %s", method, path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}
