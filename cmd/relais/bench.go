package main

import (
	"os"

	"relais/internal/app"
	"relais/internal/bench"
)

func executable() (string, error) { return os.Executable() }

// Run measures.
func (b *benchCommand) Run(p *program) error {
	report, err := bench.Run(p.ctx, bench.Options{
		Only: b.Only, Dir: b.Dir, Results: b.Results, Turn: b.Turn, Rounds: b.Rounds, Events: b.Events, Postgres: b.Postgres,
		Table: p.stdout, Progress: p.stderr,
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

// Run serves the handler that stores nothing, which the real one is compared with.
func (b *benchNoStoreCommand) Run(p *program) error {
	handler, err := app.NoStore(p.appOptions())
	if err != nil {
		return p.configFailure(err)
	}
	return bench.ServeNoStore(p.ctx, b.Listen, handler)
}

// Run fills an empty data folder; the routes come with the server that is started on it.
func (b *benchPrefillCommand) Run(p *program) error {
	o := p.appOptions()
	o.Config = ""
	s, err := app.OpenStore(p.ctx, o)
	if err != nil {
		return err
	}
	err = bench.Prefill(p.ctx, s, bench.PrefillParams{Waiting: b.Events, Old: b.Old})
	if closed := s.Close(); err == nil {
		err = closed
	}
	return err
}
