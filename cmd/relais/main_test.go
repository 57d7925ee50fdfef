package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"relais/internal/api"
	"relais/internal/sandbox"
	"relais/internal/sandbox/doli"
)

// TestMain makes this test's binary the relais that the scripts run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"relais": func() { os.Exit(run()) }})
}

// TestScripts plays test/script: what a person types, and what comes back.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "../../test/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("LANG", "C")
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve":  serve,
			"stop":   stop,
			"hup":    func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(serverOf(ts).hangUp(args...)) },
			"grab":   grab,
			"get":    get,
			"until":  until,
			"mute":   mute,
			"erp":    erp,
			"crm":    crm,
			"flood":  flood,
			"killed": killed,
			"each":   each,
		},
	})
}

// erp starts an imitation of Dolibarr with a signed proposal, and sets ERP to its address.
func erp(ts *testscript.TestScript, _ bool, _ []string) {
	// What was touched just now is left to its webhook.
	before := time.Now().Add(-10 * time.Minute)
	d := doli.New(doli.Options{Now: func() time.Time { return before }})
	an := before.Unix()
	d.AddProposal(doli.Proposal{ID: 12, More: doli.Object{"date_creation": an, "date_validation": an, "date_signature": an}})
	d.AddProposal(doli.Proposal{ID: 13, Status: 1, More: doli.Object{"date_creation": an, "date_validation": an, "date_signature": ""}})
	served := d.Serve()
	ts.Defer(served.Close)
	ts.Setenv("ERP", served.URL)
}

// crm starts an imitation of Sellsy with an accepted estimate, and sets CRM to its address.
func crm(ts *testscript.TestScript, _ bool, _ []string) {
	s, err := sandbox.Serve("", sandbox.Options{})
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.Close()) })
	_, err = s.AddEstimate(sandbox.Estimate{ID: 52437688})
	ts.Check(err)
	_, err = s.AddEstimate(sandbox.Estimate{ID: 52437689, Status: "sent"})
	ts.Check(err)
	ts.Setenv("CRM", s.URL)
}

// server is a relais that a script started.
type server struct {
	cmd   *exec.Cmd
	lines chan string
}

// running are the servers by their script's folder; scripts run at the same time.
var running sync.Map

func serverOf(ts *testscript.TestScript) *server {
	s, ok := running.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("no server runs")
	}
	return s.(*server)
}

// serve starts relais, waits until it is ready, and sets LISTEN and ADMIN to its addresses.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	binary, err := exec.LookPath("relais") // TestMain put it on the path
	ts.Check(err)
	cmd := exec.Command(binary, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "TMPDIR=" + ts.Getenv("TMPDIR"), "LANG=C"}
	log, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	s := &server{cmd: cmd, lines: make(chan string, 1000)}
	go s.read(log)
	running.Store(ts.Getenv("WORK"), s)
	ts.Defer(func() { _ = cmd.Process.Kill() }) // it has ended by itself when all went well
	line, err := s.wait("relais is ready")
	ts.Check(err)
	for name, pattern := range map[string]string{"LISTEN": ` listen=(\S+)`, "ADMIN": ` admin=(\S+)`} {
		ts.Setenv(name, regexp.MustCompile(pattern).FindStringSubmatch(line)[1])
	}
}

// stop ends the server as its supervisor would, and waits for it.
func stop(ts *testscript.TestScript, _ bool, _ []string) {
	s := serverOf(ts)
	ts.Check(s.cmd.Process.Signal(os.Interrupt))
	_, err := s.wait("relais has stopped")
	ts.Check(err)
	ts.Check(s.cmd.Wait())
	running.Delete(ts.Getenv("WORK"))
}

var errEnded = errors.New("the server ended")

// wait reads the log until a line holds the text, and returns it.
func (s *server) wait(text string) (string, error) {
	return s.waitFor(regexp.MustCompile(regexp.QuoteMeta(text)))
}

func (s *server) waitFor(pattern *regexp.Regexp) (string, error) {
	var seen []string
	for line := range s.lines {
		if pattern.MatchString(line) {
			return line, nil
		}
		seen = append(seen, line)
	}
	return "", fmt.Errorf("%w before it said %q:\n%s", errEnded, pattern, strings.Join(seen, "\n"))
}

// hangUp asks for a reload and waits for its line in the log; one that a pattern matches, where it is given.
func (s *server) hangUp(patterns ...string) error {
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	_, err := s.waitFor(regexp.MustCompile(cmp.Or(append(patterns, "configuration")...)))
	return err
}

// read gives the log's lines to whoever waits for one; lines that nobody waits for are dropped when the
// channel is full, so that the server never blocks on its log.
func (s *server) read(log io.Reader) {
	defer close(s.lines)
	for scanner := bufio.NewScanner(log); scanner.Scan(); {
		select {
		case s.lines <- scanner.Text():
		default:
		}
	}
}

// grab sets a variable to what a pattern's group finds in the last command's output.
func grab(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: grab VARIABLE PATTERN")
	}
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) < 2 {
		ts.Fatalf("%q finds nothing in:\n%s", args[1], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], found[1])
}

// until runs a command until its output matches: refusals are stored behind their answers.
func until(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[0])
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-again.C {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("%q is never in the output; the last:\n%s", args[0], ts.ReadFile("stdout"))
}

// get writes what an address answers to the file "got"; with a pattern, once that is in it: a request is
// counted after its answer left.
func get(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(strings.Join(args[1:], " "))
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	var text []byte
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-again.C {
		answer, err := http.Get(args[0])
		ts.Check(err)
		text, err = io.ReadAll(answer.Body)
		ts.Check(err)
		ts.Check(answer.Body.Close())
		if pattern.Match(text) {
			ts.Check(os.WriteFile(ts.MkAbs("got"), text, 0o600))
			return
		}
	}
	ts.Fatalf("%q is never in the answer of %s; the last:\n%s", pattern, args[0], text)
}

// mute puts a socket into a data folder on which nobody ever answers.
func mute(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("unix", filepath.Join(ts.MkAbs(args[0]), api.SocketName))
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() }) // the script is over
}
