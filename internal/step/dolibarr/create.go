package dolibarr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/step/once"
)

// CreateInvoice is the step dolibarr/create-invoice.
func CreateInvoice() step.Kind {
	return step.Kind{
		Name: "dolibarr/create-invoice", Class: step.ClassExact, Connection: "dolibarr",
		Doc: "Makes the invoice of a signed proposal, once, with its lines and linked to it, and leaves it as a draft. " +
			"A proposal that isn't signed is waited for, 10 minutes after the event at most. " +
			"Its result has status (created for this event, existing or skipped), id, ref, total_incl_tax, difference, validated and message.",
		Result: []string{"status", "id", "ref", "ref_ext", "invoice_status", "currency", "total_excl_tax", "total_incl_tax",
			"proposal", "proposal_ref", "difference", "totals_match", "validated", "message"},
		Params: []step.Param{
			{Name: "proposal", Type: step.TypeString, Required: true, Check: checkID,
				Doc: "The proposal's id: ${{ event.data.object.id }}. It is read from Dolibarr; one that was refused or billed is skipped."},
			{Name: "validate", Type: step.TypeBool, Default: false,
				Doc: "Makes the invoice final, when its totals are the proposal's. It gets its number by that."},
		},
		Run: runCreate,
	}
}

func runCreate(ctx context.Context, call *step.Call) (step.Result, error) {
	connection, ok := call.Connection.(*Connection)
	if !ok {
		return nil, errors.New("the connection of dolibarr/create-invoice is not a Dolibarr")
	}
	id, err := parseID(call.With["proposal"])
	if err != nil {
		return nil, parameter("proposal", err)
	}
	c := &creation{Connection: connection, call: call, id: id, refExt: fmt.Sprintf("relais-propal-%d", id)}
	c.effect = connection.newEffect(call, "dolibarr/invoice", "invoice/propal/"+strconv.FormatInt(id, 10), fmt.Sprintf("the invoice of proposal %d", id))
	m, skipped, err := c.make(ctx)
	if err != nil || skipped != nil {
		return skipped, err
	}
	if validate, _ := call.With["validate"].(bool); validate {
		if err := c.validate(ctx, m); err != nil {
			return nil, err
		}
	}
	return m.result(), nil
}

// creation is one attempt at the invoice of one proposal.
type creation struct {
	*Connection
	call   *step.Call
	id     int64
	refExt string // without a colon, at which Dolibarr's filter against injections takes offence
	effect *once.Effect
}

// newEffect is an effect in this Dolibarr.
func (c *Connection) newEffect(call *step.Call, kind, key, thing string) *once.Effect {
	return &once.Effect{
		Rules:  c.rules,
		Ledger: call.Effects, Kind: kind, Key: key, Thing: thing, System: "Dolibarr", Failure: system.Failure,
	}
}

// What a proposal's status means.
const (
	proposalSigned  = 2
	proposalRefused = 3
	proposalBilled  = 4
)

// make follows the protocol until the invoice exists, or there is a reason why it doesn't.
func (c *creation) make(ctx context.Context) (*made, step.Result, error) {
	if err := c.effect.Open(ctx); err != nil {
		return nil, nil, err
	}
	if c.effect.WasDone() {
		m, err := c.recorded(ctx)
		return m, nil, err
	}
	sent := c.effect.WasSent()
	looked := c.rules.Clock()
	p, err := c.object(ctx, "proposals", c.id)
	switch {
	case isAbsent(err) && !sent:
		return nil, nil, absent(c.call, fmt.Sprintf("proposal %d isn't in Dolibarr", c.id))
	case err != nil:
		return nil, nil, c.effect.Lost(ctx, system.Failure(fmt.Sprintf("read proposal %d", c.id), err))
	}
	list, err := c.lookUp(ctx, p)
	if err != nil {
		return nil, nil, c.effect.Lost(ctx, system.Failure(fmt.Sprintf("look for invoices of proposal %d", c.id), err))
	}
	if m, err := c.judge(ctx, p, list); m != nil || err != nil {
		return m, nil, err
	}
	if sent {
		if err := c.effect.Absent(ctx); err != nil {
			return nil, nil, err
		}
	}
	if skipped, err := c.unsigned(p); skipped != nil || err != nil {
		return nil, skipped, err
	}
	m, err := c.create(ctx, p, looked)
	return m, nil, err
}

// unsigned says what becomes of a proposal that isn't signed, or neither where it is.
func (c *creation) unsigned(p object) (step.Result, error) {
	why := ""
	switch status := p.status(); status {
	case proposalSigned:
		return nil, nil
	case proposalRefused:
		why = "it was refused"
	case proposalBilled:
		why = "it is billed already, by Dolibarr's word, though none of its invoices was found"
	default:
		return nil, absent(c.call, fmt.Sprintf("proposal %s (id %d) isn't signed", p.text("ref"), c.id))
	}
	return step.Result{"status": "skipped", "proposal": c.id, "proposal_ref": p.text("ref"), "reason": why,
		"message": fmt.Sprintf("proposal %s (id %d) isn't invoiced: %s", p.text("ref"), c.id, why)}, nil
}

// judge says what a look-up means: the invoice, an error, or neither where none was found.
func (c *creation) judge(ctx context.Context, p object, list found) (*made, error) {
	switch {
	case len(list.whole) > 1:
		return nil, c.duplicate(ctx, list.whole)
	case len(list.whole) == 1:
		status := statusExisting
		if c.effect.WasSent() {
			status = statusCreated
		}
		m := newMade(status, list.whole[0], p)
		return m, c.done(ctx, m)
	case len(list.parts) > 0:
		return nil, once.Ambiguous("proposal %d has deposit or situation invoices (%s): relais makes no invoice of the whole beside them. "+
			"Make the final invoice by hand; a replay takes it over", c.id, names(list.parts))
	case len(list.abandoned) > 0:
		return nil, once.Ambiguous("the invoice of proposal %d was abandoned (%s): relais makes no other one. "+
			"Make it by hand; a replay takes it over", c.id, names(list.abandoned))
	}
	return nil, nil
}

// create sends the invoice, once.
func (c *creation) create(ctx context.Context, p object, looked time.Duration) (*made, error) {
	doing := fmt.Sprintf("create the invoice of proposal %d", c.id)
	if err := c.effect.At(once.PointLookedUp); err != nil {
		return nil, err
	}
	body, err := newInvoice(p, c.refExt)
	if err != nil {
		return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonInvalidData,
			Message: fmt.Sprintf("proposal %d can't be invoiced: %s", c.id, err), Cause: err}
	}
	if err := c.effect.At(once.PointBefore); err != nil {
		return nil, err
	}
	if c.rules.Clock()-looked > c.rules.Request {
		// What nobody had made then, somebody may have made since.
		return nil, system.Failure(doing, once.ErrStalled)
	}
	var answer any
	if err := c.effect.Send(ctx, doing, func(ctx context.Context, f *once.Fence) error {
		return c.Connection.call(ctx, http.MethodPost, "/invoices", body, f, &answer)
	}); err != nil {
		return nil, err
	}
	id := (object{"id": answer}).number("id")
	if id <= 0 {
		// It says success and doesn't say what: the look-up after settle has to.
		return nil, c.effect.Unanswered(doing, errors.New("the answer doesn't name the invoice"))
	}
	if p, err = c.object(ctx, "proposals", c.id); err != nil { // with its new links
		return nil, c.effect.Unanswered(fmt.Sprintf("read proposal %d again", c.id), err)
	}
	list, err := c.lookUp(ctx, p)
	if err == nil && !list.has(id) {
		err = fmt.Errorf("invoice %d was made and isn't found", id)
	}
	if err != nil {
		return nil, c.effect.Unanswered(fmt.Sprintf("look for a second invoice of proposal %d", c.id), err)
	}
	if len(list.whole) > 1 {
		return nil, c.duplicate(ctx, list.whole)
	}
	if err := c.effect.At(once.PointConfirmed); err != nil {
		return nil, err
	}
	m := newMade(statusCreated, list.whole[0], p)
	if err := c.done(ctx, m); err != nil {
		return nil, err
	}
	return m, c.effect.At(once.PointDone)
}

func (c *creation) duplicate(ctx context.Context, list []object) error {
	return c.effect.Duplicate(ctx, fmt.Sprintf("proposal %d has %d invoices: %s", c.id, len(list), names(list)))
}

func (c *creation) done(ctx context.Context, m *made) error {
	m.Event = c.event()
	return c.effect.Done(ctx, m)
}

func (c *creation) event() string {
	if c.call.Event == nil {
		return ""
	}
	return c.call.Event.ID.String()
}

// recorded reads the invoice that the ledger knows. A person who resolved the effect gave its id only: the
// rest is read from Dolibarr.
func (c *creation) recorded(ctx context.Context) (*made, error) {
	var m made
	if err := json.Unmarshal(c.effect.Row.Result, &m); err == nil && m.ID > 0 && m.Status != "" {
		m.others = m.Status == statusCreated && m.Event != c.event()
		return &m, nil
	}
	var said object
	err := json.Unmarshal(c.effect.Row.Result, &said)
	id := said.number("id")
	if err != nil || id <= 0 {
		return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonInvalidData,
			Message: fmt.Sprintf("the ledger says that the invoice of proposal %d is done, but not under which id: see relais effects show %s", c.id, c.effect.Row.Key), Cause: err}
	}
	inv, err := c.object(ctx, "invoices", id)
	if err != nil {
		return nil, system.Failure(fmt.Sprintf("read invoice %d, which is the invoice of proposal %d by hand", id, c.id), err)
	}
	p, err := c.object(ctx, "proposals", c.id)
	if err != nil {
		return nil, system.Failure(fmt.Sprintf("read proposal %d", c.id), err)
	}
	return newMade(statusExisting, inv, p), nil
}
