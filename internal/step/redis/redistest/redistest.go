//go:build unix

// Package redistest gives tests a real Redis: a server of this machine's redis-server, on a free port of
// 127.0.0.1, with its files in a temporary folder. It ends with the test, and with the test's process
// however that ends. A machine without redis-server fails the test.
package redistest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

const startTimeout = 20 * time.Second

// Server is a Redis that runs.
type Server struct {
	// Address is its host:port.
	Address string

	t     testing.TB
	dir   string
	args  []string
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// underTest runs the server until its own input ends: that is when the test closes it, or has gone.
const underTest = `redis-server "$@" & server=$!; read -r _; kill -9 $server; wait $server`

// Start starts a server. What follows are more of redis-server's arguments, such as "--requirepass", "x".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatalf("redistest: redis-server is missing: scripts/setup installs it")
	}
	s := &Server{t: t, dir: t.TempDir(), args: args}
	// Between finding a port and using it another program may take it.
	var err error
	for range 5 {
		if err = s.freePort(); err == nil {
			if err = s.launch(); err == nil {
				t.Cleanup(s.Stop)
				return s
			}
		}
	}
	t.Fatalf("redistest: %v", err)
	return nil
}

// URL is the server's address as a connection of kind redis takes it.
func (s *Server) URL() string { return "redis://" + s.Address }

// TLS lets a server whose certificate was given to Start speak TLS too, and returns at which address.
func (s *Server) TLS() string {
	s.t.Helper()
	var err error
	for range 5 {
		other := &Server{}
		if err = other.freePort(); err != nil {
			continue
		}
		_, port, _ := net.SplitHostPort(other.Address)
		if _, err = s.do("CONFIG", "SET", "tls-port", port); err == nil {
			return other.Address
		}
	}
	s.t.Fatalf("redistest: %v", err)
	return ""
}

// Stop ends the server at once, as a power cut would.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.stdin.Close()
	_ = s.cmd.Wait() // it was killed
	s.cmd = nil
}

// Restart starts a stopped server again at the same address, with nothing in it.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.launch(); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// Do sends one command over a connection of its own, and returns the first line of the answer, or the
// text of a bulk one.
func (s *Server) Do(words ...string) string {
	s.t.Helper()
	answer, err := s.do(words...)
	if err != nil {
		s.t.Fatalf("redistest: %s: %v", words[0], err)
	}
	return answer
}

func (s *Server) freePort() error {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Address = l.Addr().String()
	return l.Close()
}

func (s *Server) launch() error {
	_, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return err
	}
	args := append([]string{"-c", underTest, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", s.dir, "--logfile", "redis.log"}, s.args...)
	s.cmd = exec.CommandContext(context.Background(), "sh", args...) //nolint:gosec // the machine's own server, with a test's arguments
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	if err := s.await(); err != nil {
		s.Stop()
		return err
	}
	return nil
}

// await returns when the server answers, whatever it says.
func (s *Server) await() error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := s.do("PING"); err == nil || strings.HasPrefix(err.Error(), "-") {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("redis-server didn't answer on %s within %s", s.Address, startTimeout)
		}
	}
}

func (s *Server) do(words ...string) (string, error) {
	var dialer net.Dialer
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&out, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(conn, out.String()); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if err != nil || line == "" {
		return "", fmt.Errorf("no answer: %w", err)
	}
	switch line[0] {
	case '-':
		return "", fmt.Errorf("%s", line)
	case '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 {
			return "", err
		}
		text := make([]byte, n)
		_, err = io.ReadFull(r, text)
		return string(text), err
	}
	return line[1:], nil
}
