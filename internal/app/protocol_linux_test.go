package app

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relais/internal/sandbox"
	"relais/internal/step"
	"relais/internal/step/sellsy"
)

const (
	pointVariable  = "RELAIS_APP_TEST_POINT"
	signalVariable = "RELAIS_APP_TEST_SIGNAL"
	// stall is longer than the lease of a node (7.5 s), than the settle time, and than any deadline.
	stall = 11 * time.Second
)

// endAtPoint makes the process send itself a signal the first time that it reaches a point of the
// protocol.
func endAtPoint(connections step.Connections) {
	point := os.Getenv(pointVariable)
	if point == "" {
		return
	}
	var once sync.Once
	sellsy.SetHook(connections["compta"].Value, func(p sellsy.Point) error {
		if string(p) == point {
			once.Do(func() {
				signal := syscall.SIGKILL
				if os.Getenv(signalVariable) == "stop" {
					signal = syscall.SIGSTOP
				}
				_ = syscall.Kill(os.Getpid(), signal)
			})
		}
		return nil
	})
}

// A real process is killed, or stopped for longer than everything that could take its place waits, at each
// point of the invoice's protocol, while Sellsy behaves, drops its answer or commits late.
func TestOneInvoiceWhereverTheProcessEndsOrStalls(t *testing.T) {
	points := []sellsy.Point{
		sellsy.PointOpened, sellsy.PointLookedUp, sellsy.PointBefore, sellsy.PointSent, sellsy.PointLastByte,
		sellsy.PointAnswered, sellsy.PointConfirmed, sellsy.PointDone,
	}
	for _, point := range points {
		for _, signal := range []string{"kill", "stop"} {
			for _, fault := range []string{"", "POST /v2/invoices times=1 drop_answer", "POST /v2/invoices times=1 commit_late=800ms search_lag=1s"} {
				t.Run(fmt.Sprintf("%s at %s %s", signal, point, fault), func(t *testing.T) {
					t.Parallel()
					endAt(t, point, signal, fault)
				})
			}
		}
	}
}

func endAt(t *testing.T, point sellsy.Point, signal, fault string) {
	account := sellsySandbox(t, sandbox.Options{})
	if fault != "" {
		f, err := sandbox.ParseFault(fault)
		if err != nil {
			t.Fatal(err)
		}
		account.Misbehave(f)
	}
	estimate, err := account.AddEstimate(sandbox.Estimate{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// A dropped answer may keep the points after it from being reached: the first life then ends on its own.
	writeConfig(t, dir, strings.Replace(invoicing(account.URL, "    retry: [0s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]\n"), "client_secret: sandbox-secret",
		"client_secret: sandbox-secret, request_timeout: 1s, settle: 2500ms, recheck: 500ms", 1))
	first := startChild(t, dir, point, signal)
	first.sendQuote(t, estimate, "first")
	switch signal {
	case "kill":
		if first.endedWithin(t, 8*time.Second) {
			startChild(t, dir, "", "").waitDone(t, dir)
			break
		}
		first.waitDone(t, dir)
	case "stop":
		if first.stoppedWithin(t, 8*time.Second) {
			<-time.After(stall) // what is tested is the passing of time
			if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}
		first.waitDone(t, dir)
	}
	if invoices := account.InvoicesOf(estimate); len(invoices) != 1 {
		t.Errorf("the quote has the invoices %v, want one", invoices)
	}
}

// childProcess is a relais in its own process.
type childProcess struct {
	cmd    *exec.Cmd
	listen string
	ended  chan struct{}
	log    *safeBuffer
}

func startChild(t *testing.T, dir string, point sellsy.Point, signal string) *childProcess {
	t.Helper()
	c := &childProcess{ended: make(chan struct{}), log: &safeBuffer{}}
	c.cmd = exec.CommandContext(t.Context(), os.Args[0])
	c.cmd.Env = append(os.Environ(), childVariable+"="+dir, pointVariable+"="+string(point), signalVariable+"="+signal)
	c.cmd.Stderr = c.log
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, c.log.String())
	}
	c.listen = strings.Fields(line)[0]
	go func() {
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.ended
	})
	return c
}

func (c *childProcess) sendQuote(t *testing.T, estimate int64, unique string) {
	t.Helper()
	r := &running{t: t, at: Addresses{Listen: c.listen}}
	if status, text := r.post(signingKey, estimateStep(estimate, unique)); status != http.StatusOK {
		t.Fatalf("answered %d %s", status, text)
	}
}

func (c *childProcess) endedWithin(t *testing.T, d time.Duration) bool {
	t.Helper()
	select {
	case <-c.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// stoppedWithin tells whether the process was stopped by its signal.
func (c *childProcess) stoppedWithin(t *testing.T, d time.Duration) bool {
	t.Helper()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if _, after, ok := strings.Cut(string(text), ") "); ok && strings.HasPrefix(after, "T") {
			return true
		}
	}
	return false
}

// waitDone waits until the process says over its socket that no delivery is left, and that none is dead.
func (c *childProcess) waitDone(t *testing.T, dir string) {
	t.Helper()
	client := socketClient(filepath.Join(dir, "data", "relais.sock"))
	var last string
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		response, err := client.Get("http://relais/api/v1/deliveries")
		if err != nil {
			last = err.Error()
			continue
		}
		last = readAll(t, response)
		if strings.Contains(last, `"state":"dead"`) {
			t.Fatalf("the delivery is dead: %s", last)
		}
		if strings.Contains(last, `"state":"succeeded"`) && !strings.Contains(last, `"state":"pending"`) && !strings.Contains(last, `"state":"running"`) {
			return
		}
	}
	t.Fatalf("the delivery did not end: %s\n%s", last, c.log.String())
}
