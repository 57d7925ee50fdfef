package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
