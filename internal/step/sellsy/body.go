package sellsy

import (
	"encoding/json"
	"fmt"
	"strings"
)

// copied are the members of an estimate that an invoice takes as they are. What isn't here is either made
// by Sellsy (number, status, amounts, links), of the estimate only (expiry_date, deposit), deprecated
// (eco_tax_id, vat_mention), or a matter of the account's own settings for invoices (pdf_display).
var copied = []string{
	"subject", "currency", "note", "issuer_address_id", "assigned_staff_id", "rate_category_id", "public_link_enabled",
	"payment_method_ids", "shipping_date", "shipping_volume", "check_label_id", "vat_mode", "analytic_code", "sale_type",
}

// copiedPositive are ids for which 0 means none when they are read, and is refused when they are written.
var copiedPositive = []string{"invoicing_address_id", "delivery_address_id", "bank_account_id"}

// copiedObjects go over with exactly these members.
var copiedObjects = map[string][]string{
	"service_dates":   {"start", "end"},
	"shipping_weight": {"unit", "value"},
}

var (
	lineKeys = []string{
		"type", "unit_amount", "tax_id", "quantity", "accounting_code_id", "analytic_code", "is_optional",
	}
	describedKeys = append([]string{"reference", "description", "unit_id", "purchase_amount"}, lineKeys...)
)

// rowKeys are what each kind of row may be written with. Reading gives more: ids and amounts that are
// Sellsy's own, and for shipping and packaging a reference and a description that come from the item.
var rowKeys = map[string][]string{
	"single":     describedKeys,
	"catalog":    append([]string{"warehouse_id", "sku_id"}, describedKeys...),
	"shipping":   lineKeys,
	"packaging":  lineKeys,
	"title":      {"type", "text"},
	"comment":    {"type", "text"},
	"sub-total":  {"type"},
	"break-line": {"type"},
	"break-page": {"type"},
}

var rowObjects = map[string]map[string][]string{
	"single":    {"discount": {"type", "value"}},
	"catalog":   {"discount": {"type", "value"}, "eco_tax": {"type", "value"}, "related": {"id", "type", "declination_id"}},
	"shipping":  {"discount": {"type", "value"}, "related": {"id", "type"}},
	"packaging": {"discount": {"type", "value"}, "related": {"id", "type"}},
}

// newInvoice writes the invoice of an estimate. A row of a kind that relais doesn't know is an error: an
// invoice that leaves something out is worse than none.
func newInvoice(e *estimate) ([]byte, error) {
	body := row{"parent": reference{Type: "estimate", ID: e.ID}}
	take(body, e.rest, copied)
	for _, name := range copiedPositive {
		if n, ok := e.rest[name].(json.Number); ok && n != "0" && !strings.HasPrefix(string(n), "-") {
			body[name] = n
		}
	}
	takeObjects(body, e.rest, copiedObjects)
	body["related"] = related(e)
	if e.Owner.Type == "staff" && e.Owner.ID > 0 {
		body["owner_id"] = e.Owner.ID
	}
	if d := e.Discount; d != nil {
		value := d.Amount
		if d.Type == "percent" {
			value = d.Percent
		}
		if n, ok := value.amount(); ok && n.Sign() != 0 {
			body["discount"] = row{"type": d.Type, "value": value}
		}
	}
	if t := writtenTerms(e.terms()); t != nil {
		body["payment_terms"] = t
	}
	rows := make([]row, 0, len(e.Rows))
	for i, r := range e.Rows {
		written, err := writtenRow(r)
		if err != nil {
			return nil, fmt.Errorf("row %d %w", i+1, err)
		}
		rows = append(rows, written)
	}
	body["rows"] = rows
	return json.Marshal(body)
}

func related(e *estimate) []reference {
	list := append([]reference{}, e.Related...)
	if e.Contact != nil && *e.Contact > 0 {
		list = append(list, reference{Type: "contact", ID: *e.Contact})
	}
	return list
}

// writtenTerms chooses the form of payment terms that the document allows for what was read: 30, 45 and 60
// days say whether they end with the month, other numbers of days are said, and all else is in the id.
func writtenTerms(t row) row {
	id, ok := t["id"].(json.Number)
	if !ok || id == "0" {
		return nil
	}
	out := row{"id": id}
	days, hasDays := t["x_days"].(json.Number)
	end, hasEnd := t["end_of_month"].(bool)
	switch {
	case hasEnd && (end || !hasDays || days == "30" || days == "45" || days == "60"):
		out["end_of_month"] = end
	case hasDays && days != "0":
		out["x_days"] = days
	}
	return out
}

func writtenRow(r row) (row, error) {
	kind, _ := r["type"].(string)
	keys, known := rowKeys[kind]
	if !known {
		return nil, fmt.Errorf("is of the kind %q, which relais doesn't know: make this invoice by hand", kind)
	}
	out := row{}
	take(out, r, keys)
	takeObjects(out, r, rowObjects[kind])
	if unit, ok := out["unit_id"].(json.Number); ok && unit == "0" {
		delete(out, "unit_id")
	}
	for _, name := range []string{"title", "comment"} {
		if kind == name && out["text"] == nil {
			out["text"] = ""
		}
	}
	return out, nil
}

// take copies what is there; null means not set, and not every member may be written as null.
func take(into, from row, names []string) {
	for _, name := range names {
		if v := from[name]; v != nil {
			into[name] = v
		}
	}
}

func takeObjects(into, from row, objects map[string][]string) {
	for name, members := range objects {
		o, ok := from[name].(map[string]any)
		if !ok {
			continue
		}
		kept := row{}
		take(kept, o, members)
		if len(kept) > 0 {
			into[name] = kept
		}
	}
}
