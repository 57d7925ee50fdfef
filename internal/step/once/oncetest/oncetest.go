// Package oncetest drives steps that follow the protocol of package once: a ledger in memory, deliveries
// that are claimed and lapse, and a wire without a network, so that time can be virtual.
package oncetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/store"
)

// Book is a ledger together with the deliveries that hold its effects.
type Book interface {
	store.Ledger
	Deliver(t *testing.T) core.DeliveryID
	// Hold makes the newest claim of a delivery: an earlier one has lapsed or ended.
	Hold(t *testing.T, id core.DeliveryID) store.Holder
	Release(t *testing.T, holder store.Holder)
}

// Memory keeps effects by the rules of store.Ledger.
type Memory struct {
	mu      sync.Mutex
	last    core.DeliveryID
	claims  map[core.DeliveryID]int
	running map[core.DeliveryID]bool
	effects map[string]store.Effect
}

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{claims: map[core.DeliveryID]int{}, running: map[core.DeliveryID]bool{}, effects: map[string]store.Effect{}}
}

// Deliver implements Book.
func (b *Memory) Deliver(*testing.T) core.DeliveryID {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	return b.last
}

// Hold implements Book.
func (b *Memory) Hold(_ *testing.T, id core.DeliveryID) store.Holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims[id]++
	b.running[id] = true
	return store.Holder{Delivery: id, Claim: b.claims[id], Node: "test"}
}

// Release implements Book.
func (b *Memory) Release(_ *testing.T, holder store.Holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holds(holder) {
		b.running[holder.Delivery] = false
	}
}

func (b *Memory) holds(h store.Holder) bool {
	return b.running[h.Delivery] && b.claims[h.Delivery] == h.Claim
}

// OpenEffect implements store.Ledger.
func (b *Memory) OpenEffect(_ context.Context, p store.OpenEffect) (store.Effect, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.holds(p.Holder) {
		return store.Effect{}, store.ErrLostClaim
	}
	e, ok := b.effects[p.Key]
	if !ok {
		e = store.Effect{Key: p.Key, Kind: p.Kind, State: store.EffectOpen, OpenedAt: time.Now()}
	}
	e.Now = time.Now()
	if ok && e.Holder.Delivery != p.Holder.Delivery && b.holds(e.Holder) {
		e.Held = true
		return e, nil
	}
	e.Holder = p.Holder
	b.effects[p.Key] = e
	return e, nil
}

// AdvanceEffect implements store.Ledger.
func (b *Memory) AdvanceEffect(_ context.Context, p store.AdvanceEffect) (store.Effect, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.effects[p.Key]
	switch {
	case !ok || !b.holds(p.Holder) || e.Holder != p.Holder:
		return store.Effect{}, store.ErrLostClaim
	case e.State != p.From:
		return store.Effect{}, errors.New("the effect is " + string(e.State) + ", not " + string(p.From))
	}
	e.Now = time.Now()
	if p.NoteAbsent {
		if e.AbsentAt.IsZero() {
			e.AbsentAt = e.Now
		}
		b.effects[p.Key] = e
		return e, nil
	}
	e.State, e.Message = p.To, p.Message
	switch p.To {
	case store.EffectOpen:
		e.SentAt, e.AbsentAt = time.Time{}, time.Time{}
	case store.EffectSent:
		e.SentAt, e.AbsentAt = e.Now, time.Time{}
	case store.EffectDone:
		e.DoneAt, e.Result = e.Now, p.Result
	case store.EffectUnknown:
	}
	b.effects[p.Key] = e
	return e, nil
}

// ResolveEffect implements store.Ledger.
func (b *Memory) ResolveEffect(_ context.Context, p store.ResolveEffect) (store.Effect, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.effects[p.Key]
	e.State, e.Result, e.ResolvedBy = store.EffectDone, p.Done, p.By
	if p.Absent {
		e.State = store.EffectOpen
	}
	b.effects[p.Key] = e
	return e, nil
}

// Ledger is step.Effects over a book, as the engine gives it to a step.
type Ledger struct {
	book   Book
	holder store.Holder
	states map[string]store.EffectState
}

// Prefix is that of the keys, as the engine makes it for the connection compta.
const Prefix = "default/compta/"

// NewLedger is what one attempt that holds the delivery is given.
func NewLedger(b Book, holder store.Holder) *Ledger {
	return &Ledger{book: b, holder: holder, states: map[string]store.EffectState{}}
}

// Open implements step.Effects.
func (l *Ledger) Open(ctx context.Context, kind, key string) (store.Effect, error) {
	e, err := l.book.OpenEffect(ctx, store.OpenEffect{Key: Prefix + key, Kind: kind, Holder: l.holder})
	if err == nil && !e.Held {
		l.states[key] = e.State
	}
	return e, err
}

func (l *Ledger) to(ctx context.Context, key string, p store.AdvanceEffect) (store.Effect, error) {
	p.Key, p.Holder, p.From = Prefix+key, l.holder, l.states[key]
	if p.NoteAbsent {
		p.To = p.From
	}
	e, err := l.book.AdvanceEffect(ctx, p)
	if err == nil {
		l.states[key] = p.To
	}
	return e, err
}

// Sent implements step.Effects.
func (l *Ledger) Sent(ctx context.Context, key string) (store.Effect, error) {
	if err := ctx.Err(); err != nil {
		return store.Effect{}, err
	}
	return l.to(ctx, key, store.AdvanceEffect{To: store.EffectSent})
}

// Done implements step.Effects.
func (l *Ledger) Done(ctx context.Context, key string, result json.RawMessage) error {
	_, err := l.to(context.WithoutCancel(ctx), key, store.AdvanceEffect{To: store.EffectDone, Result: result})
	return err
}

// Absent implements step.Effects.
func (l *Ledger) Absent(ctx context.Context, key string) (store.Effect, error) {
	return l.to(ctx, key, store.AdvanceEffect{NoteAbsent: true})
}

// Reopen implements step.Effects.
func (l *Ledger) Reopen(ctx context.Context, key string) error {
	_, err := l.to(context.WithoutCancel(ctx), key, store.AdvanceEffect{To: store.EffectOpen})
	return err
}

// Unknown implements step.Effects.
func (l *Ledger) Unknown(ctx context.Context, key, message string) error {
	_, err := l.to(context.WithoutCancel(ctx), key, store.AdvanceEffect{To: store.EffectUnknown, Message: message})
	return err
}

// Wire carries requests to a sandbox in this process, so that time can be virtual. Unlike net/http it never
// looks at the context before the body is read: the worst case of a process that goes on after a stop.
type Wire struct{ Handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (w Wire) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	recorder := httptest.NewRecorder()
	answered := make(chan bool, 1)
	go func() {
		defer func() { answered <- recover() == nil }()
		request := r.Clone(context.WithoutCancel(r.Context()))
		request.Body = io.NopCloser(bytes.NewReader(body))
		w.Handler.ServeHTTP(recorder, request)
	}()
	select {
	case ok := <-answered:
		if !ok {
			return nil, io.ErrUnexpectedEOF
		}
		return recorder.Result(), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// ErrCrash is what a hook returns in place of a crash.
var ErrCrash = errors.New("crash")

// Lease is how long a claim lasts.
const Lease = 10 * time.Second

// Outcome is how a delivery ended.
type Outcome struct {
	Result   step.Result
	Dead     *step.Failure
	Attempts int // that used up a place in the schedule
}

// Pass lets virtual time go by.
func Pass(d time.Duration) { <-time.After(d) }

// Drive attempts a delivery until it ends, as the lanes do: a failure waits, a crash waits for the lease to
// lapse, and each attempt has a claim of its own and nothing in memory.
func Drive(t *testing.T, b Book, id core.DeliveryID, attempt func(store.Holder) (step.Result, error)) Outcome {
	t.Helper()
	var out Outcome
	for range 60 {
		holder := b.Hold(t, id)
		result, err := attempt(holder)
		var f *step.Failure
		switch {
		case err == nil:
			b.Release(t, holder)
			out.Result = result
			return out
		case errors.As(err, &f):
			b.Release(t, holder)
			if f.Disposition == step.Final {
				out.Dead = f
				return out
			}
			if f.Disposition == step.Retry {
				out.Attempts++
			}
			Pass(max(f.After, 5*time.Second)) // the schedule
		case errors.Is(err, ErrCrash):
			Pass(Lease) // until the claim lapses
		default:
			t.Fatalf("the step failed in a way it doesn't know: %v", err)
		}
	}
	t.Fatal("the delivery doesn't end")
	return out
}
