package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// Remote is a sandbox in a process of its own, which lives on when the relais that it is for is killed.
type Remote struct {
	URL string
	cmd *exec.Cmd
}

// remoteTime bounds a request to a sandbox.
const remoteTime = 10 * time.Second

// Start starts a program that is Main, and returns once it listens.
func Start(cmd *exec.Cmd) (*Remote, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the sandbox of Sellsy did not start: %w", errors.Join(err, cmd.Wait()))
	}
	return &Remote{URL: strings.TrimSpace(strings.TrimPrefix(line, "sandbox ")), cmd: cmd}, nil
}

// Stop ends the process.
func (r *Remote) Stop() {
	_ = r.cmd.Process.Kill() // it may have ended with its context
	_ = r.cmd.Wait()
}

// AddEstimates makes estimates and returns their ids.
func (r *Remote) AddEstimates(ctx context.Context, e NewEstimates) ([]int64, error) {
	var made struct {
		IDs []int64 `json:"ids"`
	}
	err := r.call(ctx, "/sandbox/estimates", e, &made)
	return made.IDs, err
}

// Notify has the sandbox send a webhook.
func (r *Remote) Notify(ctx context.Context, n Notification) (Answer, error) {
	var a Answer
	return a, r.call(ctx, "/sandbox/notify", n, &a)
}

// Inspect tells which invoices each estimate has.
func (r *Remote) Inspect(ctx context.Context) (Inspection, error) {
	var i Inspection
	return i, r.call(ctx, "/sandbox/invoices", nil, &i)
}

// InvoicesOf reads the invoices of an estimate into a list.
func (r *Remote) InvoicesOf(ctx context.Context, estimate int64, list any) error {
	return r.call(ctx, fmt.Sprintf("/sandbox/invoices?estimate=%d", estimate), nil, list)
}

// call posts body as JSON, or gets where there is none.
func (r *Remote) call(ctx context.Context, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, remoteTime)
	defer cancel()
	method, text := http.MethodGet, []byte(nil)
	if body != nil {
		var err error
		method = http.MethodPost
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, r.URL+path, bytes.NewReader(text))
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
