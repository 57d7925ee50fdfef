package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// invoice is one that the sandbox holds.
type invoice struct {
	object   object
	estimate int64 // its parent, 0 without one
	related  []objectRef
	created  time.Time
	// found is when searches begin to find it.
	found time.Time
}

// createInvoice checks a request as Sellsy would and makes the invoice, without keeping it yet.
func (s *Sandbox) createInvoice(o object) (*invoice, *apiError) {
	wrong := details{}
	newInvoice.check("", o, wrong)
	if len(wrong) > 0 {
		return nil, invalid(wrong)
	}
	s.checkRelated(o, wrong)
	s.checkRows(o, wrong)
	if start, end := period(o["service_dates"]); end != "" && end <= start {
		wrong.add("service_dates.end", "The end date must be greater than the start date.")
	}
	parent := s.checkParent(o, wrong)
	if len(wrong) > 0 {
		return nil, invalid(wrong)
	}
	return s.newInvoice(o, parent), nil
}

func period(v any) (start, end string) {
	o, _ := v.(object)
	start, _ = o["start"].(string)
	end, _ = o["end"].(string)
	return start, end
}

func (s *Sandbox) checkRelated(o object, wrong details) {
	list, _ := o["related"].([]any)
	payers, contacts := 0, 0
	for i, v := range list {
		ref := reference(v)
		path := fmt.Sprintf("related[%d]", i)
		switch ref.kind {
		case "company", "individual":
			payers++
		case "contact":
			contacts++
		case "":
			wrong.add(path+".type", "This field is missing.")
		}
		if ref.kind != "" && !s.known[ref] {
			wrong.add(path+".id", "There is no %s %d.", ref.kind, ref.id)
		}
	}
	if payers != 1 {
		wrong.add("related", "There must be one company or one individual, %d given.", payers)
	}
	if contacts > 1 {
		wrong.add("related", "There may be no more than one contact, %d given.", contacts)
	}
}

func (s *Sandbox) checkRows(o object, wrong details) {
	rows, _ := o["rows"].([]any)
	for i, v := range rows {
		r := v.(object)
		path := fmt.Sprintf("rows[%d]", i)
		if related, ok := r["related"].(object); ok {
			ref := reference(related)
			if !s.known[ref] {
				wrong.add(path+".related.id", "There is no %s %d.", ref.kind, ref.id)
			} else if kind, _ := r["type"].(string); kind != "catalog" && kind != ref.kind {
				wrong.add(path+".related.type", "A row of type %s can't be of an item of type %s.", kind, ref.kind)
			}
		}
		if id, ok := r["tax_id"].(int64); ok && taxes[id].id == 0 {
			wrong.add(path+".tax_id", "There is no tax %d.", id)
		}
	}
}

// checkParent returns the estimate that the invoice is of, 0 without one.
func (s *Sandbox) checkParent(o object, wrong details) int64 {
	parent, ok := o["parent"].(object)
	if !ok {
		return 0
	}
	kind, _ := parent["type"].(string)
	id := integerOf(parent["id"])
	switch estimate := s.estimates[id]; {
	case kind != "estimate":
		wrong.add("parent.type", "The sandbox has estimates only, %q given.", kind)
	case estimate == nil:
		wrong.add("parent.id", "There is no estimate %d.", id)
	default:
		if status, _ := estimate["status"].(string); !slices.Contains(invoiceable, status) {
			wrong.add("parent", "The estimate %d is %s: it can't be invoiced.", id, status)
		}
	}
	return id
}

// newInvoice makes the object that is read back. Items without a price take the catalogue's.
func (s *Sandbox) newInvoice(o object, parent int64) *invoice {
	now := s.opts.Now().UTC()
	created := now
	if text, ok := o["created"].(string); ok {
		created, _ = time.Parse(time.RFC3339, text)
	}
	rows, _ := o["rows"].([]any)
	rows = slices.Clone(rows)
	for i, v := range rows {
		r := v.(object)
		item := s.prices[reference(r["related"])]
		if r["related"] == nil || item == nil {
			continue
		}
		r = r.clone()
		for _, name := range []string{"unit_amount", "tax_id"} {
			if r[name] == nil {
				r[name] = item[name]
			}
		}
		rows[i] = r
	}
	discount, _ := o["discount"].(object)
	id := s.nextID()
	priced, sums := price(rows, discount, s.nextID)
	out := object{
		"id": id, "number": "", "status": "draft", "date": now.Format(time.DateOnly),
		"due_date": now.AddDate(0, 0, 30).Format(time.DateOnly), "created": created.Format(time.RFC3339),
		"currency": "EUR", "amounts": sums.invoiceAmounts(), "taxes": sums.taxes,
		"discount": sums.discountObject(), "owner": object{"type": "staff", "id": int64(defaultStaff)},
		"parent": nil, "contact_id": nil, "is_deposit": false, "is_progress_invoice": false,
		"is_sent_to_accounting": false, "assigned_staff_id": int64(defaultStaff), "fiscal_year_id": int64(2026),
		"pdf_link": nil, "rows": priced,
	}
	for _, name := range copied {
		if v, ok := o[name]; ok {
			out[name] = v
		}
	}
	if enabled, ok := o["public_link_enabled"].(bool); ok {
		out["public_link"] = object{"enabled": enabled}
	}
	if owner := integerOf(o["owner_id"]); owner != 0 {
		out["owner"] = object{"type": "staff", "id": owner}
	}
	if parent != 0 {
		out["parent"] = object{"type": "estimate", "id": parent}
	}
	for _, v := range o["related"].([]any) {
		if ref := reference(v); ref.kind == "contact" {
			out["contact_id"] = ref.id
		}
	}
	return makeInvoice(out)
}

// copied are the members that an invoice keeps as they were given.
var copied = []string{
	"number", "date", "due_date", "subject", "currency", "related", "assigned_staff_id", "order_reference",
	"service_dates", "invoicing_address_id", "delivery_address_id", "issuer_address_id", "note", "shipping_date",
	"shipping_volume", "shipping_weight", "bank_account_id", "payment_method_ids", "check_label_id", "vat_mode",
	"vat_mention", "analytic_code", "sale_type", "rate_category_id",
}

func makeInvoice(o object) *invoice {
	text, _ := o["created"].(string)
	created, _ := time.Parse(time.RFC3339, text)
	inv := &invoice{object: o, created: created}
	if ref := reference(o["parent"]); ref.kind == "estimate" {
		inv.estimate = ref.id
	}
	related, _ := o["related"].([]any)
	for _, v := range related {
		inv.related = append(inv.related, reference(v))
	}
	return inv
}

// keepInvoice commits an invoice; searches find it from the given time.
func (s *Sandbox) keepInvoice(inv *invoice, found time.Time) {
	id := integerOf(inv.object["id"])
	inv.found = found
	s.invoices[id] = inv
	s.lastID = max(s.lastID, id)
	if inv.estimate != 0 {
		s.byEstimate[inv.estimate] = append(s.byEstimate[inv.estimate], id)
	}
	for _, ref := range inv.related {
		s.byRelated[ref] = append(s.byRelated[ref], inv)
	}
}

// AddInvoice makes an invoice of an estimate as a person would in Sellsy's own pages: the members given
// in more win. {"is_deposit": true} makes it a deposit invoice.
func (s *Sandbox) AddInvoice(estimate int64, more map[string]any) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.estimates[estimate]
	if e == nil {
		return 0, fmt.Errorf("there is no estimate %d", estimate)
	}
	var rows []any
	for _, v := range e["rows"].([]any) {
		rows = append(rows, v.(object).clone())
	}
	inv := s.newInvoice(object{"related": e["related"], "rows": rows, "subject": e["subject"]}, estimate)
	for name, v := range more {
		member, err := normal(v)
		if err != nil {
			return 0, err
		}
		inv.object[name] = member
	}
	inv = makeInvoice(inv.object)
	s.keepInvoice(inv, s.opts.Now())
	return integerOf(inv.object["id"]), s.journal("invoice", inv.object)
}

// validateInvoice makes a draft due, and its estimate invoiced.
func (s *Sandbox) validateInvoice(id int64, o object) (object, *apiError) {
	wrong := details{}
	validation.check("", o, wrong)
	if len(wrong) > 0 {
		return nil, invalid(wrong)
	}
	inv := s.invoices[id]
	switch {
	case inv == nil:
		return nil, notFound("Invoice")
	case inv.object["status"] != "draft":
		return nil, &apiError{status: http.StatusBadRequest, message: "Only a draft invoice can be validated"}
	}
	changed := inv.object.clone()
	changed["status"], changed["number"] = "due", fmt.Sprintf("F-%d", id)
	if day, ok := o["date"]; ok {
		changed["date"] = day
	}
	inv.object = changed
	if err := s.journal("invoice", changed); err != nil {
		return nil, internal(err)
	}
	if e := s.estimates[inv.estimate]; e != nil {
		if err := s.setStatus(e, "invoiced"); err != nil {
			return nil, internal(err)
		}
	}
	return changed, nil
}

// setStatus changes a copy, since readers may still hold the object.
func (s *Sandbox) setStatus(estimate object, status string) error {
	changed := estimate.clone()
	changed["status"] = status
	s.estimates[integerOf(changed["id"])] = changed
	return s.journal("estimate", changed)
}
