//go:build linux

package examples

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// guideNames are the events that the guide names, by what Dolibarr sends instead; "" is the same name.
var guideNames = map[string]string{
	"THIRDPARTY_CREATE": "COMPANY_CREATE", "THIRDPARTY_MODIFY": "COMPANY_MODIFY", "THIRDPARTY_DELETE": "COMPANY_DELETE",
	"INVOICE_CREATE": "BILL_CREATE", "INVOICE_MODIFY": "BILL_MODIFY", "INVOICE_VALIDATE": "BILL_VALIDATE",
	"INVOICE_SENTBYMAIL": "BILL_SENTBYMAIL", "INVOICE_PAYED": "BILL_PAYED", "INVOICE_DELETE": "BILL_DELETE",
	"PROPOSAL_CREATE": "PROPAL_CREATE", "PROPOSAL_MODIFY": "PROPAL_MODIFY", "PROPOSAL_VALIDATE": "PROPAL_VALIDATE",
	"PROPOSAL_SENTBYMAIL": "PROPAL_SENTBYMAIL", "PROPOSAL_CLOSE_SIGNED": "PROPAL_CLOSE_SIGNED", "PROPOSAL_CLOSE_REFUSED": "PROPAL_CLOSE_REFUSED",
	"ORDER_CREATE": "", "ORDER_MODIFY": "", "ORDER_VALIDATE": "", "ORDER_SENTBYMAIL": "", "ORDER_CLOSE": "",
	"PRODUCT_CREATE": "", "PRODUCT_MODIFY": "", "PRODUCT_DELETE": "",
	"PROJECT_CREATE": "", "PROJECT_MODIFY": "", "PROJECT_DELETE": "",
	"CONTACT_CREATE": "", "CONTACT_MODIFY": "", "CONTACT_DELETE": "",
}

// Whoever writes rules with the guide in hand gets what Dolibarr sends: each name stands in a rule, and the
// event that Dolibarr sends for it reaches it.
func TestDolibarrNamesOfTheGuide(t *testing.T) {
	t.Parallel()
	team := startSlack(t)
	e := play(t, "dolibarr", map[string]string{"WEBHOOK_SECRET": dolibarrToken, "SLACK_WEBHOOK_URL": team.URL + slackPath}, func(e *example) {
		text := "sources:\n  erp: {preset: dolibarr, secret: \"${WEBHOOK_SECRET}\"}\nconnections:\n  equipe: {kind: slack}\nroutes:\n"
		for name := range guideNames {
			text += "  r-" + name + ": {on: [erp/" + name + "], steps: [{use: slack/post, with: {text: \"" + name + "=${{ event.type }}\"}}]}\n"
		}
		if err := os.WriteFile(filepath.Join(e.dir, "relais.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	var want []string
	checked := e.cli("check")
	for name, sent := range guideNames {
		if sent == "" {
			sent = name
		} else if !strings.Contains(checked, `"`+name+`" as "`+sent+`"`) {
			t.Errorf("relais check doesn't say that %s is sent as %s", name, sent)
		}
		body := `{"triggercode":"` + sent + `","object":{"id":"1"}}`
		if got := e.send("POST", "/webhook?token="+dolibarrToken, "application/json", body); got != http.StatusOK {
			t.Fatalf("%s was answered %d", sent, got)
		}
		want = append(want, name+"="+sent)
	}
	e.settled()
	got := team.said()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the rules said %v,\nwant %v", got, want)
	}
}
