package app

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/source"
	"relais/internal/step"
)

// Install says which provider is told to call which source.
type Install struct {
	Kind, Source, Connection string
	// URL goes before public_url.
	URL    string
	All    bool // every event that the provider has
	DryRun bool
}

// WebhookInstalled is what became of it.
type WebhookInstalled struct {
	step.Installed
	URL      string   `json:"url"` // without its secret
	Events   []string `json:"events"`
	Insecure bool     `json:"insecure"` // it is called without TLS
}

// InstallWebhook makes or changes the webhook at its provider.
func InstallWebhook(ctx context.Context, o Options, in Install) (WebhookInstalled, error) {
	var out WebhookInstalled
	cfg, err := load(o)
	if err != nil {
		return out, err
	}
	g, err := build(cfg, quietSteps(o.Data), time.Now())
	if err != nil {
		return out, err
	}
	p, err := pick(g, in.Kind, in.Source, in.Connection)
	if err != nil {
		return out, err
	}
	hooked, ok := p.connection.(step.Hooked)
	if !ok {
		return out, core.Errorf(core.CodeInvalid, "webhooks can't be set up through this connection")
	}
	called, err := p.address(in, cfg.PublicURL)
	if err != nil {
		return out, err
	}
	out.URL, out.Insecure = p.shown(called), called.Scheme != "https"
	known, err := hooked.Events(ctx)
	if err != nil {
		return out, p.explained(err)
	}
	if out.Events, err = wantedEvents(g, in, p.source.Name, known); err != nil {
		return out, err
	}
	want := step.Webhook{Label: "relais " + p.source.Name, URL: called.String(), Shown: out.URL, Events: out.Events}
	if len(p.entry.Secrets) > 0 {
		want.Key = p.entry.Secrets[0].Reveal()
	}
	out.Installed, err = hooked.Install(ctx, want, in.DryRun)
	return out, p.explained(err)
}

// address is what the provider calls, with what it has to bring along where it can't sign.
func (p pair) address(in Install, public string) (*url.URL, error) {
	if in.URL != "" {
		public = in.URL
	}
	if public == "" {
		return nil, core.Errorf(core.CodeInvalid, "public_url is not in the configuration: give it there, or --url with the address at which relais is reached")
	}
	u, err := url.Parse(strings.TrimSuffix(public, "/"))
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, core.Errorf(core.CodeInvalid, "%q is not an address: it begins with https://", public)
	}
	signed := &source.Request{Method: http.MethodPost, Header: http.Header{}, Now: time.Now()}
	if in.Kind != "dolibarr" {
		return p.source.Called(u, signed), nil
	}
	if err := p.source.Sign(signed); err != nil {
		return nil, err
	}
	u = p.source.Called(u, signed)
	if p.source.SecretInPath() && !strings.Contains(p.source.Path, "{") {
		return nil, core.Errorf(core.CodeInvalid, "the source %s takes its token from its path, which has no part for it: path: /webhook/{token}", p.source.Name)
	}
	u.RawQuery = signed.Query
	for name, values := range signed.Header {
		basic, ok := strings.CutPrefix(values[0], "Basic ")
		decoded, err := base64.StdEncoding.DecodeString(basic)
		user, password, _ := strings.Cut(string(decoded), ":")
		if name != "Authorization" || !ok || err != nil {
			return nil, core.Errorf(core.CodeInvalid, "Dolibarr sends no header %s: let the source take its secret from the query, or as Basic", name)
		}
		u.User = url.UserPassword(user, password)
	}
	return u, nil
}

// shown is the address without its secret.
func (p pair) shown(called *url.URL) string {
	u := url.URL{Scheme: called.Scheme, Host: called.Host, Path: called.Path}
	if p.source.SecretInPath() {
		return u.Scheme + "://" + u.Host + p.source.Path
	}
	return u.String()
}

// aliases are the names that people write for Dolibarr's own.
var aliases = [][2]string{{"THIRDPARTY_", "COMPANY_"}, {"INVOICE_", "BILL_"}, {"PROPOSAL_", "PROPAL_"}}

// wantedEvents are those of the provider's that some route waits for, under any of the types that they
// can come to have.
func wantedEvents(g *generation, in Install, name string, known []string) ([]string, error) {
	if in.All {
		return known, nil
	}
	var selectors []core.Selector
	for _, r := range g.config.Routes {
		for _, on := range r.On {
			if s, err := core.ParseSelector(on); err == nil {
				selectors = append(selectors, s)
			}
		}
	}
	wanted := slices.DeleteFunc(slices.Clone(known), func(event string) bool {
		return !slices.ContainsFunc(typesOf(in.Kind, event), func(typ string) bool {
			return slices.ContainsFunc(selectors, func(s core.Selector) bool { return s.Match(name, typ) })
		})
	})
	if len(wanted) == 0 {
		return nil, core.Errorf(core.CodeInvalid, "no route waits for anything from the source %s: add one, or subscribe to everything with --all", name)
	}
	return wanted, nil
}

func typesOf(kind, event string) []string {
	types := []string{event}
	if kind == "sellsy" && event == "estimate.step" {
		for _, status := range []string{"draft", "sent", "read", "accepted", "refused", "expired", "advanced", "partialinvoiced", "invoiced", "cancelled"} {
			types = append(types, "estimate."+status)
		}
	}
	if kind == "dolibarr" {
		for _, alias := range aliases {
			if rest, ok := strings.CutPrefix(event, alias[1]); ok && !strings.HasPrefix(event, "BILL_SUPPLIER_") {
				types = append(types, alias[0]+rest)
			}
		}
	}
	return types
}
