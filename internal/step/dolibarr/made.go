package dolibarr

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"relais/internal/step"
	"relais/internal/step/once"
)

const (
	statusCreated  = "created"
	statusExisting = "existing"
)

var invoiceStatuses = map[int64]string{0: "draft", 1: "unpaid", 2: "paid", 3: "abandoned"}

// made is the invoice as the ledger keeps it and later steps see it.
type made struct {
	Status        string `json:"status"` // created by relais, or existing
	ID            int64  `json:"id"`
	Ref           string `json:"ref"`
	RefExt        string `json:"ref_ext"`
	InvoiceStatus string `json:"invoice_status"`
	Currency      string `json:"currency"`
	Excl          string `json:"total_excl_tax"`
	Incl          string `json:"total_incl_tax"`
	Proposal      int64  `json:"proposal"`
	ProposalRef   string `json:"proposal_ref"`
	Difference    string `json:"difference"` // "" when the totals can't be compared
	Match         bool   `json:"totals_match"`
	Validated     bool   `json:"validated"`
	Message       string `json:"message"`
	// Event is the one whose delivery made or found the invoice.
	Event string `json:"event,omitempty"`
	// others is set where the ledger's invoice was created for another event.
	others bool
}

func newMade(status string, inv, p object) *made {
	m := &made{
		Status: status, ID: inv.number("id"), Ref: inv.text("ref"), RefExt: inv.text("ref_ext"),
		InvoiceStatus: invoiceStatuses[inv.status()], Currency: inv.text("multicurrency_code"),
		Excl: cents(inv, "total_ht"), Incl: cents(inv, "total_ttc"),
		Proposal: p.number("id"), ProposalRef: p.text("ref"),
	}
	excl, okExcl := difference(inv, p, "total_ht")
	incl, okIncl := difference(inv, p, "total_ttc")
	switch {
	case !okExcl || !okIncl:
		m.Message = "the totals of the invoice and the proposal can't be compared: look at both"
	case excl == "0.00" && incl == "0.00":
		m.Difference, m.Match = incl, true
	default:
		m.Difference = incl
		m.Message = fmt.Sprintf("the invoice's total is %s, the proposal's %s: look at both before you validate it", m.Incl, cents(p, "total_ttc"))
	}
	return m
}

func cents(o object, name string) string {
	if n, ok := o.amount(name); ok {
		return n.FloatString(2)
	}
	return ""
}

func difference(inv, p object, name string) (string, bool) {
	invoiced, ok := inv.amount(name)
	proposed, too := p.amount(name)
	if !ok || !too {
		return "", false
	}
	text := invoiced.Sub(invoiced, proposed).FloatString(2)
	if text == "-0.00" {
		text = "0.00"
	}
	return text, true
}

func (m *made) result() step.Result {
	status := m.Status
	if m.others {
		status = statusExisting
	}
	return step.Result{
		"status": status, "id": m.ID, "ref": m.Ref, "ref_ext": m.RefExt, "invoice_status": m.InvoiceStatus,
		"currency": m.Currency, "total_excl_tax": m.Excl, "total_incl_tax": m.Incl,
		"proposal": m.Proposal, "proposal_ref": m.ProposalRef, "difference": m.Difference, "totals_match": m.Match,
		"validated": m.Validated, "message": m.Message,
	}
}

// validate makes the invoice final, as an effect of its own. An invoice whose totals aren't the proposal's,
// and one that a person made, are left as they are.
func (c *creation) validate(ctx context.Context, m *made) error {
	switch {
	case m.Status != statusCreated:
		m.Message = "the invoice was there before relais: it is left as it is, not validated"
		return nil
	case !m.Match:
		return nil // its message says why
	}
	id := strconv.FormatInt(m.ID, 10)
	effect := c.newEffect(c.call, "dolibarr/validation", "validation/invoice/"+id, "the validation of invoice "+id)
	if err := effect.Open(ctx); err != nil {
		return err
	}
	if effect.WasDone() {
		var known object
		if err := json.Unmarshal(effect.Row.Result, &known); err != nil {
			return fmt.Errorf("read the validation's result: %w", err)
		}
		m.take(known)
		return nil
	}
	// Reading an invoice by its id doesn't lag: its status decides at once.
	inv, err := c.object(ctx, "invoices", m.ID)
	if err != nil {
		return effect.Lost(ctx, system.Failure("read invoice "+id, err))
	}
	if inv.status() == invoiceDraft {
		if effect.WasSent() {
			if err := effect.Reopen(ctx); err != nil {
				return err
			}
		}
		if err := effect.Send(ctx, "validate invoice "+id, func(ctx context.Context, f *once.Fence) error {
			return c.Connection.call(ctx, http.MethodPost, "/invoices/"+id+"/validate", []byte(`{"force_number":"","idwarehouse":0,"notrigger":0}`), f, &inv)
		}); err != nil {
			return err
		}
	}
	known := object{"id": m.ID, "ref": inv.text("ref"), "invoice_status": invoiceStatuses[inv.status()]}
	if err := effect.Done(ctx, known); err != nil {
		return err
	}
	m.take(known)
	return nil
}

func (m *made) take(known object) {
	if ref := known.text("ref"); ref != "" {
		m.Ref = ref
	}
	if status := known.text("invoice_status"); status != "" {
		m.InvoiceStatus = status
	}
	m.Validated = true
}
