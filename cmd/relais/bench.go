package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"time"

	"relais/internal/app"
	"relais/internal/bench"
	"relais/internal/config"
	"relais/internal/source"
	"relais/internal/store"
)

func executable() (string, error) { return os.Executable() }

// Run measures.
func (b *benchCommand) Run(p *program) error {
	checked, err := verification()
	if err != nil {
		return err
	}
	report, err := bench.Run(p.ctx, bench.Options{
		Only: b.Only, Dir: b.Dir, Results: b.Results, Turn: b.Turn, Rounds: b.Rounds, Events: b.Events, Postgres: b.Postgres,
		Verification: checked, Table: p.stdout, Progress: p.stderr,
	})
	if err != nil {
		return err
	}
	missed := 0
	for _, t := range report.Targets {
		if !t.Met {
			missed++
		}
	}
	if missed > 0 {
		return &failure{code: exitFailed, text: p.lang.say("bench_missed", missed, len(report.Targets))}
	}
	return nil
}

// verification is that of a body of 2 KiB, signed as the best known senders do.
func verification() (bench.Verification, error) {
	const secret = "a secret of usual length, no more"
	src, err := source.Compile(config.Source{Preset: "github", Secrets: []config.Secret{config.NewSecret(secret)}}, source.Embedded())
	if err != nil {
		return bench.Verification{}, err
	}
	req := &source.Request{Method: http.MethodPost, Header: http.Header{}, Body: bytes.Repeat([]byte("x"), 2<<10), Now: time.Now()}
	if err := src.Sign(req); err != nil {
		return bench.Verification{}, err
	}
	return bench.Verification{
		What:  "HMAC-SHA256, 2 KiB",
		Whole: func() error { return src.Verify(req) },
		Bare: func() error {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write(req.Body)
			mac.Sum(nil)
			return nil
		},
	}, nil
}

// Run serves the handler that stores nothing, which the real one is compared with.
func (b *benchNoStoreCommand) Run(p *program) error {
	handler, err := app.NoStore(p.appOptions())
	if err != nil {
		return p.configFailure(err)
	}
	return bench.ServeNoStore(p.ctx, b.Listen, handler)
}

// Run serves as relais does, and posts what waits for destinations that aren't configured.
func (b *benchServeCommand) Run(p *program) error {
	o := p.appOptions()
	o.Listen, o.AdminListen, o.Others = b.Listen, b.AdminListen, bench.PostTo(b.Hang)
	return p.serve(o)
}

// Run fills a store; the routes come with the server that is started on it.
func (b *benchPrefillCommand) Run(p *program) error {
	return p.withStore(func(s store.Store) error {
		return bench.Prefill(p.ctx, s, bench.PrefillParams{Waiting: b.Events, Old: b.Old, First: b.First, Lanes: b.Lanes, Body: b.Body})
	})
}

// Run works off what waits.
func (b *benchDrainCommand) Run(p *program) error {
	return p.withStore(func(s store.Store) error {
		drained, err := bench.Drain(p.ctx, s, b.Deliveries)
		return errors.Join(err, json.NewEncoder(p.stdout).Encode(drained))
	})
}

// Run posts with Go's client alone.
func (b *benchPostCommand) Run(p *program) error {
	posted, err := bench.Post(p.ctx, b.URL, b.Body, b.For)
	return errors.Join(err, json.NewEncoder(p.stdout).Encode(posted))
}

// Run deletes what is old, as one more node.
func (b *benchRetainCommand) Run(p *program) error {
	return p.withStore(func(s store.Store) error {
		retained, err := bench.Retain(p.ctx, s, b.Age)
		return errors.Join(err, json.NewEncoder(p.stdout).Encode(retained))
	})
}

func (p *program) withStore(work func(store.Store) error) error {
	s, err := app.OpenStore(p.ctx, p.appOptions())
	if err != nil {
		return p.configFailure(err)
	}
	return errors.Join(work(s), s.Close())
}
