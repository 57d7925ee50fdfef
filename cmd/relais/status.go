package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"relais/internal/api"
	"relais/internal/app"
)

// Run shows what relais says of itself.
func (s *statusCommand) Run(p *program) error {
	return p.with(func(c *client) error {
		var out api.Status
		if err := c.get("/status", nil, &out); err != nil {
			return err
		}
		return show(p, s.output, &out, p.status)
	})
}

func (p *program) status(s *api.Status) error {
	state := p.lang.say("state_ready")
	stopped := slices.Contains(s.Reasons, app.NotRunning)
	switch {
	case stopped:
		state = p.lang.say("state_stopped")
	case !s.Ready:
		state = strings.Join(s.Reasons, ", ")
	}
	refused := ""
	if s.Config.Refused != nil {
		refused = p.lang.say("reload_refused", when(s.Config.Refused.At), len(s.Config.Refused.Problems))
	}
	waits := ""
	if s.Stats.OldestSeconds > 0 {
		waits = p.lang.short(time.Duration(s.Stats.OldestSeconds * float64(time.Second)))
	}
	up := ""
	if !stopped {
		up = p.lang.short(time.Duration(s.Uptime * float64(time.Second)))
	}
	err := p.fields("f_version", s.Version, "f_state", state, "f_up", up,
		"f_config", s.Config.File, "f_sources", strings.Join(s.Config.Sources, ", "), "f_routes", strings.Join(s.Config.Routes, ", "), "f_refused", refused, "f_restart", strings.Join(s.Config.Restart, ", "),
		"f_pending", p.number(s.Stats.Pending), "f_running", p.number(s.Stats.Running), "f_dead", p.number(s.Stats.Dead),
		"f_oldest", waits, "f_store", p.lang.size(s.Stats.UsedBytes), "f_first", when(s.Stats.FirstEvent))
	if err != nil || len(s.Pauses) == 0 {
		return err
	}
	return p.pauses(&api.List[api.Pause]{Items: s.Pauses})
}

// Run reloads the configuration.
func (r *reloadCommand) Run(p *program) error {
	return p.with(func(c *client) error {
		var out api.Checked
		if err := c.post("/reload", struct{}{}, &out); err != nil {
			return err
		}
		if r.JSON {
			if err := p.printJSON(out); err != nil || out.OK {
				return err
			}
			return &failure{code: exitConfig}
		}
		if !out.OK {
			p.problems(out.Problems)
			return &failure{code: exitConfig, text: p.lang.say("not_reloaded")}
		}
		if len(out.Restart) > 0 {
			p.say("reloaded_but", strings.Join(out.Restart, ", "))
			return nil
		}
		p.say("reloaded")
		return nil
	})
}

func (p *program) problems(problems []api.Problem) {
	for _, x := range problems {
		x.Message = p.lang.answer(x.Message)
		p.printf("%s\n", problemLine(x))
	}
}

// problemLine is written as compilers do, so that editors jump to it.
func problemLine(x api.Problem) string {
	place := x.File
	if x.Line > 0 {
		place += fmt.Sprintf(":%d:%d", x.Line, x.Column)
	}
	return strings.Join(append(nonEmpty(place, x.Path), x.Message), ": ")
}

func nonEmpty(texts ...string) []string {
	var out []string
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

// Run pauses, or lists what is paused.
func (c *pauseCommand) Run(p *program) error {
	return p.with(func(to *client) error {
		var list api.List[api.Pause]
		var err error
		if c.Scope == "" {
			err = to.get("/pauses", nil, &list)
		} else {
			err = to.post("/pause", api.Pause{Scope: c.Scope, Name: c.Name, Reason: c.Reason}, &list)
		}
		if err != nil {
			return err
		}
		return show(p, c.output, &list, p.pauses)
	})
}

// Run resumes.
func (c *resumeCommand) Run(p *program) error {
	return p.with(func(to *client) error {
		var list api.List[api.Pause]
		if err := to.post("/resume", api.Scope{Scope: c.Scope, Name: c.Name}, &list); err != nil {
			return err
		}
		return show(p, c.output, &list, p.pauses)
	})
}

func (p *program) pauses(list *api.List[api.Pause]) error {
	if len(list.Items) == 0 {
		p.say("no_pauses")
		return nil
	}
	rows := make([][]string, len(list.Items))
	for i, x := range list.Items {
		rows[i] = []string{strings.TrimSpace(x.Scope + " " + x.Name), when(x.At), x.By, x.Reason}
	}
	return p.table("head_pauses", rows)
}

// Run prints the version.
func (v *versionCommand) Run(p *program) error {
	out := struct {
		Version string `json:"version"`
		Go      string `json:"go"`
		System  string `json:"system"`
	}{p.version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if v.JSON {
		return p.printJSON(out)
	}
	_, err := fmt.Fprintf(p.stdout, "relais %s (%s, %s)\n", out.Version, out.Go, out.System)
	return err
}
