package sellsy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/step/once"
)

// effectKind is what the ledger calls it.
const effectKind = "sellsy/invoice"

// creation is one attempt at the invoice of one estimate.
type creation struct {
	*Connection
	call   *step.Call
	id     int64
	effect *once.Effect
}

// newEffect is an effect in Sellsy.
func (c *Connection) newEffect(call *step.Call, kind, key, thing string) *once.Effect {
	return &once.Effect{
		Rules:  c.rules,
		Ledger: call.Effects, Kind: kind, Key: key, Thing: thing, System: "Sellsy", Failure: system.Failure,
	}
}

// make follows the protocol until the invoice exists, or there is a reason why it doesn't.
func (c *creation) make(ctx context.Context) (*made, step.Result, error) {
	if err := c.effect.Open(ctx); err != nil {
		return nil, nil, err
	}
	if c.effect.WasDone() {
		m, err := c.recorded(ctx, c.effect.Row.Result)
		return m, nil, err
	}
	return c.fromLookUp(ctx)
}

func (c *creation) fromLookUp(ctx context.Context) (*made, step.Result, error) {
	sent := c.effect.WasSent()
	e, err := c.client.estimate(ctx, c.id)
	if err != nil {
		return nil, nil, c.effect.Lost(ctx, system.Failure(fmt.Sprintf("read estimate %d", c.id), err))
	}
	if !sent && e.Status != "accepted" && e.Status != "invoiced" {
		return nil, skip(e), nil
	}
	payer, err := e.payer()
	if err != nil {
		return nil, nil, c.effect.Lost(ctx, invalidEstimate(c.id, err))
	}
	looked := c.rules.Clock()
	list, err := c.client.lookUp(ctx, e, payer)
	if err != nil {
		return nil, nil, c.effect.Lost(ctx, system.Failure(fmt.Sprintf("look for invoices of estimate %d", c.id), err))
	}
	m, err := c.judge(ctx, e, list, sent)
	if m != nil || err != nil {
		return m, nil, err
	}
	if sent {
		if err := c.effect.Absent(ctx); err != nil {
			return nil, nil, err
		}
	}
	if e.Status != "accepted" {
		return nil, skip(e), nil
	}
	if err := c.effect.At(PointLookedUp); err != nil {
		return nil, nil, err
	}
	body, err := newInvoice(e)
	if err != nil {
		return nil, nil, invalidEstimate(c.id, err)
	}
	if err := c.effect.At(PointBefore); err != nil {
		return nil, nil, err
	}
	if c.rules.Clock()-looked > c.rules.Request {
		// What nobody had made then, somebody may have made since.
		return nil, nil, system.Failure(c.doing(), once.ErrStalled)
	}
	m, err = c.create(ctx, e, payer, body)
	return m, nil, err
}

func (c *creation) doing() string { return fmt.Sprintf("create the invoice of estimate %d", c.id) }

// judge says what a look-up means: the invoice, an error, or neither where none was found.
func (c *creation) judge(ctx context.Context, e *estimate, list found, sent bool) (*made, error) {
	switch {
	case len(list.whole) > 1:
		return nil, c.duplicate(ctx, list.whole)
	case len(list.whole) == 1:
		status := statusExisting
		if sent {
			status = statusCreated
		}
		m := newMade(status, &list.whole[0], e)
		return m, c.done(ctx, m)
	case len(list.parts) > 0:
		return nil, once.Ambiguous("estimate %d has deposit or progress invoices (%s): relais makes no invoice of the whole beside them. "+
			"Make the final invoice by hand; a replay takes it over", c.id, names(list.parts))
	case len(list.cancelled) > 0:
		return nil, once.Ambiguous("the invoice of estimate %d was cancelled (%s): relais makes no other one. "+
			"Make it by hand; a replay takes it over", c.id, names(list.cancelled))
	}
	return nil, nil
}

// create sends the invoice, once.
func (c *creation) create(ctx context.Context, e *estimate, payer reference, body []byte) (*made, error) {
	var inv invoice
	if err := c.send(ctx, c.effect, "/invoices", body, c.doing(), &inv); err != nil {
		return nil, err
	}
	if inv.ID <= 0 || !inv.isOf(c.id) {
		// It says success and doesn't say what: the look-up after settle has to.
		return nil, c.effect.Unanswered(c.doing(), errors.New("the answer doesn't name the invoice"))
	}
	list, err := c.client.lookUp(ctx, e, payer)
	if err != nil {
		return nil, c.effect.Unanswered(fmt.Sprintf("look for a second invoice of estimate %d", c.id), err)
	}
	for _, other := range list.whole {
		if other.ID != inv.ID {
			return nil, c.duplicate(ctx, []invoice{inv, other})
		}
	}
	if err := c.effect.At(PointConfirmed); err != nil {
		return nil, err
	}
	m := newMade(statusCreated, &inv, e)
	if err := c.done(ctx, m); err != nil {
		return nil, err
	}
	return m, c.effect.At(PointDone)
}

// send makes the request of an effect.
func (c *creation) send(ctx context.Context, effect *once.Effect, path string, body []byte, doing string, out any) error {
	// The token comes first: asking for one in between would use up the time that the fence allows.
	if _, err := c.client.tokens.get(ctx, ""); err != nil {
		return system.Failure(doing, err)
	}
	return effect.Send(ctx, doing, func(ctx context.Context, f *once.Fence) error {
		return c.client.call(ctx, http.MethodPost, path, body, f, out)
	})
}

func (c *creation) duplicate(ctx context.Context, list []invoice) error {
	return c.effect.Duplicate(ctx, fmt.Sprintf("estimate %d has %d invoices: %s", c.id, len(list), names(list)))
}

func (c *creation) done(ctx context.Context, m *made) error {
	m.Event = c.event()
	return c.effect.Done(ctx, m)
}

func names(list []invoice) string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = list[i].name()
	}
	return strings.Join(out, ", ")
}

func invalidEstimate(id int64, err error) error {
	return &step.Failure{Disposition: step.Final, Reason: core.ReasonInvalidData,
		Message: fmt.Sprintf("estimate %d can't be invoiced: %s", id, err), Cause: err}
}
