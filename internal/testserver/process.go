//go:build unix

package testserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	startTimeout = time.Minute
	stopTimeout  = time.Minute
)

// Process is a server that runs.
type Process struct {
	cmd  *exec.Cmd
	Log  string        // the file of what it writes
	done chan struct{} // closed when it has ended
}

// Launch starts a program as the servers' user, with its output in a file: a pipe would keep go test
// waiting for it.
func Launch(as *syscall.Credential, log string, program string, args ...string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()                                 // the program has its own copy
	cmd := exec.CommandContext(context.Background(), program, args...) //nolint:gosec // the machine's own servers
	cmd.Dir = filepath.Dir(log)
	cmd.Stdout, cmd.Stderr = out, out
	// A group of its own: a Ctrl-C meant for go test is the janitor's to act on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, Log: log, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

func (p *Process) pid() int { return p.cmd.Process.Pid }

// Await returns when the server is ready, as ready tells.
func (p *Process) Await(ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return p.alive()
		}
		select {
		case <-p.done:
			return p.alive()
		case <-ctx.Done():
			return fmt.Errorf("%w\n%s", err, p.tail())
		case <-tick.C:
		}
	}
}

// FreePort chooses a port below those that systems give to outgoing connections, so that nobody gets it
// while a test's server is stopped. Another process may take it before it is used.
func FreePort() (int, error) {
	var err error
	for range 50 {
		port := 15000 + rand.IntN(17000)
		var l net.Listener
		if l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

// alive tells a server that answers from another one on its port.
func (p *Process) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended at once:\n%s", filepath.Base(p.cmd.Path), p.tail())
	default:
		return nil
	}
}

// End sends a signal and waits until the process is gone; one that doesn't go is killed.
func (p *Process) End(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		err := p.cmd.Process.Kill()
		<-p.done
		return errors.Join(fmt.Errorf("%v didn't end it:\n%s", sig, p.tail()), err)
	}
}

// tail is the end of the log, for messages.
func (p *Process) tail() string {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}

// Pause stops the process and its children. The process comes first: a stopped one makes no more of them.
func (p *Process) Pause() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// The signal is on its way when kill returns: until it has arrived, there may be one child more.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		now, err := status(p.pid())
		if err != nil {
			return err
		}
		if now.state == 'T' {
			break
		}
		select {
		case <-p.done:
			return fmt.Errorf("it has ended:\n%s", p.tail())
		case <-tick.C:
		}
	}
	return p.signalChildren(syscall.SIGSTOP)
}

// Resume is Pause undone. The children come first: the process may act on what it waited for.
func (p *Process) Resume() error {
	if err := p.signalChildren(syscall.SIGCONT); err != nil {
		return err
	}
	return p.cmd.Process.Signal(syscall.SIGCONT)
}

func (p *Process) signalChildren(sig syscall.Signal) error {
	children, err := childrenOf(p.pid())
	if err != nil {
		return err
	}
	for _, pid := range children {
		// One that has ended meanwhile is as silent as a stopped one.
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// stat is what the system says of a process.
type stat struct {
	state  byte // T is stopped
	parent int
}

func status(pid int) (stat, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	// "12 (name) S 1 …": the name may hold anything, parentheses included.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return stat{}, fmt.Errorf("process %d has the status %q", pid, text)
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return stat{state: fields[0][0], parent: parent}, err
}

func childrenOf(parent int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("find the server's processes: %w", err)
	}
	var children []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if found, err := status(pid); err == nil && found.parent == parent { // else it has ended
			children = append(children, pid)
		}
	}
	return children, nil
}
