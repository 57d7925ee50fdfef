package sellsy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/store"
)

// effectKind is what the ledger calls it.
const effectKind = "sellsy/invoice"

// heldWait is how long a delivery waits for another that is at the same effect.
const heldWait = time.Second

// creation is one attempt at the invoice of one estimate.
type creation struct {
	*Connection
	call  *step.Call
	id    int64
	key   string // as Effects takes it
	shown string // as people see it: with the tenant and the connection
}

// make follows the protocol until the invoice exists, or there is a reason why it doesn't.
func (c *creation) make(ctx context.Context) (m *made, skipped step.Result, err error) {
	effect, err := c.open(ctx, effectKind, c.key)
	if err != nil {
		return nil, nil, err
	}
	c.shown = effect.Key
	if err := c.at(PointOpened); err != nil {
		return nil, nil, err
	}
	switch effect.State {
	case store.EffectDone:
		m, err = c.recorded(ctx, effect.Result)
		return m, nil, err
	case store.EffectUnknown:
		return nil, nil, ambiguous("it isn't known whether estimate %d has its invoice (%s). %s", c.id, effect.Message, c.resolve())
	case store.EffectSent:
		if left := c.settleLeft(effect); left > 0 {
			return nil, nil, waiting(left, "an invoice of estimate %d was sent, and may still appear in Sellsy", c.id)
		}
	case store.EffectOpen:
	}
	return c.fromLookUp(ctx, effect)
}

// open takes the effect, unless another running delivery is at it.
func (c *creation) open(ctx context.Context, kind, key string) (store.Effect, error) {
	effect, err := c.call.Effects.Open(ctx, kind, key)
	if err != nil {
		return effect, fmt.Errorf("open the effect: %w", err)
	}
	if effect.Held {
		return effect, &step.Failure{Disposition: step.Wait, Reason: core.ReasonHeld, After: heldWait,
			Message: fmt.Sprintf("delivery %s is at the same effect (%s)", effect.Holder.Delivery, effect.Key)}
	}
	return effect, nil
}

func (c *creation) fromLookUp(ctx context.Context, effect store.Effect) (*made, step.Result, error) {
	sent := effect.State == store.EffectSent
	e, err := c.client.estimate(ctx, c.id)
	if err != nil {
		return nil, nil, c.lost(ctx, sent, failure(fmt.Sprintf("read estimate %d", c.id), err))
	}
	if !sent && e.Status != "accepted" && e.Status != "invoiced" {
		return nil, skip(e), nil
	}
	payer, err := e.payer()
	if err != nil {
		return nil, nil, c.lost(ctx, sent, invalidEstimate(c.id, err))
	}
	looked := c.clock()
	list, err := c.client.lookUp(ctx, e, payer)
	if err != nil {
		return nil, nil, c.lost(ctx, sent, failure(fmt.Sprintf("look for invoices of estimate %d", c.id), err))
	}
	m, err := c.judge(ctx, e, list, sent)
	if m != nil || err != nil {
		return m, nil, err
	}
	if sent {
		if err := c.absentTwice(ctx, effect); err != nil {
			return nil, nil, err
		}
	}
	if e.Status != "accepted" {
		return nil, skip(e), nil
	}
	if err := c.at(PointLookedUp); err != nil {
		return nil, nil, err
	}
	body, err := newInvoice(e)
	if err != nil {
		return nil, nil, invalidEstimate(c.id, err)
	}
	if err := c.at(PointBefore); err != nil {
		return nil, nil, err
	}
	if c.clock()-looked > c.request {
		// What nobody had made then, somebody may have made since.
		return nil, nil, failure(c.doing(), errStalled)
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
		return nil, ambiguous("estimate %d has deposit or progress invoices (%s): relais makes no invoice of the whole beside them. "+
			"Make the final invoice by hand; a replay takes it over", c.id, names(list.parts))
	case len(list.cancelled) > 0:
		return nil, ambiguous("the invoice of estimate %d was cancelled (%s): relais makes no other one. "+
			"Make it by hand; a replay takes it over", c.id, names(list.cancelled))
	}
	return nil, nil
}

// absentTwice ends with the effect open again, after two look-ups that found nothing, a recheck apart.
func (c *creation) absentTwice(ctx context.Context, effect store.Effect) error {
	first := effect.AbsentAt
	if first.IsZero() {
		noted, err := c.call.Effects.Absent(ctx, c.key)
		if err != nil {
			return fmt.Errorf("note that the invoice wasn't found: %w", err)
		}
		first, effect.Now = noted.AbsentAt, noted.Now
	}
	if settled := effect.SentAt.Add(c.settle); first.Before(settled) {
		first = settled // settle was made longer since: the second look-up comes that much later
	}
	if left := first.Add(c.recheck).Sub(effect.Now); left > 0 {
		return waiting(max(left, time.Second), "the invoice of estimate %d was sent and isn't found; a second look-up decides", c.id)
	}
	if err := c.call.Effects.Reopen(ctx, c.key); err != nil {
		return fmt.Errorf("open the effect again: %w", err)
	}
	return nil
}

// create sends the invoice, once.
func (c *creation) create(ctx context.Context, e *estimate, payer reference, body []byte) (*made, error) {
	var inv invoice
	effect, err := c.send(ctx, c.key, "/invoices", body, c.doing(), &inv)
	if err != nil {
		return nil, err
	}
	if err := c.at(PointAnswered); err != nil {
		return nil, err
	}
	if inv.ID <= 0 || !inv.isOf(c.id) {
		// It says success and doesn't say what: the look-up after settle has to.
		return nil, c.unanswered(effect, c.doing(), errors.New("the answer doesn't name the invoice"))
	}
	list, err := c.client.lookUp(ctx, e, payer)
	if err != nil {
		return nil, c.unanswered(effect, fmt.Sprintf("look for a second invoice of estimate %d", c.id), err)
	}
	for _, other := range list.whole {
		if other.ID != inv.ID {
			return nil, c.duplicate(ctx, []invoice{inv, other})
		}
	}
	if err := c.at(PointConfirmed); err != nil {
		return nil, err
	}
	m := newMade(statusCreated, &inv, e)
	if err := c.done(ctx, m); err != nil {
		return nil, err
	}
	return m, c.at(PointDone)
}

// send makes an effect sent and the request that goes with it. Where it returns an error, the effect is open
// again if nothing was done, and sent if that isn't known.
func (c *creation) send(ctx context.Context, key, path string, body []byte, doing string, out any) (store.Effect, error) {
	// The token comes first: asking for one in between would use up the time that the fence allows.
	if _, err := c.client.tokens.get(ctx, ""); err != nil {
		return store.Effect{}, failure(doing, err)
	}
	start := c.clock() // before the ledger stamps sent_at, so that the fence falls early rather than late
	effect, err := c.call.Effects.Sent(ctx, key)
	if err != nil {
		return effect, fmt.Errorf("note that the effect is sent: %w", err)
	}
	if err := c.at(PointSent); err != nil {
		return effect, err
	}
	var crashed error
	f := &fence{clock: c.clock, until: start + c.request/2}
	if c.hook != nil {
		f.hook = func() error { crashed = c.hook(PointLastByte); return crashed }
	}
	bounded, cancel := context.WithTimeout(ctx, c.request-min(c.clock()-start, c.request))
	defer cancel()
	err = f.check()
	if err == nil {
		err = c.client.call(bounded, http.MethodPost, path, body, f, out)
	}
	switch {
	case crashed != nil:
		return effect, crashed
	case err == nil:
		return effect, nil
	case !f.released.Load():
		if reopened := c.call.Effects.Reopen(ctx, key); reopened != nil {
			return effect, fmt.Errorf("open the effect again, since nothing was sent: %w", reopened)
		}
		return effect, failure(doing, err)
	}
	return effect, c.unanswered(effect, doing, err)
}

// unanswered ends an attempt after which the ledger stays at sent: what became of it is found out after
// settle. It uses up an attempt, so that a Sellsy that never answers doesn't make relais ask for ever. Its
// reason is unknown, whatever was in the way: by that the lanes don't end the delivery for its age.
func (c *creation) unanswered(effect store.Effect, doing string, err error) error {
	var f *step.Failure
	if !errors.As(failure(doing, err), &f) {
		f = &step.Failure{Message: doing + ": " + err.Error(), Cause: err}
	}
	return &step.Failure{
		Disposition: step.Retry, Reason: core.ReasonUnknown, After: max(f.After, c.settle), Cause: err,
		Message: fmt.Sprintf("%s. It may have been made all the same: the next attempt, or a replay, looks for it after %s (%s)", f.Message, c.settle, effect.Key),
	}
}

// lost handles what can't be read. After something was sent, what can't heal by itself leaves the effect
// undecided, and what can says that there is something to be looked for.
func (c *creation) lost(ctx context.Context, sent bool, err error) error {
	var f *step.Failure
	if !sent || !errors.As(err, &f) {
		return err
	}
	if f.Disposition != step.Final {
		return &step.Failure{
			Disposition: f.Disposition, Reason: core.ReasonUnknown, After: f.After, Cause: err,
			Message: fmt.Sprintf("%s. An invoice was sent and has still to be looked for (%s)", f.Message, c.shown),
		}
	}
	if unknown := c.call.Effects.Unknown(ctx, c.key, f.Message); unknown != nil {
		return fmt.Errorf("note that the effect is undecided: %w", unknown)
	}
	return ambiguous("an invoice of estimate %d was sent, and what became of it can't be found out: %s. %s", c.id, f.Message, c.resolve())
}

func (c *creation) duplicate(ctx context.Context, list []invoice) error {
	message := fmt.Sprintf("estimate %d has %d invoices: %s", c.id, len(list), names(list))
	if err := c.call.Effects.Unknown(ctx, c.key, message); err != nil {
		return fmt.Errorf("note the second invoice: %w", err)
	}
	return &step.Failure{Disposition: step.Final, Reason: core.ReasonDuplicate,
		Message: message + ". Keep one of them and delete or cancel the others in Sellsy, then: relais effects resolve " + c.shown + " --done ID"}
}

func (c *creation) done(ctx context.Context, m *made) error {
	m.Event = c.event()
	result, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := c.call.Effects.Done(ctx, c.key, result); err != nil {
		return fmt.Errorf("note that the invoice exists: %w", err)
	}
	return nil
}

func (c *creation) settleLeft(effect store.Effect) time.Duration {
	return effect.SentAt.Add(c.settle).Sub(effect.Now)
}

func (c *creation) resolve() string {
	return fmt.Sprintf("Look in Sellsy for invoices of this estimate; relais effects show %[1]s says what is known, and "+
		"relais effects resolve %[1]s --done ID, or --absent where there is none, ends it. Then replay the delivery", c.shown)
}

func names(list []invoice) string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = list[i].name()
	}
	return strings.Join(out, ", ")
}

func ambiguous(format string, args ...any) error {
	return &step.Failure{Disposition: step.Final, Reason: core.ReasonAmbiguous, Message: fmt.Sprintf(format, args...)}
}

func waiting(after time.Duration, format string, args ...any) error {
	return &step.Failure{Disposition: step.Wait, Reason: core.ReasonSettling, After: after, Message: fmt.Sprintf(format, args...)}
}

func invalidEstimate(id int64, err error) error {
	return &step.Failure{Disposition: step.Final, Reason: core.ReasonInvalidData,
		Message: fmt.Sprintf("estimate %d can't be invoiced: %s", id, err), Cause: err}
}
