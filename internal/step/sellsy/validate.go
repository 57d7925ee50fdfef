package sellsy

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
)

const validationKind = "sellsy/validation"

// validate makes the invoice final, as an effect of its own. An invoice whose totals aren't the estimate's,
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
	key := "validation/invoice/" + id
	effect := c.newEffect(c.call, validationKind, key, "the validation of invoice "+id)
	if err := effect.Open(ctx); err != nil {
		return err
	}
	if effect.WasDone() {
		return m.validated(effect.Row.Result)
	}
	// Unlike a search, reading an invoice by its id doesn't lag: its status decides at once.
	inv, err := c.client.invoice(ctx, m.ID)
	if err != nil {
		return system.Failure("read invoice "+id, err)
	}
	if inv.Status == "draft" {
		if effect.WasSent() {
			if err := effect.Reopen(ctx); err != nil {
				return err
			}
		}
		if err := c.send(ctx, effect, "/invoices/"+id+"/validate", []byte("{}"), "validate invoice "+id, inv); err != nil {
			return err
		}
	}
	result := map[string]any{"id": m.ID, "number": inv.Number, "invoice_status": inv.Status}
	if err := effect.Done(ctx, result); err != nil {
		return err
	}
	m.take(inv.Number, inv.Status)
	return nil
}

func (m *made) validated(result json.RawMessage) error {
	var known struct {
		Number string `json:"number"`
		Status string `json:"invoice_status"`
	}
	if err := json.Unmarshal(result, &known); err != nil {
		return fmt.Errorf("read the validation's result: %w", err)
	}
	m.take(known.Number, known.Status)
	return nil
}

func (m *made) take(number, status string) {
	if number != "" {
		m.Number = number
	}
	if status != "" {
		m.InvoiceStatus = status
	}
	m.Validated = true
}
