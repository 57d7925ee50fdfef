package sellsy

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"relais/internal/store"
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
	effect, err := c.open(ctx, validationKind, key)
	if err != nil {
		return err
	}
	switch effect.State {
	case store.EffectDone:
		return m.validated(effect.Result)
	case store.EffectUnknown:
		return ambiguous("it isn't known whether invoice %s was validated: look at it in Sellsy, then relais effects resolve %s --done %s, or --absent", id, effect.Key, id)
	case store.EffectSent:
		if left := c.settleLeft(effect); left > 0 {
			return waiting(left, "the validation of invoice %s was sent, and may still take effect in Sellsy", id)
		}
	case store.EffectOpen:
	}
	// Unlike a search, reading an invoice by its id doesn't lag: its status decides at once.
	inv, err := c.client.invoice(ctx, m.ID)
	if err != nil {
		return failure("read invoice "+id, err)
	}
	if inv.Status == "draft" {
		if effect.State == store.EffectSent {
			if err := c.call.Effects.Reopen(ctx, key); err != nil {
				return fmt.Errorf("open the effect again: %w", err)
			}
		}
		if _, err := c.send(ctx, key, "/invoices/"+id+"/validate", []byte("{}"), "validate invoice "+id, inv); err != nil {
			return err
		}
	}
	result, err := json.Marshal(map[string]any{"id": m.ID, "number": inv.Number, "invoice_status": inv.Status})
	if err != nil {
		return err
	}
	if err := c.call.Effects.Done(ctx, key, result); err != nil {
		return fmt.Errorf("note that the invoice is validated: %w", err)
	}
	return m.validated(result)
}

func (m *made) validated(result json.RawMessage) error {
	var known struct {
		Number string `json:"number"`
		Status string `json:"invoice_status"`
	}
	if err := json.Unmarshal(result, &known); err != nil {
		return fmt.Errorf("read the validation's result: %w", err)
	}
	if known.Number != "" {
		m.Number = known.Number
	}
	if known.Status != "" {
		m.InvoiceStatus = known.Status
	}
	m.Validated = true
	return nil
}
