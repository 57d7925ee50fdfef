package sellsy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"relais/internal/core"
	"relais/internal/sandbox"
	"relais/internal/step"
	"relais/internal/step/once/oncetest"
)

// plain reads JSON for comparing.
func plain(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheInvoiceSaysWhatTheEstimateSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, oncetest.NewMemory(), sandbox.Options{})
		more := map[string]any{
			"note": "Merci.", "rate_category_id": 12, "payment_method_ids": []any{3.0, 4.0}, "issuer_address_id": 7,
			"service_dates": map[string]any{"start": "2026-01-01", "end": "2026-06-30"}, "vat_mode": "debit",
			"sale_type": "mixed", "analytic_code": "PARIS", "bank_account_id": 5, "check_label_id": 6,
			"shipping_date": "2026-02-01", "shipping_volume": "1.5", "public_link_enabled": true,
			"shipping_weight":   map[string]any{"unit": "kg", "value": "12.5"},
			"assigned_staff_id": 44, "owner": map[string]any{"type": "staff", "id": 45},
		}
		id := b.estimate(sandbox.Estimate{
			Company: 900, Contact: 901, Opportunity: 902, Subject: "Site marchand", Currency: "CHF",
			Discount:     map[string]any{"type": "percent", "value": "7.50"},
			PaymentTerms: map[string]any{"id": 3, "label": "15 jours", "x_days": 15, "end_of_month": false},
			More:         more,
		})
		out := b.drive(b.book.Deliver(t), with(id))
		b.oneInvoice(id, out)
		raw, err := b.sellsy.Invoice(b.invoices(id)[0])
		if err != nil {
			t.Fatal(err)
		}
		got := plain(t, raw)
		want := map[string]any{
			"subject": "Site marchand", "currency": "CHF", "contact_id": 901.0,
			"parent": map[string]any{"type": "estimate", "id": float64(id)},
			"related": []any{
				map[string]any{"type": "company", "id": 900.0}, map[string]any{"type": "opportunity", "id": 902.0},
				map[string]any{"type": "contact", "id": 901.0},
			},
			"invoicing_address_id": 501.0, "delivery_address_id": 502.0, "public_link": map[string]any{"enabled": true},
		}
		for name, v := range more {
			if name != "public_link_enabled" {
				want[name] = v
			}
		}
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range plain(t, data) {
			if diff := cmp.Diff(v, got[name]); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		if d, _ := got["discount"].(map[string]any); d["type"] != "percent" || d["percent"] != "7.50" {
			t.Errorf("discount: %v", d)
		}
	})
}

func TestEveryRowIsWrittenWithoutWhatIsSellsysOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, oncetest.NewMemory(), sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		e, err := b.account.client.estimate(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		body, err := newInvoice(e)
		if err != nil {
			t.Fatal(err)
		}
		rows, _ := plain(t, body)["rows"].([]any)
		data, err := json.Marshal(sandbox.SampleRows())
		if err != nil {
			t.Fatal(err)
		}
		var want []any
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		delete(want[3].(map[string]any)["related"].(map[string]any), "declination_id") // null
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Errorf("rows: %s", diff)
		}
	})
}

func TestAnUnknownRowIsNotLeftOut(t *testing.T) {
	var e estimate
	if err := json.Unmarshal([]byte(`{"id":7,"related":[{"type":"company","id":1}],"rows":[{"type":"title"},{"type":"hologram"}]}`), &e); err != nil {
		t.Fatal(err)
	}
	if _, err := newInvoice(&e); err == nil || !strings.Contains(err.Error(), `row 2 is of the kind "hologram"`) {
		t.Errorf("got %v", err)
	}
}

func TestPaymentTermsTakeTheFormThatTheDocumentAllows(t *testing.T) {
	for read, want := range map[string]string{
		`{}`:                             `null`,
		`{"id":0}`:                       `null`,
		`{"id":1,"label":"à réception"}`: `{"id":1}`,
		`{"id":2,"x_days":30,"end_of_month":false}`:           `{"end_of_month":false,"id":2}`,
		`{"id":2,"x_days":45,"end_of_month":true}`:            `{"end_of_month":true,"id":2}`,
		`{"id":3,"x_days":15}`:                                `{"id":3,"x_days":15}`,
		`{"id":3,"x_days":15,"end_of_month":false}`:           `{"id":3,"x_days":15}`,
		`{"id":4,"x_days":0,"end_of_month":false,"label":""}`: `{"id":4}`,
	} {
		var r row
		if err := json.Unmarshal([]byte(read), &r); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(writtenTerms(r))
		if err != nil || string(got) != want {
			t.Errorf("%s is written as %s, want %s (%v)", read, got, want, err)
		}
	}
}

// TestShapesThatPHPMakes: empty objects come as lists, and ids of nothing as 0 or null.
func TestShapesThatPHPMakes(t *testing.T) {
	var e estimate
	if err := json.Unmarshal([]byte(`{"id":7,"status":"accepted","date":"2026-01-02","created":"2026-01-02T10:00:00+0100",
		"related":[{"type":"company","id":1}],"contact_id":null,"discount":null,"_embed":[],"rows":[],"bank_account_id":0,
		"delivery_address_id":null,"payment_method_ids":null,"service_dates":null,"amounts":{"total":120.50,"total_excl_tax":"100.00"}}`), &e); err != nil {
		t.Fatal(err)
	}
	body, err := newInvoice(&e)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"parent":{"type":"estimate","id":7},"related":[{"type":"company","id":1}],"rows":[]}`
	if string(body) != want {
		t.Errorf("written as %s", body)
	}
	if e.Amounts.Incl != "120.50" {
		t.Errorf("the total is %q", e.Amounts.Incl)
	}
	if want := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); !e.since().Equal(want) {
		t.Errorf("since %v", e.since())
	}
	for parent, fails := range map[string]bool{`null`: false, `[]`: false, `{"type":"order","id":7}`: false, `"x"`: true, `[1]`: true, `{"id":{}}`: true} {
		var inv invoice
		err := json.Unmarshal([]byte(`{"id":1,"parent":`+parent+`}`), &inv)
		if (err != nil) != fails || inv.isOf(7) {
			t.Errorf("parent %s: %v, of the estimate %v", parent, err, inv.isOf(7))
		}
	}
}

func TestTotalsThatDifferAreToldAndNeverValidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, oncetest.NewMemory(), sandbox.Options{})
		id := b.estimate(sandbox.Estimate{More: map[string]any{"amounts": map[string]any{
			"total": "1000.00", "total_excl_tax": "800.00", "shipping": "0", "packaging": "0",
			"total_raw_excl_tax": "800.00", "total_after_discount_excl_tax": "800.00",
		}}})
		out := b.drive(b.book.Deliver(t), map[string]any{"estimate": fmt.Sprint(id), "validate": true})
		if out.dead != nil || out.result["totals_match"] != false || out.result["validated"] != false || out.result["invoice_status"] != "draft" {
			t.Errorf("ended with %v %v", out.result, out.dead)
		}
		incl, _ := decimal(out.result["total_incl_tax"].(string)).amount()
		if want, _ := decimal("1000.00").amount(); out.result["difference"] != incl.Sub(incl, want).FloatString(2) {
			t.Errorf("the difference is %v", out.result["difference"])
		}
		path := fmt.Sprintf("/v2/invoices/%d/validate", b.invoices(id)[0])
		if n := b.sellsy.Requests("POST", path); n != 0 {
			t.Errorf("it was validated %d times", n)
		}
	})
}

func TestValidationHappensOnce(t *testing.T) {
	for _, fault := range []string{
		"", "POST /v2/invoices/*/validate times=1 drop_answer", "POST /v2/invoices/*/validate times=1 drop_request",
		"POST /v2/invoices/*/validate times=1 status=500", "POST /v2/invoices/*/validate times=1 status=429",
	} {
		for crash := range 4 {
			t.Run(fmt.Sprintf("%s/%d", fault, crash), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, oncetest.NewMemory(), sandbox.Options{})
					id := b.estimate(sandbox.Estimate{})
					b.misbehave(fault)
					sent := 0
					b.account.rules.Hook = func(p Point) error {
						// The second effect that is sent is the validation.
						if p == PointSent || p == PointLastByte {
							if sent++; sent == 2+crash {
								return errCrash
							}
						}
						return nil
					}
					out := b.drive(b.book.Deliver(t), map[string]any{"estimate": fmt.Sprint(id), "validate": true})
					if out.dead != nil || out.result["validated"] != true || out.result["invoice_status"] != "due" {
						t.Errorf("ended with %v %v", out.result, out.dead)
					}
					b.oneInvoice(id, out)
				})
			})
		}
	}
}

func TestAHandMadeInvoiceIsNotValidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, oncetest.NewMemory(), sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		hand := b.handMade(id, nil)
		out := b.drive(b.book.Deliver(t), map[string]any{"estimate": fmt.Sprint(id), "validate": true})
		if out.result["status"] != statusExisting || out.result["validated"] != false || out.result["id"] != hand {
			t.Errorf("ended with %v %v", out.result, out.dead)
		}
		if n := b.sellsy.Requests("POST", fmt.Sprintf("/v2/invoices/%d/validate", hand)); n != 0 {
			t.Errorf("it was validated %d times", n)
		}
	})
}

func TestARefusedInvoiceIsDeadWithSellsysWordsAndCanBeReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, oncetest.NewMemory(), sandbox.Options{})
		id := b.estimate(sandbox.Estimate{More: map[string]any{"analytic_code": strings.Repeat("A", 14)}})
		delivery := b.book.Deliver(t)
		out := b.drive(delivery, with(id))
		if out.dead == nil || out.dead.Reason != core.ReasonStatus || !strings.Contains(out.dead.Message, "analytic_code: This value is too long") {
			t.Fatalf("ended with %v %v", out.result, out.dead)
		}
		start := time.Now()
		if out := b.drive(delivery, with(id)); out.dead == nil || time.Since(start) > time.Second {
			t.Errorf("a refusal left the effect sent: the replay took %v", time.Since(start))
		}
		if len(b.invoices(id)) != 0 {
			t.Errorf("invoices: %v", b.invoices(id))
		}
	})
}

func TestEstimateIDs(t *testing.T) {
	for _, bad := range []any{"", "0", "-1", "+1", "1.0", "12a", "../1", "99999999999999999999", nil, true, 1.5, int64(0)} {
		if _, err := estimateID(bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	for _, good := range []any{"52437688", "0052437688", int64(52437688)} {
		if id, err := estimateID(good); err != nil || id != 52437688 {
			t.Errorf("%v: %d, %v", good, id, err)
		}
	}
	kind := CreateInvoice()
	names := make([]string, 0, len(kind.Params))
	for _, p := range kind.Params {
		names = append(names, p.Name)
	}
	if kind.Class != step.ClassExact || kind.Connection != "sellsy" || !slices.Equal(names, []string{"estimate", "validate"}) {
		t.Errorf("the kind says %+v", kind)
	}
	if err := checkEstimate("${{ event.data.relatedid }}"); err != nil {
		t.Error(err)
	}
}

func TestResultsHaveTheSameMembersAlways(t *testing.T) {
	want := []string{
		"currency", "difference", "estimate", "estimate_number", "estimate_total_incl_tax", "id", "invoice_status",
		"message", "number", "reference", "status", "total_excl_tax", "total_incl_tax", "totals_match", "validated",
	}
	if got := slices.Sorted(maps.Keys((&made{}).result())); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if declared := slices.Sorted(slices.Values(CreateInvoice().Result)); !slices.Equal(declared, want) {
		t.Errorf("the kind declares %v", declared)
	}
	for number, reference := range map[string]string{"F-7": "F-7", "": "#1040"} {
		if got := (&made{ID: 1040, Number: number}).result()["reference"]; got != reference {
			t.Errorf("an invoice with the number %q is called %v, want %s", number, got, reference)
		}
	}
}
