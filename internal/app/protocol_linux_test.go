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
	"relais/internal/sandbox/doli"
	"relais/internal/step"
	"relais/internal/step/dolibarr"
	"relais/internal/step/once"
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
	var first sync.Once
	hook := func(p once.Point) error {
		if string(p) == point {
			first.Do(func() {
				signal := syscall.SIGKILL
				if os.Getenv(signalVariable) == "stop" {
					signal = syscall.SIGSTOP
				}
				_ = syscall.Kill(os.Getpid(), signal)
			})
		}
		return nil
	}
	sellsy.SetHook(connections["compta"].Value, hook)
	dolibarr.SetHook(connections["compta"].Value, hook)
}

// invoicedBy is a system that invoices are made in, with one sale in it to be invoiced.
type invoicedBy struct {
	config string // with a connection called compta
	send   func(r *running) (int, string)
	made   func() []int64
}

const endingRetry = "    retry: [0s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]\n"

// ending are the systems, each misbehaving as it is told for its call that makes an invoice.
var ending = map[string]func(t *testing.T, fault string) invoicedBy{
	"sellsy": func(t *testing.T, fault string) invoicedBy {
		account := sellsySandbox(t, sandbox.Options{})
		if fault != "" {
			f, err := sandbox.ParseFault("POST /v2/invoices times=1 " + fault)
			if err != nil {
				t.Fatal(err)
			}
			account.Misbehave(f)
		}
		estimate, err := account.AddEstimate(sandbox.Estimate{})
		if err != nil {
			t.Fatal(err)
		}
		return invoicedBy{
			config: strings.Replace(invoicing(account.URL, endingRetry), "client_secret: sandbox-secret",
				"client_secret: sandbox-secret, request_timeout: 1s, settle: 2500ms, recheck: 500ms", 1),
			send: func(r *running) (int, string) { return r.post(signingKey, estimateStep(estimate, "first")) },
			made: func() []int64 { return account.InvoicesOf(estimate) },
		}
	},
	"dolibarr": func(t *testing.T, fault string) invoicedBy {
		erp := doli.New(doli.Options{})
		server := erp.Serve()
		t.Cleanup(server.Close)
		if fault != "" {
			if err := erp.Misbehave("POST /invoices times=1 " + fault); err != nil {
				t.Fatal(err)
			}
		}
		proposal := erp.AddProposal(doli.Proposal{})
		return invoicedBy{
			config: fmt.Sprintf(`
sources:
  erp: {preset: dolibarr, secret: dolibarr-token}
connections:
  compta: {kind: dolibarr, url: "%s", api_key: doli-key, request_timeout: 1s, settle: 2500ms, recheck: 500ms}
routes:
  facture:
    on: [erp/PROPAL_CLOSE_SIGNED]
    steps:
      - {use: dolibarr/create-invoice, with: {proposal: "${{ event.data.object.id }}"}}
%s`, server.URL, endingRetry),
			send: func(r *running) (int, string) {
				return r.postJSON("/webhook?token=dolibarr-token", fmt.Sprintf(`{"triggercode":"PROPAL_CLOSE_SIGNED","object":{"id":"%d"}}`, proposal))
			},
			made: func() []int64 { return erp.InvoicesOf(proposal) },
		}
	},
}

// A real process is killed, or stopped for longer than everything that could take its place waits, at each
// point of the invoice's protocol, while the other system behaves, drops its answer or commits late.
func TestOneInvoiceWhereverTheProcessEndsOrStalls(t *testing.T) {
	points := []once.Point{
		once.PointOpened, once.PointLookedUp, once.PointBefore, once.PointSent, once.PointLastByte,
		once.PointAnswered, once.PointConfirmed, once.PointDone,
	}
	for system := range ending {
		for _, point := range points {
			for _, signal := range []string{"kill", "stop"} {
				for _, fault := range []string{"", "drop_answer", "commit_late=800ms search_lag=1s"} {
					t.Run(fmt.Sprintf("%s: %s at %s %s", system, signal, point, fault), func(t *testing.T) {
						t.Parallel()
						endAt(t, ending[system](t, fault), point, signal, fault == "")
					})
				}
			}
		}
	}
}

// endAt ends a process at a point. A dropped answer may keep the points after it from being reached: the first
// life then goes on to its end.
func endAt(t *testing.T, system invoicedBy, point once.Point, signal string, always bool) {
	dir := t.TempDir()
	writeConfig(t, dir, system.config)
	first := startChild(t, dir, point, signal)
	if status, text := system.send(&running{t: t, at: Addresses{Listen: first.listen}}); status != http.StatusOK {
		t.Fatalf("answered %d %s", status, text)
	}
	patience, last := 8*time.Second, first
	if always {
		patience = 30 * time.Second
	}
	reached := false
	switch signal {
	case "kill":
		if reached = first.endedWithin(t, patience); reached {
			last = startChild(t, dir, "", "")
		}
	case "stop":
		if reached = first.stoppedWithin(t, patience); reached {
			<-time.After(stall) // what is tested is the passing of time
			if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}
	}
	if always && !reached {
		t.Errorf("the process never came to the point")
	}
	last.waitDone(t, dir)
	if invoices := system.made(); len(invoices) != 1 {
		t.Errorf("the sale has the invoices %v, want one", invoices)
	}
}

// childProcess is a relais in its own process.
type childProcess struct {
	cmd    *exec.Cmd
	listen string
	ended  chan struct{}
	log    *safeBuffer
}

func startChild(t *testing.T, dir string, point once.Point, signal string) *childProcess {
	t.Helper()
	c := &childProcess{ended: make(chan struct{}), log: &safeBuffer{}}
	c.cmd = childCommand(t, dir)
	c.cmd.Env = append(c.cmd.Env, pointVariable+"="+string(point), signalVariable+"="+signal)
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
