package main

import (
	"relais/internal/app"
)

type spoolCommands struct {
	Drain spoolDrain `cmd:"" help:"${cmd_spool_drain}"`
}

type spoolDrain struct {
	Dir string `arg:"" name:"dir" help:"${arg_spool}"`
	output
}

// Run moves a dead node's spool to the database.
func (s *spoolDrain) Run(p *program) error {
	drained, err := app.Drain(p.ctx, p.appOptions(), s.Dir, func(moved, waiting int) {
		if !s.JSON {
			p.complain("%s\n", p.lang.say("draining", moved, waiting))
		}
	})
	if err != nil {
		return p.configFailure(err)
	}
	if s.JSON {
		return p.printJSON(struct {
			Moved int `json:"moved"`
			Aside int `json:"aside"`
		}{drained.Moved, drained.Aside})
	}
	p.say("drained", drained.Moved, drained.Aside)
	return nil
}
