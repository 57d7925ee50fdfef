//go:build linux

package examples

import (
	"strconv"
	"strings"
	"testing"

	"relais/internal/sandbox"
)

const sellsyKey = "1eba7b47-ff42-4883-9b6b-f3d776151374"

func TestSellsyFactures(t *testing.T) {
	t.Parallel()
	sellsy, err := sandbox.Serve("127.0.0.1:0", sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sellsy.Close() })
	team := startSlack(t)
	e := play(t, "sellsy-factures", map[string]string{
		"SELLSY_WEBHOOK_SECRET": sellsyKey, "SELLSY_CLIENT_ID": "sandbox-client", "SELLSY_CLIENT_SECRET": "sandbox-secret",
		"SELLSY_API_URL": sellsy.URL + "/v2", "SLACK_WEBHOOK_URL": team.URL + slackPath,
	})
	estimate := func(status string) int64 {
		t.Helper()
		id, err := sellsy.AddEstimate(sandbox.Estimate{Status: status})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	notify := func(id int64, withObject bool) {
		t.Helper()
		answer, err := sellsy.Notify(t.Context(), sandbox.Notification{
			URL: e.url + "/webhook/sellsy", Key: sellsyKey, Estimate: id, WithObject: withObject,
		})
		if err != nil || answer.Status != 200 {
			t.Fatalf("answered %+v, %v", answer, err)
		}
	}

	accepted, refused, byHand, deposit := estimate("accepted"), estimate("refused"), estimate("accepted"), estimate("accepted")
	if _, err := sellsy.AddInvoice(byHand, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := sellsy.AddInvoice(deposit, map[string]any{"is_deposit": true}); err != nil {
		t.Fatal(err)
	}
	e.cli("send", "sellsy", "estimate.accepted", "--id", strconv.FormatInt(accepted, 10), "--url", e.url+"/webhook/sellsy")
	notify(accepted, true) // it comes twice, as Sellsy's users see it
	notify(refused, false)
	notify(byHand, false)
	notify(deposit, true)
	e.settled()
	e.kill()
	e.start()
	notify(accepted, false)
	e.settled()

	for id, want := range map[int64]int{accepted: 1, refused: 0, byHand: 1, deposit: 1} {
		if got := sellsy.InvoicesOf(id); len(got) != want {
			t.Errorf("quote %d has the invoices %v, want %d", id, got, want)
		}
	}
	e.until("the team hears of what could not be done", func() bool { return len(team.said()) >= 2 })
	said := strings.Join(team.said(), "\n")
	if strings.Count(said, "Facture ") != 1 || !strings.Contains(said, "créée (") || !strings.Contains(said, "EUR), devis "+strconv.FormatInt(accepted, 10)) {
		t.Errorf("the team was told:\n%s", said)
	}
	if strings.Count(said, "Pas de facture pour le devis "+strconv.FormatInt(deposit, 10)) != 1 {
		t.Errorf("of the deposit invoice the team was told:\n%s", said)
	}
	if e.send("POST", "/webhook/sellsy", "application/json", `{"eventType":"docslog"}`, "X-Webhook-Signature", strings.Repeat("0", 40)) != 401 {
		t.Error("a forged webhook was taken")
	}
}
