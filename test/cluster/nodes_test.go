//go:build linux

// Package cluster runs several relais, as processes, on one PostgreSQL, and shows what a user of several
// nodes is promised: versions side by side, order, retention, routes, roles, spools, and one end for each
// delivery. What is killed and cut off at random stands in test/chaos.
package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"relais/internal/store/postgres/pgtest"
)

const (
	patience = 60 * time.Second // of whoever waits for what must happen, on a busy machine
	pollEach = 10 * time.Millisecond
	settings = `listen: 127.0.0.1:0
admin_listen: 127.0.0.1:0
store: "%s"
log: {level: info, format: json}
lanes: {ready_delay: 0s, interrupted: 1000, breaker_after: 100000}
sources:
  shop: {auth: none}
`
	ingestSettings = "ingest: {address_rate: 100000/s, address_burst: 100000%s}\n"
)

// cluster is one database, and the nodes that a test starts on it.
type cluster struct {
	t   *testing.T
	url string
	db  *pgxpool.Pool
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, url: pgtest.URL(t)}
	var err error
	if c.db, err = pgxpool.New(context.WithoutCancel(t.Context()), c.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.db.Close)
	return c
}

// one reads a number from the database.
func (c *cluster) one(sql string, args ...any) int {
	c.t.Helper()
	var n int
	if err := c.db.QueryRow(c.t.Context(), sql, args...).Scan(&n); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// exec changes the database.
func (c *cluster) exec(sql string, args ...any) {
	c.t.Helper()
	if _, err := c.db.Exec(c.t.Context(), sql, args...); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
}

// until polls for what the test waits for.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: it did not happen within %s", what, patience)
		}
		<-time.After(pollEach) // another process's progress has no signal to wait on
	}
}

// drained waits until every delivery has ended.
func (c *cluster) drained() {
	c.t.Helper()
	until(c.t, "all deliveries ended", func() bool { return c.one("SELECT count(*) FROM delivery WHERE state < 2") == 0 })
}

// node is one relais.
type node struct {
	c      *cluster
	name   string
	dir    string
	binary string
	args   []string
	url    string // of the database, as this node reaches it
	ingest string // further settings of ingest

	relais        *exec.Cmd
	log           *lines
	listen, admin string
	ended         chan error
}

// node makes a node that isn't started. Its log is shown when the test fails.
func (c *cluster) node(name, routes string) *node {
	c.t.Helper()
	n := &node{c: c, name: name, dir: c.t.TempDir(), binary: current(c.t), url: c.url, log: newLines()}
	n.configure(routes)
	c.t.Cleanup(func() {
		n.kill()
		if c.t.Failed() {
			c.t.Logf("log of %s:\n%s", name, n.log.last(6000))
		}
	})
	return n
}

// configure writes the node's configuration.
func (n *node) configure(routes string) {
	n.c.t.Helper()
	text := fmt.Sprintf(settings, n.url) + fmt.Sprintf(ingestSettings, n.ingest) + routes
	if err := os.WriteFile(n.config(), []byte(text), 0o600); err != nil {
		n.c.t.Fatal(err)
	}
}

func (n *node) config() string { return filepath.Join(n.dir, "relais.yaml") }
func (n *node) data() string   { return filepath.Join(n.dir, "data") }

// begin starts the process.
func (n *node) begin() {
	n.c.t.Helper()
	args := append([]string{"serve", "--config", n.config(), "--data", n.data()}, n.args...)
	n.relais = exec.Command(n.binary, args...)
	n.relais.Env = environment()
	n.log = newLines()
	n.relais.Stdout, n.relais.Stderr = n.log, n.log
	// A test that is itself killed leaves no node behind.
	n.relais.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.relais.Start(); err != nil {
		n.c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	n.ended = ended
	relais, log := n.relais, n.log
	go func() {
		ended <- relais.Wait()
		log.end()
	}()
}

// start starts the node and returns once it answers.
func (n *node) start() *node {
	n.c.t.Helper()
	n.begin()
	var ready struct{ Listen, Admin string }
	if err := json.Unmarshal([]byte(n.logged("relais is ready")), &ready); err != nil {
		n.c.t.Fatal(err)
	}
	n.listen, n.admin = ready.Listen, ready.Admin
	return n
}

func environment() []string { return append(os.Environ(), "LANG=C", "LC_ALL=C", "GOMAXPROCS=2") }

// logged waits for a line of the log that holds the words.
func (n *node) logged(words string) string {
	n.c.t.Helper()
	line, ok := n.log.wait(words)
	if !ok {
		n.c.t.Fatalf("%s did not log %q:\n%s", n.name, words, n.log.last(4000))
	}
	return line
}

func (n *node) pid() int { return n.relais.Process.Pid }

// like is the node's name in the database, for LIKE.
func (n *node) like() string { return "%-" + strconv.Itoa(n.pid()) + "-%" }

func (n *node) signal(s syscall.Signal) {
	n.c.t.Helper()
	if err := n.relais.Process.Signal(s); err != nil {
		n.c.t.Fatal(err)
	}
}

// kill ends the node as a power cut does. One that doesn't run stays so.
func (n *node) kill() {
	if n.ended != nil {
		_ = n.relais.Process.Kill()
		err := <-n.ended
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) { // that it was killed is what was wanted
			n.c.t.Errorf("%s: %v", n.name, err)
		}
		n.ended = nil
	}
}

// stop ends the node as an operator does.
func (n *node) stop() {
	n.c.t.Helper()
	n.signal(syscall.SIGTERM)
	err := <-n.ended
	n.ended = nil
	if err != nil {
		n.c.t.Fatalf("%s did not stop well: %v\n%s", n.name, err, n.log.last(4000))
	}
}

// run runs a command of the node's, and returns what it prints and its exit code.
func (n *node) run(args ...string) (out string, code int) {
	n.c.t.Helper()
	ctx, cancel := context.WithTimeout(n.c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.binary, append(args, "--config", n.config(), "--data", n.data())...)
	cmd.Env = environment()
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(text), exit.ExitCode()
	}
	if err != nil {
		n.c.t.Fatalf("relais %s: %v", strings.Join(args, " "), err)
	}
	return string(text), 0
}

// cli runs a command that must succeed.
func (n *node) cli(args ...string) string {
	n.c.t.Helper()
	out, code := n.run(args...)
	if code != 0 {
		n.c.t.Fatalf("relais %s ended with %d:\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// items runs a command that lists, and reads what it lists.
func items[T any](n *node, args ...string) []T {
	n.c.t.Helper()
	var list struct {
		Items []T `json:"items"`
	}
	text := n.cli(append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		n.c.t.Fatalf("relais %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return list.Items
}

var client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// message is an event's body: update n of a key.
type message struct {
	Type string `json:"type"`
	Key  string `json:"key"`
	N    int    `json:"n"`
}

// send posts a message to a node, and returns the answer's status; 0 is no answer. Sent twice, it is a repeat.
func (n *node) send(m message) (int, http.Header) {
	body, err := json.Marshal(m)
	if err != nil {
		return 0, nil
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+n.listen+"/in/shop", bytes.NewReader(body))
	if err != nil {
		return 0, nil
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", fmt.Sprintf("%s/%s/%d", m.Type, m.Key, m.N))
	response, err := client.Do(request)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, nil
	}
	return response.StatusCode, response.Header
}

// accept sends messages that must be acknowledged.
func (n *node) accept(messages ...message) {
	n.c.t.Helper()
	for _, m := range messages {
		if status, _ := n.send(m); status != http.StatusOK {
			n.c.t.Fatalf("%s answered %+v with %d", n.name, m, status)
		}
	}
}

// lines is a log that can be waited on.
type lines struct {
	mu    sync.Mutex
	more  *sync.Cond
	text  []byte
	ended bool
}

func newLines() *lines {
	l := &lines{}
	l.more = sync.NewCond(&l.mu)
	return l
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	l.more.Broadcast()
	return len(p), nil
}

func (l *lines) end() {
	l.mu.Lock()
	l.ended = true
	l.more.Broadcast()
	l.mu.Unlock()
}

// find returns the first whole line that holds the words.
func (l *lines) find(words string) (string, bool) {
	for line := range bytes.Lines(l.text) {
		if bytes.HasSuffix(line, []byte("\n")) && bytes.Contains(line, []byte(words)) {
			return string(line), true
		}
	}
	return "", false
}

// has tells whether a line holds the words.
func (l *lines) has(words string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, found := l.find(words)
	return found
}

// wait waits for a line that holds the words, until the process has ended or patience is over.
func (l *lines) wait(words string) (string, bool) {
	over := false
	timer := time.AfterFunc(patience, func() {
		l.mu.Lock()
		over = true
		l.more.Broadcast()
		l.mu.Unlock()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if line, ok := l.find(words); ok {
			return line, true
		}
		if over || l.ended {
			return "", false
		}
		l.more.Wait()
	}
}

func (l *lines) last(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text[max(0, len(l.text)-n):])
}
