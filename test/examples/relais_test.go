//go:build linux

package examples

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 30 * time.Second
	pollEach = 20 * time.Millisecond
)

// binary is the program as this tree has it, built once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "relais-examples-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "relais")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-ldflags", "-s -w", "-o", path, "./cmd/relais")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// built is the folder of what was built, removed at the end.
var built string

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// example is a folder of examples at work.
type example struct {
	t      *testing.T
	dir    string // a copy of the folder, with an .env of its own
	data   string
	binary string
	url    string
	admin  string // where /metrics is
	// environ is added to what relais has in its environment.
	environ []string

	relais *exec.Cmd
	ended  chan error
	mu     sync.Mutex
	log    strings.Builder
}

// play copies a folder of examples and starts relais on it, as its README says, with what .env is to hold. What
// else a test wants to be otherwise is done before relais reads anything.
func play(t *testing.T, name string, env map[string]string, before ...func(*example)) *example {
	t.Helper()
	return playFolder(t, filepath.Join("..", "..", "examples", name), env, before...)
}

// playFolder is play, for a folder that stands elsewhere.
func playFolder(t *testing.T, from string, env map[string]string, before ...func(*example)) *example {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	e := &example{t: t, dir: filepath.Join(t.TempDir(), filepath.Base(from)), binary: path}
	e.data = filepath.Join(e.dir, "relais-data")
	if err := os.CopyFS(e.dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for key, value := range env {
		lines.WriteString(key + "='" + value + "'\n")
	}
	if err := os.WriteFile(filepath.Join(e.dir, ".env"), []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, do := range before {
		do(e)
	}
	t.Cleanup(func() {
		e.kill()
		if t.Failed() {
			t.Logf("relais said:\n%s", e.logged())
		}
	})
	e.cli("check")
	e.start()
	return e
}

// edit replaces a text of the example's configuration, which must be there once.
func (e *example) edit(old, new string) {
	e.t.Helper()
	path := filepath.Join(e.dir, "relais.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		e.t.Fatalf("%q is not there once", old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// start starts relais and returns once it answers.
func (e *example) start() {
	e.t.Helper()
	e.relais = exec.CommandContext(context.Background(), e.binary, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	e.relais.Dir, e.relais.Env = e.dir, append(environment(), e.environ...)
	e.relais.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := e.relais.StderrPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := e.relais.Start(); err != nil {
		e.t.Fatal(err)
	}
	ready := make(chan string, 1)
	e.ended = make(chan error, 1)
	go func(relais *exec.Cmd, ended chan<- error) {
		e.read(out, ready)
		ended <- relais.Wait()
	}(e.relais, e.ended)
	select {
	case e.url = <-ready:
	case <-time.After(patience):
		e.t.Fatal("relais did not start")
	}
	if e.url == "" {
		e.t.Fatal("relais ended before it was ready")
	}
}

// read keeps what relais logs, and tells where it listens once it is ready; "" when it ends before.
func (e *example) read(out io.Reader, ready chan<- string) {
	defer close(ready)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		e.mu.Lock()
		e.log.WriteString(line + "\n")
		e.mu.Unlock()
		if _, rest, ok := strings.Cut(line, "relais is ready"); ok {
			address := func(name string) string {
				_, from, _ := strings.Cut(rest, " "+name+"=")
				address, _, _ := strings.Cut(from, " ")
				return "http://" + address
			}
			e.admin = address("admin")
			ready <- address("listen")
		}
	}
}

// logged is the end of what relais has logged.
func (e *example) logged() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := e.log.String()
	return text[max(0, len(text)-32<<10):]
}

// kill ends relais as a power cut does.
func (e *example) kill() {
	if e.ended == nil {
		return
	}
	_ = e.relais.Process.Kill()
	<-e.ended //nolint:errcheck // that it was killed is no news
	e.ended = nil
}

func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=C"}
}

// cli runs a command as the README has it, in the example's folder. It must succeed.
func (e *example) cli(args ...string) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.binary, args...)
	cmd.Dir, cmd.Env = e.dir, append(environment(), e.environ...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.t.Fatalf("relais %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// delivery is what relais deliveries shows.
type delivery struct {
	ID          string `json:"id"`
	Event       string `json:"event"`
	Destination string `json:"destination"`
	State       string `json:"state"`
	Priority    string `json:"priority"`
	Reason      string `json:"reason"`
	Message     string `json:"message"`
}

// deliveries lists all deliveries, the newest first.
func (e *example) deliveries() []delivery {
	e.t.Helper()
	var list struct {
		Items []delivery `json:"items"`
	}
	if err := json.Unmarshal([]byte(e.cli("deliveries", "--limit", "200", "--json")), &list); err != nil {
		e.t.Fatal(err)
	}
	return list.Items
}

// settled waits until no delivery waits or runs any more, and returns them.
func (e *example) settled() (all []delivery) {
	e.t.Helper()
	e.until("all deliveries end", func() bool {
		all = e.deliveries()
		for _, d := range all {
			if d.State == "pending" || d.State == "running" {
				return false
			}
		}
		return len(all) > 0
	})
	return all
}

// until polls for what the test waits for: another process's progress has no signal to wait on.
func (e *example) until(what string, holds func() bool) {
	e.t.Helper()
	e.within(patience, what, holds)
}

// within is until, for what takes longer.
func (e *example) within(patience time.Duration, what string, holds func() bool) {
	e.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); <-time.After(pollEach) {
		if time.Now().After(deadline) {
			e.t.Fatalf("%s: it did not happen within %s", what, patience)
		}
	}
}

// send sends a request to a path of relais, and returns the answer's status.
func (e *example) send(method, path, contentType, body string, header ...string) int {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode
}
