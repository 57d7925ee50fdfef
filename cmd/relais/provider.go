package main

import (
	"errors"
	"strings"
	"time"

	"relais/internal/api"
	"relais/internal/app"
	"relais/internal/step/dolibarr"
)

type dolibarrCommands struct {
	Install   dolibarrInstall   `cmd:"" help:"${cmd_provider_install}"`
	Reconcile dolibarrReconcile `cmd:"" help:"${cmd_provider_reconcile}"`
}

type sellsyCommands struct {
	Install   sellsyInstall   `cmd:"" help:"${cmd_provider_install}"`
	Reconcile sellsyReconcile `cmd:"" help:"${cmd_provider_reconcile}"`
}

// provider chooses the source and the connection of a provider, where there are several.
type provider struct {
	Source     string `placeholder:"${ph_name}" help:"${flag_provider_source}"`
	Connection string `placeholder:"${ph_name}" help:"${flag_provider_connection}"`
	DryRun     bool   `help:"${flag_dry_run}"`
	output
}

type providerInstall struct {
	URL string `name:"url" placeholder:"URL" help:"${flag_install_url}"`
	All bool   `help:"${flag_install_all}"`
	provider
}

type providerReconcile struct {
	Since moment `placeholder:"${ph_time}" help:"${flag_since}"`
	provider
}

type (
	dolibarrInstall   struct{ providerInstall }
	sellsyInstall     struct{ providerInstall }
	dolibarrReconcile struct{ providerReconcile }
	sellsyReconcile   struct{ providerReconcile }
)

// Run sets the webhook up in Dolibarr.
func (d *dolibarrInstall) Run(p *program) error { return d.install(p, "dolibarr") }

// Run sets the webhook up in Sellsy.
func (s *sellsyInstall) Run(p *program) error { return s.install(p, "sellsy") }

// Run asks Dolibarr what its webhooks lost.
func (d *dolibarrReconcile) Run(p *program) error { return d.reconcile(p, "dolibarr") }

// Run asks Sellsy what its webhooks lost.
func (s *sellsyReconcile) Run(p *program) error { return s.reconcile(p, "sellsy") }

// installed are the messages of what became of a webhook, or would become of it.
var installed = map[string]struct{ done, would string }{
	"created":   {"webhook_created", "would_webhook_created"},
	"updated":   {"webhook_updated", "would_webhook_updated"},
	"unchanged": {"webhook_unchanged", "webhook_unchanged"},
}

func (i *providerInstall) install(p *program, kind string) error {
	out, err := app.InstallWebhook(p.ctx, p.appOptions(), app.Install{
		Kind: kind, Source: i.Source, Connection: i.Connection, URL: i.URL, All: i.All, DryRun: i.DryRun,
	})
	if errors.Is(err, dolibarr.ErrNoWebhookAPI) {
		return &failure{exitFailed, p.lang.say("no_webhook_api"), p.lang.say("hint_by_hand")}
	}
	if err != nil {
		return p.configFailure(err)
	}
	if out.Insecure {
		p.complain("%s\n", p.lang.say("install_insecure", out.URL))
	}
	return show(p, i.output, &out, func(r *app.WebhookInstalled) error {
		said := installed[r.Action]
		if i.DryRun {
			said.done = said.would
		}
		p.say(said.done, oneLine(r.URL))
		for _, c := range r.Changes {
			p.say("webhook_change", c.Name, oneLine(c.Old), oneLine(c.New))
		}
		p.say("webhook_events", oneLine(strings.Join(r.Events, ", ")))
		return nil
	})
}

func (r *providerReconcile) reconcile(p *program, kind string) error {
	in := api.Reconcile{Kind: kind, Source: r.Source, Connection: r.Connection, Since: r.Since.Time, DryRun: r.DryRun}
	return p.with(func(c *client) error {
		ask := func() (out api.Reconciled, err error) { return out, c.post("/reconcile", in, &out) }
		out, err := twice(ask, func(out *api.Reconciled) bool {
			left := time.Duration(out.Wait) * time.Second
			p.complain("%s\n", p.lang.say("reconcile_waits", p.number(int64(out.Waiting)), left))
			select {
			case <-time.After(left):
				return true
			case <-p.ctx.Done():
				return false
			}
		})
		if err != nil {
			return err
		}
		return show(p, r.output, &out, p.reconciled)
	})
}

// twice asks again after a while where something may have happened a moment ago, and its webhook be on its way.
// What is waiting after the second time happened in between, and is left to the next run.
func twice(ask func() (api.Reconciled, error), wait func(*api.Reconciled) bool) (api.Reconciled, error) {
	out, err := ask()
	if err != nil || out.Waiting == 0 || !wait(&out) {
		return out, err
	}
	again, err := ask()
	again.Made += out.Made
	again.Missing = append(out.Missing, again.Missing...)
	return again, err
}

func (p *program) reconciled(r *api.Reconciled) error {
	key := "reconciled"
	if r.DryRun {
		key = "would_reconcile"
	}
	p.say(key, p.number(int64(r.Looked)), p.number(int64(r.Made)))
	for _, m := range r.Missing {
		p.printf("  %s %s %s %s\n", when(m.At), oneLine(m.Type), oneLine(m.Object), m.Event)
	}
	if more := r.Made - len(r.Missing); more > 0 {
		p.say("and_more", p.number(int64(more)))
	}
	if r.Waiting > 0 {
		p.say("reconcile_waiting", p.number(int64(r.Waiting)))
	}
	if r.Unwanted > 0 {
		p.say("reconcile_unwanted", p.number(int64(r.Unwanted)))
	}
	return nil
}
