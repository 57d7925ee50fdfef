package step

import (
	"context"
	"encoding/json"
	"time"

	"relais/internal/store"
)

// settleWrite bounds a write to the ledger that must be made although the attempt was told to stop.
const settleWrite = 5 * time.Second

// heldEffects is the ledger for one step of one delivery. Its keys start with the tenant and the
// connection: two connections of one kind never share an effect.
type heldEffects struct {
	ledger store.Ledger
	holder store.Holder
	prefix string
	states map[string]store.EffectState // nil while none was opened: most steps have none
}

func newEffects(ledger store.Ledger, holder store.Holder, tenant, connection string) *heldEffects {
	return &heldEffects{ledger: ledger, holder: holder, prefix: tenant + "/" + connection + "/"}
}

func (h *heldEffects) become(key string, state store.EffectState) {
	if h.states == nil {
		h.states = map[string]store.EffectState{}
	}
	h.states[key] = state
}

// inFlight tells whether something was sent of which the ledger doesn't know the end.
func (h *heldEffects) inFlight() bool {
	for _, state := range h.states {
		if state == store.EffectSent {
			return true
		}
	}
	return false
}

func (h *heldEffects) Open(ctx context.Context, kind, key string) (store.Effect, error) {
	effect, err := h.ledger.OpenEffect(ctx, store.OpenEffect{Key: h.prefix + key, Kind: kind, Holder: h.holder})
	if err == nil && !effect.Held {
		h.become(key, effect.State)
	}
	return effect, err
}

func (h *heldEffects) Sent(ctx context.Context, key string) (store.Effect, error) {
	if err := ctx.Err(); err != nil {
		return store.Effect{}, err // nothing may leave after a stop
	}
	from := h.states[key]
	// If the answer is lost the row may say sent: from here on it counts as sent.
	h.become(key, store.EffectSent)
	return h.ledger.AdvanceEffect(ctx, store.AdvanceEffect{Key: h.prefix + key, Holder: h.holder, From: from, To: store.EffectSent})
}

func (h *heldEffects) Done(ctx context.Context, key string, result json.RawMessage) error {
	return h.settle(ctx, store.AdvanceEffect{To: store.EffectDone, Result: result}, key)
}

func (h *heldEffects) Unknown(ctx context.Context, key, message string) error {
	return h.settle(ctx, store.AdvanceEffect{To: store.EffectUnknown, Message: readable(message, maxMessage)}, key)
}

func (h *heldEffects) Reopen(ctx context.Context, key string) error {
	return h.settle(ctx, store.AdvanceEffect{To: store.EffectOpen}, key)
}

func (h *heldEffects) Absent(ctx context.Context, key string) (store.Effect, error) {
	state := h.states[key]
	return h.ledger.AdvanceEffect(ctx, store.AdvanceEffect{Key: h.prefix + key, Holder: h.holder, From: state, To: state, NoteAbsent: true})
}

// settle writes what became of an effect, also when the attempt was told to stop meanwhile: what is
// known now would have to be found out again.
func (h *heldEffects) settle(ctx context.Context, to store.AdvanceEffect, key string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWrite)
	defer cancel()
	to.Key, to.Holder, to.From = h.prefix+key, h.holder, h.states[key]
	_, err := h.ledger.AdvanceEffect(ctx, to)
	if err == nil {
		h.become(key, to.To)
	}
	return err
}
