package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"relais/internal/api"
	"relais/internal/app"
	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/demo"
	"relais/internal/sandbox"
)

// Run serves until it is told to stop.
func (s *serveCommand) Run(p *program) error {
	o := p.appOptions()
	o.Listen, o.AdminListen, o.Role = s.Listen, s.AdminListen, app.Role(s.Role)
	return p.serve(o)
}

func (p *program) serve(o app.Options) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // what lives is small, but for a flood of large bodies
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(1 << 30) // past it, garbage is collected as often as it takes
	}
	if os.Getenv("GOMAXPROCS") == "" {
		// One more than there are cores: one of them nearly always waits for the disk to sync.
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
	a, err := app.New(p.ctx, o)
	if core.CodeOf(err) == core.CodeConflict {
		refused := &failure{code: exitAway, text: p.lang.answer(err.Error())}
		socket := filepath.Join(p.flags.Data, api.SocketName)
		// A database can refuse too, and then nobody is to be asked.
		if _, err := os.Stat(socket); err == nil {
			refused.hint = p.lang.say("hint_serve_locked", socket)
		}
		return refused
	}
	if err != nil {
		return p.configFailure(err)
	}
	hangUps, stop := reloadSignals()
	defer stop()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case <-hangUps:
				// What was wrong is in the log, in the metrics and in the status.
				_ = a.Reload(p.ctx)
			case <-ended:
				return
			}
		}
	}()
	return a.Run(p.ctx)
}

// configFailure tells what is wrong with a configuration, all of it.
func (p *program) configFailure(err error) error {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	p.configProblems(problems)
	return &failure{code: exitConfig, text: p.lang.say("config_problems", len(problems), p.flags.Config)}
}

func (p *program) configProblems(problems config.Problems) {
	p.problems(apiProblems(problems))
}

func apiProblems(problems config.Problems) []api.Problem {
	out := make([]api.Problem, len(problems))
	for i, x := range problems {
		out[i] = api.Problem{File: x.Place.File, Line: x.Place.Line, Column: x.Place.Column, Path: x.Path, Message: x.Message}
	}
	return out
}

// Run checks the configuration.
func (c *checkCommand) Run(p *program) error {
	cfg, err := app.Check(p.appOptions())
	if c.JSON {
		return p.checkJSON(cfg, err)
	}
	if err != nil {
		return p.configFailure(err)
	}
	for _, x := range apiProblems(cfg.Warnings) {
		x.Path, x.Message = p.lang.say("warning", x.Path), p.lang.answer(x.Message)
		p.printf("%s\n", problemLine(x))
	}
	for _, v := range cfg.Variables {
		from := p.lang.say("environment")
		if v.From != "" {
			from = v.From
		}
		p.say("variable_used", v.Name, from)
	}
	p.say("checked", p.flags.Config, len(cfg.Sources), len(cfg.Connections), len(cfg.Routes))
	return nil
}

func (p *program) checkJSON(cfg *config.Config, err error) error {
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	out := api.Checked{OK: err == nil, Problems: apiProblems(problems)}
	if out.OK {
		out.Warnings = apiProblems(cfg.Warnings)
	}
	if err := p.printJSON(out); err != nil || out.OK {
		return err
	}
	return &failure{code: exitConfig}
}

// Run describes what the configuration takes in.
func (c *asyncapiCommand) Run(p *program) error {
	text, err := app.AsyncAPI(p.appOptions())
	if err != nil {
		return p.configFailure(err)
	}
	p.printf("%s", text)
	return nil
}

// Run plays the demonstration.
func (d *demoCommand) Run(p *program) error {
	binary, err := executable()
	if err != nil {
		return err
	}
	outliveOutput()
	err = demo.Run(p.ctx, demo.Options{
		Out: p.stdout, French: p.lang == french, Once: d.Once, Version: p.version, Sandbox: []string{binary, sandboxCommandName},
	})
	return err
}

const sandboxCommandName = "sandbox"

// Run runs the imitation of Sellsy, for the demonstration and tests.
func (s *sandboxCommand) Run(p *program) error { return sandbox.Main(p.ctx, s.Args, p.stdout) }
