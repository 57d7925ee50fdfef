//go:build linux

package examples

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"relais/internal/sandbox/doli"
	"relais/internal/step/email/mailtest"
)

const (
	dolibarrToken = "0f9d7c2b4a61e8530f9d7c2b4a61e853"
	systemKey     = "cle-du-systeme"
)

// leaks are what Dolibarr's requests tell of its database, and nobody may learn from relais.
var leaks = []string{"database_", "lastquery", "base-des-essais", "utilisateur-des-essais", "llx_essais"}

// shop is the example with everything around it.
type shop struct {
	*example
	erp               *doli.Dolibarr
	team              *slack
	post              *mailtest.Server
	system, warehouse *receiver
	calls             int
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{erp: doli.New(doli.Options{}), team: startSlack(t), post: mailtest.Start(t), system: startReceiver(t, systemKey), warehouse: startReceiver(t, "")}
	erp := s.erp.Serve()
	t.Cleanup(erp.Close)
	env := map[string]string{
		"WEBHOOK_PORT": "3000", "WEBHOOK_SECRET": dolibarrToken, "PUBLIC_URL": "https://hooks.example.fr",
		"DOLIBARR_URL": erp.URL, "DOLIBARR_API_KEY": "doli-key", "SLACK_WEBHOOK_URL": s.team.URL + slackPath,
		"EMAIL_HOST": s.post.Host, "EMAIL_PORT": strconv.Itoa(s.post.Port), "EMAIL_USER": s.post.User, "EMAIL_PASS": s.post.Pass,
		"EMAIL_FROM": "erp@entreprise.com", "EMAIL_COMPTABILITE": "comptabilite@entreprise.com",
		"ENTREPOT_URL": s.warehouse.URL + "/livraisons", "SYSTEME_URL": s.system.URL, "SYSTEME_CLE": systemKey,
	}
	s.example = play(t, "dolibarr", env, func(e *example) {
		e.asksFor(env)
		e.environ = append(e.environ, "SSL_CERT_FILE="+s.post.Roots)
		// An invoice that was sent and not answered for is left alone for two minutes, which is no time for a test.
		e.edit(`"${DOLIBARR_API_KEY}"}`, `"${DOLIBARR_API_KEY}", request_timeout: 1s, settle: 2500ms, recheck: 500ms}`)
	})
	return s
}

// asksFor holds the example to its .env.example: it names what has to be filled in, and nothing else.
func (e *example) asksFor(env map[string]string) {
	e.t.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, ".env.example"))
	if err != nil {
		e.t.Fatal(err)
	}
	var named []string
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			named = append(named, name)
		}
	}
	slices.Sort(named)
	if want := slices.Sorted(maps.Keys(env)); !slices.Equal(named, want) {
		e.t.Errorf(".env.example asks for %v, want %v", named, want)
	}
}

// captured is a request's body as a Dolibarr 22 sent it, under another code and with other members.
func captured(t *testing.T, file, code string, members doli.Object) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "dolibarr", file+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Code   string      `json:"triggercode"`
		Object doli.Object `json:"object"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	body.Code = code
	maps.Copy(body.Object, members)
	if text, err = json.Marshal(body); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// call is Dolibarr's request to its target. Versions 16 and 17 say that their JSON is a form.
func (s *shop) call(body string) {
	s.t.Helper()
	kind := "application/json"
	if s.calls++; s.calls%2 == 0 {
		kind = "application/x-www-form-urlencoded"
	}
	if status := s.send("POST", "/webhook?token="+dolibarrToken, kind, body, "User-Agent", "Dolibarr geturl function", "Accept", "*/*"); status != http.StatusOK {
		s.t.Fatalf("answered %d to %.60s", status, body)
	}
}

// happened lists all that relais did to anybody.
func (s *shop) happened() []string {
	s.t.Helper()
	var all []string
	for _, m := range s.post.Mails(s.t) {
		all = append(all, open(s.t, m).String())
	}
	for _, text := range s.team.said() {
		all = append(all, "slack: "+text)
	}
	for _, call := range s.system.told() {
		all = append(all, "system: "+call)
	}
	for _, call := range s.warehouse.told() {
		all = append(all, "warehouse: "+call)
	}
	slices.Sort(all)
	return all
}

// useCase is a line of the guide: what Dolibarr sends, and all that comes of it.
type useCase struct {
	name, file, code string
	members          doli.Object
	want             []string // whole, or the beginning before a *
}

var useCases = []useCase{
	{
		"welcome mail to a new customer", "COMPANY_CREATE", "COMPANY_CREATE",
		doli.Object{"id": 31, "name": "Dupont <b>&</b> Fils", "email": "dupont@example.fr", "client": "1"},
		[]string{
			"mail from erp@entreprise.com to dupont@example.fr: Bienvenue, Dupont <b>&</b> Fils [text/html] " +
				"<p>Bonjour Dupont &lt;b&gt;&amp;&lt;/b&gt; Fils,</p>\n<p>Bienvenue parmi nos clients !</p>",
			`system: POST /objets {"data":{*"event":"COMPANY_CREATE"}`,
		},
	},
	{
		"no welcome to a supplier", "COMPANY_CREATE", "COMPANY_CREATE",
		doli.Object{"id": 32, "name": "Fournisseur", "email": "fournisseur@example.fr", "client": 0, "fournisseur": "1"},
		[]string{`system: POST /objets {"data":{*"event":"COMPANY_CREATE"}`},
	},
	{
		"no welcome without an address", "COMPANY_CREATE", "COMPANY_CREATE",
		doli.Object{"id": 33, "name": "Muet", "email": ""},
		[]string{`system: POST /objets {"data":{*"event":"COMPANY_CREATE"}`},
	},
	{
		"invoice mailed when it is validated", "BILL_PAYED", "BILL_VALIDATE",
		doli.Object{"id": "41", "socid": "7", "ref": "(PROV41)", "newref": "FA2611-0041", "statut": "0"},
		[]string{
			"mail from erp@entreprise.com to client@example.fr: Nouvelle facture FA2611-0041 [text/html] " +
				"<p>Bonjour Client &lt;i&gt;Démo&lt;/i&gt;,</p>\n<p>Votre facture FA2611-0041 est disponible.</p>",
			`system: POST /objets {"data":{*"event":"BILL_VALIDATE"}`,
		},
	},
	{
		"invoice of a customer without an address", "BILL_PAYED", "BILL_VALIDATE",
		doli.Object{"id": "42", "socid": "8", "ref": "(PROV42)", "newref": "FA2611-0042", "statut": "0"},
		[]string{
			"slack: Facture FA2611-0042 non envoyée : Sans Adresse n'a pas d'adresse e-mail",
			`system: POST /objets {"data":{*"event":"BILL_VALIDATE"}`,
		},
	},
	{
		"signed proposal: Slack, and its invoice", "PROPAL_CLOSE_SIGNED", "PROPAL_CLOSE_SIGNED",
		doli.Object{"id": "51", "ref": "PR2611-0051", "total_ht": "1234.50000000"},
		[]string{
			"slack: 🎉 Proposition PR2611-0051 signée pour 1234,50 € HT !",
			"slack: Facture (PROV*) créée pour la proposition PR2611-0051",
		},
	},
	{
		"delivery started by an order", "PROPAL_CLOSE_SIGNED", "ORDER_VALIDATE",
		doli.Object{"id": "61", "element": "commande", "ref": "(PROV61)", "newref": "CO2611-0061", "socid": "7"},
		[]string{`warehouse: POST /livraisons {"client":"7","commande":"61","reference":"CO2611-0061"}`},
	},
	{
		"paid invoice: accountancy and the other system", "BILL_PAYED", "BILL_PAYED",
		doli.Object{"id": "71", "ref": "FA2611-0071", "total_ttc": "240.00000000"},
		[]string{
			"mail from erp@entreprise.com to comptabilite@entreprise.com: Paiement reçu - FA2611-0071 [text/plain] La facture FA2611-0071 de 240,00 € a été payée.",
			`system: POST /factures {"invoice_id":"71","status":"paid"}`,
		},
	},
	{
		"synchronised product", "COMPANY_CREATE", "PRODUCT_MODIFY",
		doli.Object{"id": 81, "element": "product", "ref": "P-81"},
		[]string{`system: POST /objets {"data":{*"event":"PRODUCT_MODIFY"}`},
	},
	{
		"an event of one's own", "COMPANY_CREATE", "MON_EVENEMENT_CUSTOM",
		doli.Object{"id": 91, "element": "chose"},
		[]string{"slack: Mon événement custom déclenché !"},
	},
	{
		"what no rule waits for", "PROPAL_CLOSE_SIGNED", "PROPAL_CLOSE_REFUSED",
		doli.Object{"id": "52", "status": 3}, nil,
	},
}

func TestDolibarr(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.erp.Add("thirdparties", doli.Object{"id": 7, "name": "Client <i>Démo</i>", "email": "client@example.fr"})
	s.erp.Add("thirdparties", doli.Object{"id": 8, "name": "Sans Adresse", "email": nil})
	s.erp.AddProposal(doli.Proposal{ID: 51})
	s.erp.AddProposal(doli.Proposal{ID: 53})

	for _, c := range useCases {
		s.call(captured(t, c.file, c.code, c.members))
	}
	s.call(captured(t, "PROPAL_CLOSE_SIGNED", "PROPAL_CLOSE_SIGNED", useCases[5].members)) // sent twice, as it was
	s.settled()
	rest := s.happened()
	for _, c := range useCases {
		t.Run(c.name, func(t *testing.T) {
			for _, want := range c.want {
				i := slices.IndexFunc(rest, func(did string) bool { return fits(did, want) })
				if i < 0 {
					t.Errorf("it did not happen: %s", want)
					continue
				}
				rest = slices.Delete(rest, i, i+1)
			}
		})
	}
	for _, did := range rest {
		t.Errorf("nobody asked for: %s", did)
	}

	s.triedByHand(t)
	s.killedAmidInvoice(t)
	s.strangersAreRefused(t)
	s.nothingLeaks(t)
}

// fits compares with what may hold one *, which is any text.
func fits(did, want string) bool {
	begin, end, any := strings.Cut(want, "*")
	return did == want || any && strings.HasPrefix(did, begin) && strings.HasSuffix(did, end) && len(did) >= len(begin)+len(end)
}

// killedAmidInvoice signs a proposal, kills relais while it doesn't know whether the invoice was made, and
// signs it again.
func (s *shop) killedAmidInvoice(t *testing.T) {
	if err := s.erp.Misbehave("POST /invoices times=1 drop_answer"); err != nil {
		t.Fatal(err)
	}
	s.call(captured(t, "PROPAL_CLOSE_SIGNED", "PROPAL_CLOSE_SIGNED", doli.Object{"id": "53", "ref": "PR2611-0053"}))
	s.until("the invoice is made", func() bool { return len(s.erp.InvoicesOf(53)) > 0 })
	s.kill()
	s.start()
	for id, ref := range map[string]string{"51": "PR2611-0051", "53": "PR2611-0053"} {
		s.call(captured(t, "PROPAL_CLOSE_SIGNED", "PROPAL_CLOSE_SIGNED", doli.Object{"id": id, "ref": ref, "note": "signée deux fois"}))
	}
	for _, d := range s.settled() {
		if d.State == "dead" {
			t.Errorf("dead: %+v", d)
		}
	}
	for _, proposal := range []int64{51, 53} {
		if got := s.erp.InvoicesOf(proposal); len(got) != 1 {
			t.Errorf("proposal %d has the invoices %v, want one", proposal, got)
		}
	}
	created := 0
	for _, text := range s.team.said() {
		if strings.HasSuffix(text, "créée pour la proposition PR2611-0053") {
			created++
		}
	}
	if created != 1 {
		t.Errorf("the team heard %d times that the invoice was made", created)
	}
}

// triedByHand is the guide's own curl, and its other addresses.
func (s *shop) triedByHand(t *testing.T) {
	const body = `{"event": "INVOICE_CREATE", "data": {"id": 123, "ref": "FA2024-001", "total_ttc": 1200.00}}`
	if got := s.send("POST", "/webhook/test", "application/json", body); got != http.StatusOK {
		t.Errorf("the trial was answered %d", got)
	}
	s.until("the trial is told", func() bool {
		return slices.Contains(s.team.said(), "Essai reçu : INVOICE_CREATE FA2024-001")
	})
	if got := s.send("POST", "/webhook/test", "application/json", body, "X-Forwarded-For", "203.0.113.9"); got != http.StatusForbidden {
		t.Errorf("a trial from elsewhere was answered %d", got)
	}
	s.cli("send", "erp", "PROPAL_CLOSE_SIGNED", "--id", "51", "--url", s.url+"/webhook")
	s.until("the sent event is told", func() bool {
		return slices.ContainsFunc(s.team.said(), func(text string) bool { return strings.HasSuffix(text, " signée pour 100,00 € HT !") })
	})
	listed := s.read(t, "/webhook/events")
	for _, code := range []string{"COMPANY_CREATE", "BILL_PAYED", "PROPAL_CLOSE_SIGNED", "ORDER_CLOSE"} {
		if !strings.Contains(listed, `"`+code+`"`) {
			t.Errorf("/webhook/events doesn't list %s", code)
		}
	}
	if health := s.read(t, "/health"); !strings.Contains(health, `"ok"`) {
		t.Errorf("/health answers %s", health)
	}
}

func (s *shop) read(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s, %v", path, resp.StatusCode, text, err)
	}
	return string(text)
}

func (s *shop) strangersAreRefused(t *testing.T) {
	body := captured(t, "BILL_PAYED", "BILL_PAYED", nil)
	for _, query := range []string{"", "?token=", "?token=" + dolibarrToken[1:], "?token=wrong", "?secret=" + dolibarrToken} {
		if got := s.send("POST", "/webhook"+query, "application/json", body); got != http.StatusUnauthorized && got != http.StatusForbidden {
			t.Errorf("%q was answered %d", query, got)
		}
	}
}

// nothingLeaks looks for Dolibarr's database wherever relais wrote or sent something.
func (s *shop) nothingLeaks(t *testing.T) {
	sent := captured(t, "BILL_PAYED", "BILL_PAYED", nil)
	for _, leak := range leaks {
		if !strings.Contains(sent, leak) {
			t.Errorf("Dolibarr's own request doesn't hold %q: nothing is tested", leak)
		}
	}
	places := map[string]string{"mails, messages and calls": strings.Join(s.happened(), "\n"), "log": s.logged()}
	for _, d := range s.deliveries() {
		places["delivery "+d.ID] = s.cli("deliveries", "show", d.ID, "--json")
		if places["event "+d.Event] == "" {
			places["event "+d.Event] = s.cli("events", "show", d.Event, "--json")
		}
	}
	names, err := filepath.Glob(filepath.Join(s.data, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		places[name] = string(text)
	}
	for place, text := range places {
		for _, leak := range leaks {
			if strings.Contains(text, leak) {
				t.Errorf("%s holds %q", place, leak)
			}
		}
	}
}
