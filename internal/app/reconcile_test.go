package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/sandbox/doli"
)

// Each source is asked about as often as it says, whatever the others say, how long an answer takes, and
// what a reload has changed since.
func TestSourcesAreReconciledAsOftenAsTheySay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		const slow = 4 * time.Minute
		asked := map[string][]string{}
		sources := func() []config.Source {
			all := []config.Source{{Name: "often", Reconcile: 10 * time.Minute}, {Name: "seldom", Reconcile: 30 * time.Minute}, {Name: "never"}}
			if time.Since(began) > time.Hour {
				all[0].Reconcile = time.Hour // a reload
				all[2].Reconcile = 20 * time.Minute
			}
			return all
		}
		go reconcileEach(ctx, time.Minute, sources, func(_ context.Context, s config.Source) {
			asked[s.Name] = append(asked[s.Name], time.Since(began).String())
			if s.Name == "seldom" {
				<-time.After(slow)
			}
		})
		<-time.After(2 * time.Hour)
		cancel()
		synctest.Wait()
		for name, want := range map[string][]string{
			"often":  {"1m0s", "11m0s", "21m0s", "31m0s", "41m0s", "51m0s", "1h51m0s"},
			"seldom": {"1m0s", "31m0s", "1h1m0s", "1h31m0s"},
			"never":  {"1h5m0s", "1h25m0s", "1h45m0s"},
		} {
			if !slices.Equal(asked[name], want) {
				t.Errorf("%s was asked about at %v, want %v", name, asked[name], want)
			}
		}
	})
}

// A webhook that never came is made up for by a relais that nobody tells to, once Dolibarr answers.
func TestLostWebhookIsMadeUpForOnSchedule(t *testing.T) {
	erp := doli.New(doli.Options{})
	server := erp.Serve()
	t.Cleanup(server.Close)
	past := time.Now().Add(-10 * time.Minute).Unix()
	proposal := erp.AddProposal(doli.Proposal{More: doli.Object{"date_creation": past, "date_validation": past, "date_signature": past}})
	r := startWith(t, t.TempDir(), fmt.Sprintf(`
sources:
  erp: {preset: dolibarr, secret: dolibarr-token, reconcile: 1m}
connections:
  compta: {kind: dolibarr, url: "%s", api_key: doli-key}
routes:
  facture:
    on: [erp/PROPAL_CLOSE_SIGNED]
    steps:
      - {use: dolibarr/create-invoice, with: {proposal: "${{ event.data.object.id }}"}}
`, server.URL), nil, func(o *Options) { o.look = 20 * time.Millisecond })
	r.until("the invoice of the lost webhook", func() bool { return len(r.deliveries(core.StateSucceeded)) == 1 })
	if got := erp.InvoicesOf(proposal); len(got) != 1 {
		t.Errorf("the proposal has the invoices %v, want one", got)
	}
	if log := r.log.String(); !strings.Contains(log, "events were lost on the way") {
		t.Errorf("nobody is told of it:\n%s", log)
	}

	source := r.current.Load().config.Sources[0]
	r.reconcileOne(t.Context(), source)
	if err := erp.Misbehave("* status=503"); err != nil {
		t.Fatal(err)
	}
	r.reconcileOne(t.Context(), source)
	if got := len(r.deliveries(core.StateSucceeded)) + len(r.deliveries(core.StatePending)); got != 1 {
		t.Errorf("there are %d deliveries, want one", got)
	}
	if log := r.log.String(); strings.Count(log, "events were lost on the way") != 1 || strings.Count(log, "reconciliation failed") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}
