//go:build unix

package hostile

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"relais/internal/app"
	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
	"relais/internal/step/alert"
	"relais/internal/step/dolibarr"
	"relais/internal/step/email"
	"relais/internal/step/emit"
	"relais/internal/step/httpreq"
	"relais/internal/step/meilisearch"
	"relais/internal/step/n8n"
	"relais/internal/step/redis"
	"relais/internal/step/sellsy"
	"relais/internal/step/slack"
	"relais/internal/step/sqlstep"
	"relais/internal/store"
)

// check runs a kind's step on an event whose data.v is the value, and asserts how it arrived.
type check func(t *testing.T, name, value string)

// table has one row for each kind of step: how a hostile value must arrive, and what looks whether it did.
var table = map[string]struct {
	must string
	open func(t *testing.T) check
}{
	"http/request":            {"in its path segment, its parameter, its header, its JSON or form field, to the byte; or refused before the call", httpRequest},
	"email/send":              {"as text or escaped HTML, one line in the subject; never as an address or a header", emailSend},
	"slack/post":              {"as text with &, < and > escaped, cut where Slack cuts", slackPost},
	"redis/command":           {"as an argument, to the byte, alone and in a transaction", redisCommand},
	"n8n/trigger":             {"in its part of the path, or in the JSON, to the byte; or refused before the call", n8nTrigger},
	"meilisearch/index":       {"as a member of a document, to the byte; as an id only where Meilisearch's grammar has it", meilisearchIndex},
	"alert":                   {"as text, escaped for Slack, cut past 8 KiB; its title in one line", alertStep},
	"event/emit":              {"in the event's data, to the byte; as a type only by the grammar of types", eventEmit},
	"sql/exec":                {"as a value, to the byte, in each database; or refused where its text can't hold it", sqlExec},
	"sql/query":               {"as a value, to the byte, in each database; or refused where its text can't hold it", sqlQuery},
	"sellsy/create-invoice":   {"not at all: an estimate's number has digits only", sellsyInvoice},
	"dolibarr/get":            {"not at all: an id has digits only", dolibarrStep("dolibarr/get", "id", map[string]any{"object": "invoices"})},
	"dolibarr/create-invoice": {"not at all: a proposal's id has digits only", dolibarrStep("dolibarr/create-invoice", "proposal", nil)},
}

// kinds are those of the table's rows.
func kinds(e *egress.Egress) *step.Registry {
	return step.NewRegistry(
		append(sqlstep.Kinds(), httpreq.Request(e), email.Send(), slack.Post(e), sellsy.CreateInvoice(), dolibarr.Get(), dolibarr.CreateInvoice(), redis.Command(), n8n.Trigger(e), meilisearch.Index(e), emit.Emit(emitted.emit), alert.Alert(alert.NewDesk(alert.Options{}))),
		append(sqlstep.Connections(e, ""), email.Connection(e), slack.Connection(e), sellsy.ConnectionKind(e.Client()), dolibarr.ConnectionKind(e.Client()), redis.Connection(e), n8n.Connection(), meilisearch.Connection()),
	)
}

// waiting are kinds that have no row yet; it must become empty, and a kind with a row may not stand in it.
var waiting = []string{}

func TestHostileValuesAreOnlyValues(t *testing.T) {
	for _, kind := range slices.Sorted(maps.Keys(table)) {
		t.Run(kind, func(t *testing.T) {
			arrives := table[kind].open(t)
			for _, name := range slices.Sorted(maps.Keys(values)) {
				t.Run(name, func(t *testing.T) {
					arrives(t, name, values[name])
					if t.Failed() {
						t.Logf("it must arrive %s", table[kind].must)
					}
				})
			}
		})
	}
}

func TestEveryKindHasARow(t *testing.T) {
	catalog, err := app.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range catalog.Steps {
		_, has := table[kind.Name]
		if has == slices.Contains(waiting, kind.Name) {
			t.Errorf("%s: it has a row is %t; the comment of this package says how to add one", kind.Name, has)
		}
	}
}

// keeps is a store that keeps steps and has no ledger.
type keeps struct{ step.Store }

func (keeps) SaveStep(context.Context, store.Holder, store.StepResult) error { return nil }

// attempt runs one step for an event whose data.v is the value.
func attempt(t *testing.T, s config.Step, connections []config.Connection, value string) store.Outcome {
	t.Helper()
	s.ID = "s"
	route := config.Route{Name: "r", Steps: []config.Step{s}}
	e, err := egress.New(egress.Options{Trusted: kinds(new(egress.Egress)).TrustedHosts(connections, []config.Route{route})})
	if err != nil {
		t.Fatal(err)
	}
	registry := kinds(e)
	opened, err := registry.Open(connections)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Retire()
	program, err := step.Compile(route, registry, opened, step.Options{Store: keeps{}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"v": value})
	if err != nil {
		t.Fatal(err)
	}
	return program.Run(t.Context(), &store.Claimed{
		Delivery: core.Delivery{ID: 1, Claim: 1, Destination: core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: "r"}},
		Event:    core.Event{ID: core.NewEventID(), Tenant: core.DefaultTenant, Format: core.FormatJSON, Body: body},
	})
}

func succeeded(out store.Outcome) bool { return out.Verdict == store.VerdictSucceeded }

// refused asserts that a step ended for good, and said so as a matter of its parameter.
func refused(t *testing.T, out store.Outcome) {
	t.Helper()
	if out.Verdict != store.VerdictDead || out.Reason != core.ReasonParameter {
		t.Errorf("ended with %s %s: %.200s", out.Verdict, out.Reason, out.Message)
	}
}
