package sandbox

import (
	"fmt"
	"slices"
	"time"
)

// Estimate describes a quote to be made in the sandbox. Zero members take a default; a zero Estimate is
// an accepted quote of one company with a row of each kind.
type Estimate struct {
	ID     int64  `json:"id,omitempty"`
	Status string `json:"status,omitempty"` // default accepted
	// Company or Individual is whom it is for; a company by default. With Opportunity alone it is for
	// nobody yet.
	Company     int64  `json:"company,omitempty"`
	Individual  int64  `json:"individual,omitempty"`
	Opportunity int64  `json:"opportunity,omitempty"`
	Contact     int64  `json:"contact,omitempty"`
	Subject     string `json:"subject,omitempty"`
	Currency    string `json:"currency,omitempty"` // default EUR
	Date        string `json:"date,omitempty"`     // default: the day before
	// Rows are written as a request would write them, without read-only members.
	Rows []map[string]any `json:"rows,omitempty"`
	// Discount and Deposit are {"type": "percent" or "amount", "value": "10.00"}.
	Discount map[string]any `json:"discount,omitempty"`
	Deposit  map[string]any `json:"deposit,omitempty"`
	// PaymentTerms is what the embed of that name holds: {"id": 3, "label": "30 jours", …}.
	PaymentTerms map[string]any `json:"payment_terms,omitempty"`
	// More sets further members of the estimate: note, rate_category_id, payment_method_ids, …
	More map[string]any `json:"more,omitempty"`
}

// SampleRows are a row of every kind that an estimate can have.
func SampleRows() []map[string]any {
	return []map[string]any{
		{"type": "title", "text": "Site marchand"},
		{"type": "single", "unit_amount": "480.00", "quantity": "2.5", "tax_id": 4001, "unit_id": 1,
			"reference": "ATELIER", "description": "Atelier de cadrage", "purchase_amount": "120.00"},
		{"type": "catalog", "related": map[string]any{"id": 7101, "type": "product", "declination_id": 88},
			"unit_amount": "19.99", "quantity": "3", "tax_id": 4003, "unit_id": 1, "reference": "LIV-88",
			"description": "Guide, couverture bleue", "discount": map[string]any{"type": "percent", "value": "10"},
			"eco_tax": map[string]any{"type": "inc", "value": "0.15"}, "analytic_code": "LIVRES"},
		{"type": "catalog", "related": map[string]any{"id": 7202, "type": "service", "declination_id": nil},
			"unit_amount": "1250.00", "quantity": "1", "tax_id": 4001, "description": "Intégration",
			"discount": map[string]any{"type": "amount", "value": "50.00"}},
		{"type": "sub-total"},
		{"type": "comment", "text": "Livraison sous quinze jours."},
		{"type": "single", "unit_amount": "300.00", "quantity": "1", "tax_id": 4001, "reference": "OPT",
			"description": "Option : formation", "is_optional": true},
		{"type": "break-line"},
		{"type": "shipping", "related": map[string]any{"id": 31, "type": "shipping"},
			"unit_amount": "12.50", "quantity": "1", "tax_id": 4001},
		{"type": "packaging", "related": map[string]any{"id": 32, "type": "packaging"},
			"unit_amount": "4.00", "quantity": "2", "tax_id": 4001},
		{"type": "break-page"},
		{"type": "comment", "text": "Conditions générales au verso."},
	}
}

const (
	defaultCompany = 46340687
	defaultStaff   = 1084
)

// AddEstimate makes an estimate, and the third parties and items that it names. A row that Sellsy's
// document doesn't allow is an error.
func (s *Sandbox) AddEstimate(e Estimate) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.ID == 0 {
		e.ID = s.nextID()
	}
	if s.estimates[e.ID] != nil {
		return 0, fmt.Errorf("there is an estimate %d already", e.ID)
	}
	if err := s.defaults(&e); err != nil {
		return 0, err
	}
	o, err := s.newEstimate(e)
	if err != nil {
		return 0, err
	}
	s.keepEstimate(o)
	return e.ID, s.journal("estimate", o)
}

func (s *Sandbox) defaults(e *Estimate) error {
	if e.Status == "" {
		e.Status = "accepted"
	}
	if !slices.Contains(estimateStatuses, e.Status) {
		return fmt.Errorf("status %q: an estimate has one of %v", e.Status, estimateStatuses)
	}
	if e.Company == 0 && e.Individual == 0 && e.Opportunity == 0 {
		e.Company = defaultCompany
	}
	if e.Currency == "" {
		e.Currency = "EUR"
	}
	if e.Subject == "" {
		e.Subject = fmt.Sprintf("Devis n° %d", e.ID)
	}
	if e.Date == "" {
		e.Date = s.opts.Now().AddDate(0, 0, -1).Format(time.DateOnly)
	}
	if e.Rows == nil {
		e.Rows = SampleRows()
	}
	return nil
}

func (s *Sandbox) newEstimate(e Estimate) (object, error) {
	created, err := time.Parse(time.DateOnly, e.Date)
	if err != nil {
		return nil, fmt.Errorf("date %q is not a date: 2026-11-21", e.Date)
	}
	rowsAny, err := normal(e.Rows)
	if err != nil {
		return nil, err
	}
	wrong := details{}
	listOf(row, 0).check("rows", rowsAny, wrong)
	discount, err := normal(e.Discount)
	if err != nil {
		return nil, err
	}
	if e.Discount != nil {
		newInvoice.fields["discount"].check("discount", discount, wrong)
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("not an estimate that Sellsy would keep: %v", wrong)
	}
	discounted, _ := discount.(object)
	rows, sums := price(rowsAny.([]any), discounted, s.nextID)
	o := object{
		"id": e.ID, "number": fmt.Sprintf("D-%d", e.ID), "status": e.Status, "subject": e.Subject,
		"date": e.Date, "created": created.Add(9 * time.Hour).Format(time.RFC3339),
		"expiry_date": created.AddDate(0, 1, 0).Format(time.DateOnly),
		"currency":    e.Currency, "related": relatedOf(e), "contact_id": nil,
		"owner":             object{"type": "staff", "id": int64(defaultStaff)},
		"assigned_staff_id": int64(defaultStaff), "amounts": sums.estimateAmounts(), "taxes": sums.taxes,
		"rows": rows, "discount": sums.discountObject(), "deposit": nil, "fiscal_year_id": int64(2026),
		"public_link": nil, "public_link_enabled": false, "payment_method_ids": []any{},
		"invoicing_address_id": int64(501), "delivery_address_id": int64(502),
		"decimal_number": object{"unit_price": nil, "quantity": nil, "main": int64(2)},
	}
	if e.Contact != 0 {
		o["contact_id"] = e.Contact
	}
	for name, v := range map[string]any{"deposit": e.Deposit, embeddedTerms: e.PaymentTerms} {
		if m, _ := v.(map[string]any); m != nil {
			if o[name], err = normal(m); err != nil {
				return nil, err
			}
		}
	}
	for name, v := range e.More {
		if o[name], err = normal(v); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// embeddedTerms is where an estimate's payment terms are kept; they are shown only when asked for.
const embeddedTerms = "\x00payment_terms"

func relatedOf(e Estimate) []any {
	var related []any
	for _, r := range []struct {
		kind string
		id   int64
	}{{"company", e.Company}, {"individual", e.Individual}, {"opportunity", e.Opportunity}} {
		if r.id != 0 {
			related = append(related, object{"type": r.kind, "id": r.id})
		}
	}
	return related
}

// keepEstimate remembers the estimate and what it names, so that an invoice which names something else
// is refused.
func (s *Sandbox) keepEstimate(o object) {
	id := integerOf(o["id"])
	s.estimates[id] = o
	s.lastID = max(s.lastID, id)
	for _, v := range o["related"].([]any) {
		s.known[reference(v)] = true
	}
	if contact := integerOf(o["contact_id"]); contact != 0 {
		s.known[objectRef{"contact", contact}] = true
	}
	for _, v := range o["rows"].([]any) {
		r := v.(object)
		s.lastID = max(s.lastID, integerOf(r["id"]))
		if related, ok := r["related"].(object); ok {
			s.known[reference(related)] = true
			s.prices[reference(related)] = r
		}
	}
}

// objectRef names an object of the account.
type objectRef struct {
	kind string
	id   int64
}

func reference(v any) objectRef {
	o, _ := v.(object)
	kind, _ := o["type"].(string)
	return objectRef{kind, integerOf(o["id"])}
}

// shown is the estimate as it is read, with what was asked to be embedded.
func shown(o object, embeds []string) object {
	out := o.clone()
	terms := out[embeddedTerms]
	delete(out, embeddedTerms)
	if slices.Contains(embeds, "payment_terms") {
		embedded := object{}
		if terms != nil {
			embedded["payment_terms"] = object{
				"settings":                 object{"type": "settings", "value": terms},
				"computed_instalment_plan": []any{},
			}
		}
		out["_embed"] = embedded
	}
	return out
}
