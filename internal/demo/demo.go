// Package demo plays the main job from end to end, with no account and no configuration: a sandbox of
// Sellsy in a process of its own, relais in this one on a temporary folder, and signed webhooks between
// them. It tells what happened and how long each answer took, and checks it: a demonstration that didn't
// go as it should says so.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"relais/internal/app"
	"relais/internal/core"
	"relais/internal/sandbox"
)

// Options are what the command line gives.
type Options struct {
	Out io.Writer
	// French tells the story in French.
	French bool
	// Once ends after the story; otherwise relais stays up, with what to try, until ctx ends.
	Once bool
	// Sandbox is the command that runs a sandbox (see sandbox.Main).
	Sandbox []string
	Version string
}

const (
	signingKey = "1eba7b47-ff42-4883-9b6b-f3d776151374"
	patience   = 20 * time.Second
)

// configuration is what relais runs with: what a user would write, but for the sandbox's addresses.
const configuration = `listen: %s
admin_listen: 127.0.0.1:0
log: {level: error}

sources:
  sellsy: {preset: sellsy, secret: "%s"}

connections:
  compta:
    kind: sellsy
    base_url: %s/v2
    client_id: sandbox-client
    client_secret: sandbox-secret

routes:
  facture-sur-devis-accepte:
    on: [sellsy/estimate.accepted, sellsy/estimate.step, sellsy/estimate.refused]
    steps:
      - id: facture
        use: sellsy/create-invoice
        with: {estimate: "${{ event.data.relatedid }}"}
`

// listened ends the demonstration once nobody reads what it tells.
type listened struct {
	io.Writer
	end context.CancelCauseFunc
}

func (l listened) Write(b []byte) (int, error) {
	n, err := l.Writer.Write(b)
	if err != nil {
		l.end(err)
	}
	return n, err
}

// Run plays the demonstration. It returns an error when something didn't go as it should.
func Run(ctx context.Context, o Options) (err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer func() {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause // of whatever failed after it
		}
		end(nil)
	}()
	o.Out = listened{o.Out, end}
	dir, err := os.MkdirTemp("", "relais-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &story{say: narrator{o.Out, o.French}, dir: dir, data: filepath.Join(dir, "data")}
	s.say.line(sIntro, dir)

	process := exec.CommandContext(ctx, o.Sandbox[0], o.Sandbox[1:]...) //nolint:gosec // relais itself
	process.Stderr = os.Stderr
	if s.sellsy, err = sandbox.Start(process); err != nil {
		return err
	}
	defer s.sellsy.Stop()
	s.say.line(sSandbox, s.sellsy.URL)

	running, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped, err := s.start(running, o.Version, freeAddress(ctx, "127.0.0.1:3000"), "127.0.0.1:0")
	if err != nil {
		return err
	}
	err = s.tell(ctx)
	if err == nil && !o.Once {
		s.invite()
		<-ctx.Done()
		s.say.line(sBye)
	}
	cancel()
	return errors.Join(err, <-stopped)
}

// start runs relais in this process on the first of the addresses that it can listen on, and returns once
// it is ready: an address that was free a moment ago may be taken.
func (s *story) start(ctx context.Context, version string, addresses ...string) (stopped <-chan error, err error) {
	for _, address := range addresses {
		if stopped, err = s.startOn(ctx, version, address); err == nil || ctx.Err() != nil {
			break
		}
	}
	return stopped, err
}

func (s *story) startOn(ctx context.Context, version, address string) (stopped <-chan error, err error) {
	config := filepath.Join(s.dir, "relais.yaml")
	text := fmt.Sprintf(configuration, address, signingKey, s.sellsy.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	began := time.Now()
	ready := make(chan app.Addresses, 1)
	a, err := app.New(ctx, app.Options{
		Config: config, Data: s.data, Version: version, Log: os.Stderr, Env: os.LookupEnv,
		ReadyDelay: time.Millisecond, Ready: func(where app.Addresses) { ready <- where },
	})
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	select {
	case where := <-ready:
		s.relais = newControl(where)
		s.say.line(sReady, time.Since(began).Milliseconds(), where.Listen)
		return ended, nil
	case err := <-ended:
		return nil, err
	}
}

// freeAddress is the wanted address, or a free port where it is taken.
func freeAddress(ctx context.Context, wanted string) string {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", wanted)
	if err != nil || l.Close() != nil {
		return "127.0.0.1:0"
	}
	return wanted
}

// failed is an error that says what the demonstration expected.
func failed(format string, args ...any) error {
	return core.Errorf(core.CodeConflict, format, args...)
}
