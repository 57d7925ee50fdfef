package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Names of the hidden commands that a run starts besides serve. The one takes --config and --listen and
// answers as relais does without storing (ServeNoStore); the other takes --config, --data, --events and
// --old and fills an empty data folder (Prefill). The one to serve is serve itself, with --hang: a URL that
// the deliveries of lanes which aren't configured are posted to (PostTo).
const (
	CommandNoStore = "bench-nostore"
	CommandServe   = "bench-serve"
	CommandPrefill = "bench-prefill"
)

var errNoPort = errors.New("of a thousand local ports not two were free")

// child is a server under test.
type child struct {
	cmd     *exec.Cmd
	log     string
	address string
	admin   string // where it shows /ready and /metrics; "" for the no-store handler
	// database is where it stores; nil for a data folder of its own.
	database *database
	ended    chan struct{} // closed after it ended
}

// launch starts the binary. Its output goes to a file beside the data, which is shown when it fails.
func (r *run) launch(ctx context.Context, name string, args ...string) (*child, error) {
	cmd := exec.CommandContext(ctx, r.opts.Binary, args...) //nolint:gosec // the binary that is measured
	cmd.Dir = r.dir                                         // no .env of whoever runs this is read
	cmd.Env = plainEnvironment()
	endWithUs(cmd)
	return r.begin(cmd, name)
}

// begin starts a prepared command, with its log.
func (r *run) begin(cmd *exec.Cmd, name string) (*child, error) {
	file, err := os.Create(filepath.Join(r.dir, name+".log")) //nolint:gosec // in the run's own folder
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	defer file.Close() //nolint:errcheck // the child holds its own
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	c := &child{cmd: cmd, log: file.Name(), ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // however it ended, whoever needs it alive finds out
		close(c.ended)
	}()
	return c, nil
}

// plainEnvironment keeps variables that configure relais out of what is measured.
func plainEnvironment() []string {
	var kept []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "SYSTEMROOT"} {
		if value, ok := os.LookupEnv(name); ok {
			kept = append(kept, name+"="+value)
		}
	}
	return append(kept, "LANG=C")
}

// configure writes a configuration and returns its path.
func (r *run) configure(name string, s settings) (string, error) {
	path := filepath.Join(r.dir, name+".yaml")
	if err := os.WriteFile(path, []byte(s.text()), 0o600); err != nil {
		return "", fmt.Errorf("write a configuration: %w", err)
	}
	return path, nil
}

// serve starts relais on a data folder and returns it when it is ready, with how long that took.
func (r *run) serve(ctx context.Context, dir string, s settings) (*child, time.Duration, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, fmt.Errorf("make a data folder: %w", err)
	}
	config, err := r.configure(filepath.Base(dir), s)
	if err != nil {
		return nil, 0, err
	}
	address, admin, err := freeAddresses(ctx)
	if err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	args := []string{"serve", "--config", config, "--data", dir, "--listen", address, "--admin-listen", admin}
	if s.hang != "" {
		args[0] = CommandServe
		args = append(args, "--hang", s.hang)
	}
	c, err := r.launch(ctx, filepath.Base(dir), args...)
	if err != nil {
		return nil, 0, err
	}
	c.address, c.admin = address, admin
	ready := func() bool {
		_, err := c.ask(ctx, "/ready")
		return err == nil
	}
	if err := c.awaitReady(ctx, ready); err != nil {
		c.kill()
		return nil, 0, err
	}
	return c, time.Since(begin), nil
}

// serveNoStore starts the handler that verifies and answers as relais does and stores nothing.
func (r *run) serveNoStore(ctx context.Context) (*child, error) {
	config, err := r.configure("nostore", settings{})
	if err != nil {
		return nil, err
	}
	address, _, err := freeAddresses(ctx)
	if err != nil {
		return nil, err
	}
	c, err := r.launch(ctx, "nostore", CommandNoStore, "--config", config, "--listen", address)
	if err != nil {
		return nil, err
	}
	c.address = address
	err = c.awaitReady(ctx, func() bool {
		probe := conn{address: address, until: time.Now().Add(5 * time.Second)}
		defer probe.close()
		request := newRequest(address, sourcePath, sourceKey)
		status, err := probe.exchange(ctx, request.prepare(r.ids.take(1), time.Now()))
		return err == nil && status == 200
	})
	if err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

// readyWithin is how long a server may take before the run is given up.
const readyWithin = 60 * time.Second

// awaitReady asks every millisecond.
func (c *child) awaitReady(ctx context.Context, ready func() bool) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	late := time.After(readyWithin)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ended:
			return c.failure("ended before it was ready")
		case <-late:
			return c.failure("is not ready after " + readyWithin.String())
		case <-ticker.C:
			if ready() {
				return nil
			}
		}
	}
}

// ask gets a page of the admin address. Any answer but 200 is an error.
func (c *child) ask(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.admin+path, nil)
	if err != nil {
		return "", fmt.Errorf("ask for %s: %w", path, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask for %s: %w", path, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", fmt.Errorf("ask for %s: %w", path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%w: %s is answered %s", errAnswer, path, answer.Status)
	}
	return string(body), nil
}

// freeAddresses returns two local addresses that nobody listened on a moment ago. They lie below the
// range that systems take outgoing connections' ports from, of which this process makes many.
func freeAddresses(ctx context.Context) (one, other string, err error) {
	var addresses []string
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			continue // taken
		}
		defer listener.Close() //nolint:errcheck // held until both are known
		if addresses = append(addresses, address); len(addresses) == 2 {
			return addresses[0], addresses[1], nil
		}
	}
	return "", "", errNoPort
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill ends it as a power cut would, and returns when it is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended by itself
	<-c.ended
}

// stop asks it to end, and insists after a while.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.kill()
		return fmt.Errorf("stop the server under test: %w", err)
	}
	select {
	case <-c.ended:
		return nil
	case <-time.After(30 * time.Second):
		c.kill()
		return c.failure("did not stop within 30 s of SIGTERM")
	}
}

// alive is an error when the server ended while it was measured.
func (c *child) alive() error {
	select {
	case <-c.ended:
		return c.failure("ended while it was measured")
	default:
		return nil
	}
}

// failure says what happened, with the end of what the server said.
func (c *child) failure(what string) error {
	text, err := os.ReadFile(c.log)
	if err != nil {
		text = []byte(err.Error())
	}
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return fmt.Errorf("the server under test (%s) %s; it said:\n%s",
		strings.Join(c.cmd.Args, " "), what, bytes.TrimSpace(text))
}
