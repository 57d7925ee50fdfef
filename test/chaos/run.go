package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"relais/internal/sandbox"
)

type options struct {
	Kills   int
	Rate    float64
	MaxLife time.Duration
	Seed    uint64
	Results string
	Log     io.Writer
}

const (
	signingKey = "1eba7b47-ff42-4883-9b6b-f3d776151374"
	readyIn    = 10 * time.Second
	drainIn    = 3 * time.Minute
	// settle is the shortest that the sandbox's misbehaviour allows: an invoice exists at most a second
	// after its request ended, and is found at most 1.2 s after that.
	relaisYAML = `
listen: %s
admin_listen: %s
log: {level: warn, format: json}
lanes: {interrupted: 100000, window: 48, ready_delay: 0s}
ingest: {address_rate: 100000/s, address_burst: 100000}
sources:
  sellsy: {preset: sellsy, secret: "%s"}
connections:
  compta:
    kind: sellsy
    base_url: %s/v2
    client_id: sandbox-client
    client_secret: sandbox-secret
    request_timeout: 1s
    settle: 2500ms
    recheck: 500ms
routes:
  facture:
    on: [sellsy/estimate.accepted, sellsy/estimate.step]
    retry: [%s]
    steps:
      - use: sellsy/create-invoice
        with: {estimate: "${{ event.data.relatedid }}"}
`
)

// faults are how the sandbox misbehaves.
var faults = []string{
	"POST /v2/invoices p=0.05 drop_answer",
	"POST /v2/invoices p=0.05 commit_late=1s",
	"POST /v2/invoices p=0.25 search_lag=1200ms",
	"POST /v2/invoices p=0.02 drop_request",
	"POST /v2/invoices/search p=0.01 status=500",
	"GET /v2/estimates/* p=0.01 drop_request",
	"GET /v2/estimates/* p=0.005 status=401",
}

// world is everything that takes part.
type world struct {
	options
	dir     string
	binary  string
	listen  string
	sandbox *sandbox.Remote
	relais  *exec.Cmd
	random  *rand.Rand
	report  *report
}

func run(ctx context.Context, o options) (*report, error) {
	w := &world{options: o, random: rand.New(rand.NewPCG(o.Seed, 1)), report: newReport(o)}
	var err error
	if w.dir, err = os.MkdirTemp("", "relais-chaos-"); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(w.dir) }()
	if err := w.build(ctx); err != nil {
		return nil, err
	}
	if w.sandbox, err = startSandbox(ctx, w.dir); err != nil {
		return nil, err
	}
	defer w.sandbox.Stop()
	if err := w.configure(ctx); err != nil {
		return nil, err
	}
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	defer func() { w.kill() }()

	load := newLoad(w)
	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	var senders sync.WaitGroup
	senders.Go(func() { load.run(sending) })
	began := time.Now()
	// Whether a kill falls inside an open effect is chance: some more are made where too few did.
	for kill := 1; kill <= o.Kills || kill <= 2*o.Kills && w.report.InsideEffects < w.report.wantInside(); kill++ {
		if err := w.killOnce(ctx, kill); err != nil {
			return w.report, err
		}
	}
	w.report.Seconds = time.Since(began).Seconds()
	stopSending()
	senders.Wait()
	w.report.Acked, w.report.Sent = len(load.acked), load.sent
	if load.failure != nil {
		return w.report, load.failure
	}
	if err := w.drain(ctx); err != nil {
		return w.report, err
	}
	if err := w.terminate(); err != nil {
		return w.report, err
	}
	return w.report, w.count(ctx, load)
}

func (w *world) build(ctx context.Context) error {
	w.binary = filepath.Join(w.dir, "relais")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", w.binary, "relais/cmd/relais") //nolint:gosec // our own folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building relais: %w\n%s", err, out)
	}
	return nil
}

func (w *world) configure(ctx context.Context) error {
	var addresses [2]string
	var config net.ListenConfig
	for i := range addresses {
		l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		addresses[i] = l.Addr().String()
		if err := l.Close(); err != nil {
			return err
		}
	}
	w.listen = addresses[0]
	delays := strings.TrimSuffix(strings.Repeat("1s, ", 100), ", ")
	text := fmt.Sprintf(relaisYAML, addresses[0], addresses[1], signingKey, w.sandbox.URL, delays)
	return os.WriteFile(filepath.Join(w.dir, "relais.yaml"), []byte(text), 0o600)
}

// start starts relais and returns once it answers.
func (w *world) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(w.dir, "relais.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	w.relais = exec.Command(w.binary, "serve", "--config", filepath.Join(w.dir, "relais.yaml"), "--data", filepath.Join(w.dir, "data")) //nolint:noctx,gosec // it is killed by hand; what was just built
	w.relais.Stdout, w.relais.Stderr = log, log
	dialer := net.Dialer{Timeout: time.Second}
	began := time.Now()
	if err := w.relais.Start(); err != nil {
		return err
	}
	for time.Since(began) < readyIn && ctx.Err() == nil {
		conn, err := dialer.DialContext(ctx, "tcp", w.listen)
		if err == nil {
			w.report.noteStart(time.Since(began))
			return conn.Close()
		}
		<-time.After(2 * time.Millisecond)
	}
	return errors.Join(ctx.Err(), fmt.Errorf("relais did not answer within %s:\n%s", readyIn, w.lastLog()))
}

func (w *world) logf(format string, args ...any) { _, _ = fmt.Fprintf(w.Log, format, args...) }

func (w *world) kill() {
	if w.relais != nil {
		_ = w.relais.Process.Kill()
		_ = w.relais.Wait()
		w.relais = nil
	}
}

// killOnce lets relais live for a random time, kills it, looks at what it was doing, and starts it again.
func (w *world) killOnce(ctx context.Context, n int) error {
	life := 50*time.Millisecond + time.Duration(w.random.Int64N(int64(w.MaxLife)))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(life):
	}
	w.kill()
	open, err := w.openEffects(ctx)
	if err != nil {
		return err
	}
	w.report.noteKill(open)
	if n%10 == 0 {
		w.logf("%d of %d kills, %d inside open effects\n", n, w.Kills, w.report.InsideEffects)
	}
	return w.start(ctx)
}

// terminate stops relais as an operator would.
func (w *world) terminate() error {
	if err := w.relais.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := w.relais.Wait()
	w.relais = nil
	if err != nil {
		return fmt.Errorf("relais did not stop well: %w\n%s", err, w.lastLog())
	}
	return nil
}

func (w *world) lastLog() string {
	text, err := os.ReadFile(filepath.Join(w.dir, "relais.log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}
