package sellsy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/step/rest"
)

const (
	statusCreated  = "created"
	statusExisting = "existing"
)

// made is the invoice as the ledger keeps it and later steps see it.
type made struct {
	Status        string `json:"status"` // created by relais, or existing
	ID            int64  `json:"id"`
	Number        string `json:"number"`
	InvoiceStatus string `json:"invoice_status"`
	Currency      string `json:"currency"`
	Excl          string `json:"total_excl_tax"`
	Incl          string `json:"total_incl_tax"`
	Estimate      int64  `json:"estimate"`
	EstimateName  string `json:"estimate_number"`
	EstimateIncl  string `json:"estimate_total_incl_tax"`
	// Difference is the invoice's total less the estimate's, "0.00" when they are equal, "" when one of
	// them can't be read.
	Difference string `json:"difference"`
	Match      bool   `json:"totals_match"`
	Validated  bool   `json:"validated"`
	Message    string `json:"message"`
	// Event is the one whose delivery made or found the invoice: Sellsy tells each change of a quote's
	// status, the one that the invoice brings about too, and steps that ask for "created" run for one.
	Event string `json:"event,omitempty"`
	// others is set where the ledger's invoice was created for another event.
	others bool
}

func newMade(status string, inv *invoice, e *estimate) *made {
	m := &made{
		Status: status, ID: inv.ID, Number: inv.Number, InvoiceStatus: inv.Status, Currency: inv.Currency,
		Excl: string(inv.Amounts.Excl), Incl: string(inv.Amounts.Incl),
		Estimate: e.ID, EstimateName: e.Number, EstimateIncl: string(e.Amounts.Incl),
	}
	incl, okIncl := difference(inv.Amounts.Incl, e.Amounts.Incl)
	excl, okExcl := difference(inv.Amounts.Excl, e.Amounts.Excl)
	switch {
	case !okIncl || !okExcl:
		m.Message = "the totals of the invoice and the estimate can't be compared: look at both"
	case incl.Sign() == 0 && excl.Sign() == 0 && inv.Currency == e.Currency:
		m.Difference, m.Match = "0.00", true
	default:
		m.Difference = incl.FloatString(2)
		m.Message = fmt.Sprintf("the invoice's total is %s %s, the estimate's %s %s: look at both before you validate it",
			inv.Amounts.Incl, inv.Currency, e.Amounts.Incl, e.Currency)
	}
	return m
}

func (m *made) result() step.Result {
	status := m.Status
	if m.others {
		status = statusExisting
	}
	return step.Result{
		"status": status, "id": m.ID, "number": m.Number, "reference": m.reference(), "invoice_status": m.InvoiceStatus,
		"currency": m.Currency, "total_excl_tax": m.Excl, "total_incl_tax": m.Incl,
		"estimate": m.Estimate, "estimate_number": m.EstimateName, "estimate_total_incl_tax": m.EstimateIncl,
		"difference": m.Difference, "totals_match": m.Match, "validated": m.Validated, "message": m.Message,
	}
}

// reference is how a message names the invoice: a draft may have no number yet.
func (m *made) reference() string {
	if m.Number != "" {
		return m.Number
	}
	return "#" + strconv.FormatInt(m.ID, 10)
}

// recorded reads the invoice that the ledger knows. A person who resolved the effect gave its id only: the
// rest is read from Sellsy.
func (c *creation) recorded(ctx context.Context, result json.RawMessage) (*made, error) {
	var m made
	if err := json.Unmarshal(result, &m); err == nil && m.ID > 0 && m.Status != "" {
		m.others = m.Status == statusCreated && m.Event != c.event()
		return &m, nil
	}
	var said struct {
		ID json.RawMessage `json:"id"`
	}
	id, err := int64(0), json.Unmarshal(result, &said)
	if err == nil {
		id, err = strconv.ParseInt(unquoted(said.ID), 10, 64)
	}
	if err != nil || id <= 0 {
		return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonInvalidData,
			Message: fmt.Sprintf("the ledger says that the invoice of estimate %d is done, but not under which id: see relais effects show %s", c.id, c.effect.Row.Key), Cause: err}
	}
	inv, err := c.client.invoice(ctx, id)
	if err != nil {
		return nil, system.Failure(fmt.Sprintf("read invoice %d, which is the invoice of estimate %d by hand", id, c.id), err)
	}
	e, err := c.client.estimate(ctx, c.id)
	if err != nil {
		return nil, system.Failure(fmt.Sprintf("read estimate %d", c.id), err)
	}
	return newMade(statusExisting, inv, e), nil
}

func (c *creation) event() string {
	if c.call.Event == nil {
		return ""
	}
	return c.call.Event.ID.String()
}

func unquoted(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

func (c *client) invoice(ctx context.Context, id int64) (*invoice, error) {
	var inv invoice
	err := c.read(ctx, http.MethodGet, "/invoices/"+strconv.FormatInt(id, 10), nil, &inv)
	if err == nil && inv.ID != id {
		err = rest.Unreadable("asked for invoice %d, Sellsy answered with %d", id, inv.ID)
	}
	if err != nil {
		return nil, err
	}
	return &inv, nil
}
