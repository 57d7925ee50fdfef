package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const token = "personal"

func open(t *testing.T, opts Options) *Sandbox {
	t.Helper()
	opts.PersonalToken = token
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func estimate(t *testing.T, s *Sandbox, e Estimate) int64 {
	t.Helper()
	id, err := s.AddEstimate(e)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// call makes a request; status 0 means that the connection was closed without an answer.
func call(t *testing.T, h http.Handler, method, path, body string) (int, object, http.Header) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	return send(t, h, r)
}

func send(t *testing.T, h http.Handler, r *http.Request) (status int, answer object, header http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if recover() != nil {
				w = nil
			}
		}()
		h.ServeHTTP(w, r)
	}()
	if w == nil {
		return 0, nil, nil
	}
	if body := w.Body.Bytes(); len(body) > 0 && body[0] == '{' {
		var err error
		if answer, err = decodeObject(body); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, answer, w.Result().Header
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func invoiceOf(id int64, rows []map[string]any) object {
	return object{
		"related": []any{object{"type": "company", "id": int64(defaultCompany)}},
		"parent":  object{"type": "estimate", "id": id}, "rows": rows,
	}
}

func TestAnInvoiceOfEveryRowKindCostsWhatItsEstimateCosts(t *testing.T) {
	s := open(t, Options{})
	for _, discount := range []map[string]any{
		nil, {"type": "percent", "value": "7.5"}, {"type": "amount", "value": "100.00"},
	} {
		id := estimate(t, s, Estimate{Discount: discount})
		request := invoiceOf(id, SampleRows())
		if discount != nil {
			request["discount"] = discount
		}
		status, inv, _ := call(t, s, "POST", "/v2/invoices", jsonOf(t, request))
		if status != http.StatusCreated || inv["status"] != "draft" {
			t.Fatalf("POST /invoices: %d %v", status, inv)
		}
		_, quote, _ := call(t, s, "GET", fmt.Sprintf("/v2/estimates/%d", id), "")
		want := quote["amounts"].(object)
		got := inv["amounts"].(object)
		if got["total_incl_tax"] != want["total"] || got["total_excl_tax"] != want["total_excl_tax"] {
			t.Errorf("discount %v: the invoice says %v, the estimate %v", discount, got, want)
		}
		if len(inv["rows"].([]any)) != len(SampleRows()) {
			t.Errorf("rows were lost: %v", inv["rows"])
		}
	}
}

func TestTotalsAreExact(t *testing.T) {
	s := open(t, Options{})
	id := estimate(t, s, Estimate{
		Discount: map[string]any{"type": "percent", "value": "10"},
		Rows: []map[string]any{
			{"type": "single", "unit_amount": "0.1", "quantity": "3", "tax_id": 4001},
			{"type": "single", "unit_amount": "33.333", "quantity": "3", "tax_id": 4003},
			{"type": "shipping", "related": map[string]any{"id": 1, "type": "shipping"}, "unit_amount": "10", "quantity": "1", "tax_id": 4001},
			{"type": "single", "unit_amount": "999", "quantity": "1", "tax_id": 4001, "is_optional": true},
		},
	})
	_, quote, _ := call(t, s, "GET", fmt.Sprintf("/v2/estimates/%d", id), "")
	// 0.30 + 100.00 (99.999) = 100.30, less 10 % = 90.27, shipping 10: 100.27. Tax: 20 % of 10.27 = 2.05,
	// 5.5 % of 90.00 = 4.95.
	want := object{
		"total_raw_excl_tax": "100.30", "total_after_discount_excl_tax": "90.27", "shipping": "10.00",
		"packaging": "0.00", "total_excl_tax": "100.27", "total": "107.27", "total_primes_incl_tax": "0.00",
	}
	if got := quote["amounts"].(object); !maps.Equal(got, want) {
		t.Errorf("amounts: %v, want %v", got, want)
	}
}

func TestWhatTheDocumentRefusesIsRefused(t *testing.T) {
	s := open(t, Options{})
	id := estimate(t, s, Estimate{Individual: 77, Company: defaultCompany, Contact: 5, Opportunity: 9})
	invoiced := estimate(t, s, Estimate{Status: "invoiced"})
	advanced := estimate(t, s, Estimate{Status: "advanced"})
	line := func(changes map[string]any) []map[string]any {
		row := map[string]any{"type": "single", "unit_amount": "1.00", "quantity": "1"}
		maps.Copy(row, changes)
		maps.DeleteFunc(row, func(_ string, v any) bool { return v == "absent" })
		return []map[string]any{row}
	}
	related := func(list ...any) map[string]any { return map[string]any{"related": list} }
	company := map[string]any{"type": "company", "id": defaultCompany}
	for _, test := range []struct {
		name    string
		changes map[string]any
		field   string
	}{
		{"unknown key", map[string]any{"idempotency_key": "x"}, "idempotency_key"},
		{"status is read-only", map[string]any{"status": "due"}, "status"},
		{"amount as number", map[string]any{"rows": line(map[string]any{"unit_amount": 1.5})}, "rows[0].unit_amount"},
		{"quantity as integer", map[string]any{"rows": line(map[string]any{"quantity": 1})}, "rows[0].quantity"},
		{"amount that is no number", map[string]any{"rows": line(map[string]any{"unit_amount": "1,50"})}, "rows[0].unit_amount"},
		{"row without quantity", map[string]any{"rows": line(map[string]any{"quantity": "absent"})}, "rows[0].quantity"},
		{"row's id", map[string]any{"rows": line(map[string]any{"id": 3})}, "rows[0].id"},
		{"row's tax_rate", map[string]any{"rows": line(map[string]any{"tax_rate": "20.00"})}, "rows[0].tax_rate"},
		{"row's tax object", map[string]any{"rows": line(map[string]any{"tax": map[string]any{"id": 1}})}, "rows[0].tax"},
		{"discount's total", map[string]any{"rows": line(map[string]any{"discount": map[string]any{"type": "percent", "value": "1", "total": "2"}})}, "rows[0].discount.total"},
		{"unknown row type", map[string]any{"rows": line(map[string]any{"type": "deposit"})}, "rows[0].type"},
		{"catalog without item", map[string]any{"rows": []map[string]any{{"type": "catalog", "quantity": "1"}}}, "rows[0].related"},
		{"unknown item", map[string]any{"rows": []map[string]any{{"type": "catalog", "quantity": "1", "related": map[string]any{"id": 1, "type": "product"}}}}, "rows[0].related.id"},
		{"title's amount", map[string]any{"rows": []map[string]any{{"type": "title", "text": "x", "amount": "1"}}}, "rows[0].amount"},
		{"sub-total's amount", map[string]any{"rows": []map[string]any{{"type": "sub-total", "amount": "1"}}}, "rows[0].amount"},
		{"unknown tax", map[string]any{"rows": line(map[string]any{"tax_id": 20})}, "rows[0].tax_id"},
		{"unit 0", map[string]any{"rows": line(map[string]any{"unit_id": 0})}, "rows[0].unit_id"},
		{"nobody related", related(), "related"},
		{"opportunity only", related(map[string]any{"type": "opportunity", "id": 9}), "related"},
		{"company and individual", related(company, map[string]any{"type": "individual", "id": 77}), "related"},
		{"unknown company", related(map[string]any{"type": "company", "id": 1}), "related[0].id"},
		{"invoiced parent", map[string]any{"parent": map[string]any{"type": "estimate", "id": invoiced}}, "parent"},
		{"advanced parent", map[string]any{"parent": map[string]any{"type": "estimate", "id": advanced}}, "parent"},
		{"unknown parent", map[string]any{"parent": map[string]any{"type": "estimate", "id": 4}}, "parent.id"},
		{"discount without string", map[string]any{"discount": map[string]any{"type": "percent", "value": 10}}, "discount.value"},
		{"discount as it is read", map[string]any{"discount": map[string]any{"type": "percent", "percent": "10.00"}}, "discount.percent"},
		{"long order reference", map[string]any{"order_reference": strings.Repeat("é", 101)}, "order_reference"},
		{"date", map[string]any{"date": "21/11/2026"}, "date"},
		{"terms without id", map[string]any{"payment_terms": map[string]any{"x_days": 30}}, "payment_terms.id"},
		{"terms as they are read", map[string]any{"payment_terms": map[string]any{"id": 3, "label": "30 jours"}}, "payment_terms.label"},
		{"terms of two kinds", map[string]any{"payment_terms": map[string]any{"id": 3, "x_days": 3, "end_of_month": true}}, "payment_terms"},
		{"service that ends first", map[string]any{"service_dates": map[string]any{"start": "2026-02-01", "end": "2026-01-01"}}, "service_dates.end"},
		{"null related", map[string]any{"related": nil}, "related"},
	} {
		t.Run(test.name, func(t *testing.T) {
			request := invoiceOf(id, line(nil))
			maps.Copy(request, test.changes)
			status, answer, _ := call(t, s, "POST", "/v2/invoices", jsonOf(t, request))
			failure, _ := answer["error"].(object)
			wrong, _ := failure["details"].(object)
			if status != http.StatusBadRequest || failure["code"] != int64(400) {
				t.Fatalf("answered %d %v", status, answer)
			}
			named := slices.ContainsFunc(slices.Collect(maps.Keys(wrong)), func(name string) bool {
				return strings.HasPrefix(name, test.field)
			})
			if !named {
				t.Errorf("details %v don't name %s", wrong, test.field)
			}
		})
	}
	if made := s.InvoicesOf(id); len(made) != 0 {
		t.Errorf("refused requests made invoices: %v", made)
	}
}

func TestBodiesThatAreNotOneObject(t *testing.T) {
	s := open(t, Options{})
	for _, body := range []string{"", "[]", "{} {}", "nul", `{"related":`, "\x00"} {
		if status, _, _ := call(t, s, "POST", "/v2/invoices", body); status != http.StatusBadRequest {
			t.Errorf("%q was answered %d", body, status)
		}
	}
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{TokenLifetime: time.Minute})
		id := estimate(t, s, Estimate{})
		ask := func(kind, body string) (int, object) {
			r := httptest.NewRequest("POST", "/oauth2/access-tokens", strings.NewReader(body))
			r.Header.Set("Content-Type", kind)
			status, answer, _ := send(t, s, r)
			return status, answer
		}
		get := func(bearer string) int {
			r := httptest.NewRequest("GET", fmt.Sprintf("/v2/estimates/%d", id), nil)
			if bearer != "" {
				r.Header.Set("Authorization", "Bearer "+bearer)
			}
			status, _, _ := send(t, s, r)
			return status
		}
		form := "grant_type=client_credentials&client_id=sandbox-client&client_secret=sandbox-secret"
		status, answer := ask("application/x-www-form-urlencoded", form)
		if status != 200 || answer["token_type"] != "Bearer" || answer["expires_in"] != int64(60) {
			t.Fatalf("form: %d %v", status, answer)
		}
		issued := answer["access_token"].(string)
		if status, _ := ask("application/json", `{"grant_type":"client_credentials","client_id":"sandbox-client","client_secret":"sandbox-secret"}`); status != 200 {
			t.Errorf("JSON: %d", status)
		}
		if status, _ := ask("application/json", `{"grant_type":"client_credentials","client_id":"sandbox-client","client_secret":"no"}`); status != 401 {
			t.Errorf("a wrong secret: %d", status)
		}
		if status, _ := ask("application/json", `{"grant_type":"password"}`); status != 400 {
			t.Errorf("another grant: %d", status)
		}
		for bearer, want := range map[string]int{"": 401, "no": 401, issued: 200} {
			if got := get(bearer); got != want {
				t.Errorf("token %q: %d, want %d", bearer, got, want)
			}
		}
		time.Sleep(time.Minute) // virtual: the token's life
		if got := get(issued); got != 401 {
			t.Errorf("an expired token: %d", got)
		}
	})
}

func TestQuotasCountRefusedCallsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{PerSecond: 2})
		for i, want := range []int{404, 404, 429} {
			status, _, header := call(t, s, "GET", "/v2/estimates/1", "")
			if status != want {
				t.Errorf("call %d: %d, want %d", i, status, want)
			}
			if want == 429 && (header.Get("X-Quota-Remaining-By-Second") != "0" || header.Get("Retry-After") != "1") {
				t.Errorf("429 says %v", header)
			}
		}
		time.Sleep(time.Second) // virtual: the next window
		if status, _, _ := call(t, s, "GET", "/v2/estimates/1", ""); status != 404 {
			t.Errorf("the next second: %d", status)
		}
	})
}

func TestMisbehaviour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{})
		id := estimate(t, s, Estimate{})
		request := jsonOf(t, invoiceOf(id, SampleRows()))
		post := func(fault string) (int, http.Header) {
			f, err := ParseFault(fault)
			if err != nil {
				t.Fatal(err)
			}
			s.Misbehave(f)
			status, _, header := call(t, s, "POST", "/v2/invoices", request)
			s.Behave()
			return status, header
		}
		search := fmt.Sprintf(`{"filters":{"related_objects":[{"type":"company","id":%d}]}}`, defaultCompany)
		found := func() int64 {
			_, answer, _ := call(t, s, "POST", "/v2/invoices/search", search)
			return answer["pagination"].(object)["total"].(int64)
		}
		if status, _ := post("POST /v2/invoices drop_request"); status != 0 || len(s.InvoicesOf(id)) != 0 {
			t.Errorf("drop_request: %d, %v", status, s.InvoicesOf(id))
		}
		if status, header := post("POST /v2/invoices status=503 retry_after=30s"); status != 503 || header.Get("Retry-After") != "30" || len(s.InvoicesOf(id)) != 0 {
			t.Errorf("503: %d %v", status, header)
		}
		if status, _ := post("POST /v2/invoices drop_answer"); status != 0 || len(s.InvoicesOf(id)) != 1 {
			t.Errorf("drop_answer: %d, %v", status, s.InvoicesOf(id))
		}
		if status, _ := post("* commit_late=3s"); status != 0 || len(s.InvoicesOf(id)) != 1 {
			t.Errorf("commit_late: %d, %v", status, s.InvoicesOf(id))
		}
		time.Sleep(3 * time.Second) // virtual: until the late commit
		synctest.Wait()
		if len(s.InvoicesOf(id)) != 2 || found() != 2 {
			t.Errorf("the late invoice isn't there: %v", s.InvoicesOf(id))
		}
		if status, _ := post("POST /v2/invoices search_lag=10s"); status != 201 || len(s.InvoicesOf(id)) != 3 || found() != 2 {
			t.Errorf("search_lag: %d, %d found", status, found())
		}
		time.Sleep(10 * time.Second) // virtual: the lag
		if found() != 3 {
			t.Errorf("after the lag %d are found", found())
		}
		start := time.Now()
		if status, _ := post("POST /v2/* delay=2s"); status != 201 || time.Since(start) != 2*time.Second {
			t.Errorf("delay: %d after %v", status, time.Since(start))
		}
	})
}

func TestFaultsThatAreNone(t *testing.T) {
	for _, line := range []string{"", "POST", "POST invoices", "* p=x", "* nonsense", "* delay=3"} {
		if _, err := ParseFault(line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

func TestChanceIsTheSameForTheSameSeed(t *testing.T) {
	draw := func(seed uint64) (hits []bool) {
		s := open(t, Options{Seed: seed, Faults: []Fault{{Probability: 0.5, Status: 500}}})
		for range 64 {
			status, _, _ := call(t, s, "GET", "/v2/estimates/1", "")
			hits = append(hits, status == 500)
		}
		return hits
	}
	if !slices.Equal(draw(7), draw(7)) || slices.Equal(draw(7), draw(8)) {
		t.Error("the seed doesn't decide")
	}
}

func TestSearchPagesAndFilters(t *testing.T) {
	s := open(t, Options{})
	id := estimate(t, s, Estimate{})
	other := estimate(t, s, Estimate{Company: 99})
	for range 7 {
		if _, err := s.AddInvoice(id, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddInvoice(other, map[string]any{"is_deposit": true}); err != nil {
		t.Fatal(err)
	}
	filter := fmt.Sprintf(`{"filters":{"related_objects":[{"type":"company","id":%d}]}}`, defaultCompany)
	var seen []int64
	offset := ""
	for pages := 0; ; pages++ {
		status, answer, _ := call(t, s, "POST", "/v2/invoices/search?limit=3&direction=desc&offset="+offset, filter)
		data := answer["data"].([]any)
		if status != 200 || pages > 4 {
			t.Fatalf("page %d: %d %v", pages, status, answer)
		}
		if len(data) == 0 {
			break
		}
		for _, v := range data {
			seen = append(seen, integerOf(v.(object)["id"]))
		}
		offset = answer["pagination"].(object)["offset"].(string)
	}
	want := s.InvoicesOf(id)
	slices.Reverse(want)
	if !slices.Equal(seen, want) {
		t.Errorf("pages gave %v, want %v", seen, want)
	}
	for body, want := range map[string]int64{
		`{"filters":{}}`: 8, `{"filters":{"is_deposit":true}}`: 1, `{"filters":{"status":["paid"]}}`: 0,
		`{"filters":{"created":{"start":"2999-01-01T00:00:00Z"}}}`: 0, `{"filters":{"currency":"EUR"}}`: 8,
	} {
		_, answer, _ := call(t, s, "POST", "/v2/invoices/search", body)
		if got := answer["pagination"].(object)["total"]; got != want {
			t.Errorf("%s found %v, want %d", body, got, want)
		}
	}
	for path, body := range map[string]string{
		"/v2/invoices/search?limit=101":    `{"filters":{}}`,
		"/v2/invoices/search?order=parent": `{"filters":{}}`,
		"/v2/invoices/search?offset=%21":   `{"filters":{}}`,
		"/v2/invoices/search?a":            `{"filters":{"parent":{"type":"estimate","id":1}}}`,
		"/v2/invoices/search?b":            `{}`,
	} {
		if status, _, _ := call(t, s, "POST", path, body); status != http.StatusBadRequest {
			t.Errorf("%s %s was answered %d", path, body, status)
		}
	}
}

func TestValidationMakesTheEstimateInvoiced(t *testing.T) {
	s := open(t, Options{})
	id := estimate(t, s, Estimate{})
	_, inv, _ := call(t, s, "POST", "/v2/invoices", jsonOf(t, invoiceOf(id, SampleRows())))
	path := fmt.Sprintf("/v2/invoices/%d/validate", integerOf(inv["id"]))
	if status, answer, _ := call(t, s, "POST", path, `{"date":1}`); status != 400 {
		t.Errorf("a wrong date: %d %v", status, answer)
	}
	if status, answer, _ := call(t, s, "POST", path, "{}"); status != 200 || answer["status"] != "due" {
		t.Errorf("validate: %d %v", status, answer)
	}
	if status, _, _ := call(t, s, "POST", path, "{}"); status != 400 {
		t.Errorf("validating again: %d", status)
	}
	if _, quote, _ := call(t, s, "GET", fmt.Sprintf("/v2/estimates/%d", id), ""); quote["status"] != "invoiced" {
		t.Errorf("the estimate is %v", quote["status"])
	}
}

func TestTheJournalKeepsWhatWasMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sandbox.jsonl")
	first, err := New(Options{Journal: path, PersonalToken: token})
	if err != nil {
		t.Fatal(err)
	}
	id := estimate(t, first, Estimate{PaymentTerms: map[string]any{"id": 3}})
	status, inv, _ := call(t, first, "POST", "/v2/invoices", jsonOf(t, invoiceOf(id, SampleRows())))
	if status != 201 {
		t.Fatal(status, inv)
	}
	_, quote, _ := call(t, first, "GET", fmt.Sprintf("/v2/estimates/%d?embed[]=payment_terms", id), "")
	first.Misbehave(Fault{CommitLate: time.Hour})
	if status, _, _ := call(t, first, "POST", "/v2/invoices", jsonOf(t, invoiceOf(id, SampleRows()))); status != 0 {
		t.Fatal(status)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, Options{Journal: path})
	if got := again.InvoicesOf(id); len(got) != 2 || got[0] != integerOf(inv["id"]) {
		t.Errorf("invoices after the restart: %v", got)
	}
	_, read, _ := call(t, again, "GET", fmt.Sprintf("/v2/estimates/%d?embed[]=payment_terms", id), "")
	if jsonOf(t, read) != jsonOf(t, quote) {
		t.Errorf("the estimate changed:\n%v\n%v", read, quote)
	}
	if other := estimate(t, again, Estimate{}); other <= integerOf(inv["id"]) {
		t.Errorf("the id %d was given again", other)
	}
}

func TestNotificationsAreSignedAsSellsySignsThem(t *testing.T) {
	type received struct {
		header http.Header
		body   []byte
	}
	got := make(chan received, 8)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- received{r.Header, body}
	}))
	defer receiver.Close()
	s := open(t, Options{})
	id := estimate(t, s, Estimate{})
	for _, n := range []Notification{{}, {WithObject: true}, {JSON: true}, {JSON: true, WithObject: true}} {
		n.URL, n.Key, n.Estimate = receiver.URL, "1eba7b47", id
		if answer, err := s.Notify(t.Context(), n); err != nil || answer.Status != 200 {
			t.Fatal(answer, err)
		}
		r := <-got
		if r.header.Get("X-Webhook-Signature") != Sign("1eba7b47", r.body) || !strings.HasPrefix(r.header.Get("User-Agent"), "Sellsy") {
			t.Errorf("header %v", r.header)
		}
		if n.JSON == bytes.HasPrefix(r.body, []byte("notif=")) {
			t.Errorf("JSON %v sent %s", n.JSON, r.body)
		}
		if n.WithObject != strings.Contains(string(r.body), "relatedobject") {
			t.Errorf("WithObject %v sent %s", n.WithObject, r.body)
		}
	}
	// A subscribed webhook hears of a change of status.
	hook := fmt.Sprintf(`{"type":"http","endpoint":%q,"sign_key":"k","configuration":[{"id":"estimate.step","is_enabled":true}]}`, receiver.URL)
	if status, answer, _ := call(t, s, "POST", "/v2/webhooks", hook); status != 201 {
		t.Fatal(status, answer)
	}
	if status, answer, _ := call(t, s, "PUT", fmt.Sprintf("/v2/estimates/%d/status", id), `{"status":"refused"}`); status != 200 || answer["status"] != "refused" {
		t.Fatal(status, answer)
	}
	if r := <-got; r.header.Get("X-Webhook-Signature") != Sign("k", r.body) {
		t.Errorf("header %v", r.header)
	}
}

func TestSignatureIsTheOneOfSellsysReceivers(t *testing.T) {
	// sha1sum of the key and the body written one behind the other.
	if got := Sign("key", []byte("body")); got != "d64f8b8f26630145e27ad7b693ca5aa54247fe98" {
		t.Error(got)
	}
}

func TestControls(t *testing.T) {
	server, err := Serve("", Options{PersonalToken: token})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	do := func(method, path, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		data, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(data)
	}
	if status, body := do("POST", "/sandbox/estimates", `{"count":3}`); status != 201 || strings.Count(body, ",") != 2 {
		t.Errorf("estimates: %d %s", status, body)
	}
	if status, body := do("POST", "/sandbox/estimates", `{"estimate":{"id":52437688}}`); status != 201 {
		t.Errorf("estimate: %d %s", status, body)
	}
	if status, body := do("POST", "/sandbox/estimates", `{"estimate":{"id":52437688}}`); status != 400 {
		t.Errorf("the same estimate: %d %s", status, body)
	}
	if status, body := do("POST", "/sandbox/invoices", `{"estimate":52437688,"more":{"is_deposit":true}}`); status != 201 {
		t.Errorf("invoice: %d %s", status, body)
	}
	var seen Inspection
	if _, body := do("GET", "/sandbox/invoices", ""); json.Unmarshal([]byte(body), &seen) != nil || len(seen.Estimates) != 4 || len(seen.Estimates[52437688]) != 1 {
		t.Errorf("inspection: %s", body)
	}
	if status, body := do("GET", "/sandbox/invoices?estimate=52437688", ""); status != 200 || !strings.Contains(body, `"is_deposit":true`) {
		t.Errorf("invoices of one: %d %s", status, body)
	}
	if status, body := do("POST", "/sandbox/faults", "* status=503\n"); status != 204 {
		t.Errorf("faults: %d %s", status, body)
	}
	if status, _ := do("GET", "/v2/quotas", ""); status != 503 {
		t.Errorf("with the fault: %d", status)
	}
	if status, _ := do("DELETE", "/sandbox/faults", ""); status != 204 {
		t.Errorf("end of faults: %d", status)
	}
	if status, _ := do("GET", "/v2/quotas", ""); status != 200 {
		t.Errorf("without the fault: %d", status)
	}
	if status, body := do("GET", "/v2/nothing", ""); status != 404 || !strings.Contains(body, `"code":404`) {
		t.Errorf("an unknown route: %d %s", status, body)
	}
}
