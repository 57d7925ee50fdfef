package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	startTimeout = time.Minute
	stopTimeout  = time.Minute
)

// process is a server that runs.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// launch starts a program as the servers' user, with its output in a file: a pipe would keep go test
// waiting for it.
func launch(as *syscall.Credential, log string, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()    // the program has its own copy
	cmd := exec.Command(program, args...) //nolint:gosec // the machine's own servers
	cmd.Dir = filepath.Dir(log)
	cmd.Stdout, cmd.Stderr = out, out
	// A group of its own: a Ctrl-C meant for go test is the janitor's to act on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// await returns when a database takes connections through the process.
func (p *process) await(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := connects(ctx, url)
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

// alive tells a server that answers from another one on its port.
func (p *process) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended at once:\n%s", filepath.Base(p.cmd.Path), p.tail())
	default:
		return nil
	}
}

// end sends a signal and waits until the process is gone; one that doesn't go is killed.
func (p *process) end(sig syscall.Signal) error {
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
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], []byte("\n")))
}

// signalTree signals a process and its children. The parent comes first: once stopped it makes no more
// of them.
func signalTree(parent int, sig syscall.Signal) error {
	if err := syscall.Kill(parent, sig); err != nil {
		return err
	}
	children, err := childrenOf(parent)
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

func childrenOf(parent int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	if len(stats) == 0 {
		return nil, errors.New("this system has no /proc to find the server's processes in")
	}
	var children []int
	for _, file := range stats {
		text, err := os.ReadFile(file) //nolint:gosec // under /proc
		if err != nil {
			continue // it has ended
		}
		// "12 (name) S 1 …": the name may hold anything, parentheses included.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(parent) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		children = append(children, pid)
	}
	slices.Sort(children)
	return children, nil
}
