package sellsy

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
	"relais/internal/sandbox"
	"relais/internal/step"
	"relais/internal/store"
)

// book is a ledger together with the deliveries that hold its effects.
type book interface {
	store.Ledger
	deliver(t *testing.T) core.DeliveryID
	// claim makes the newest claim of a delivery: an earlier one has lapsed or ended.
	claim(t *testing.T, id core.DeliveryID) store.Holder
	release(t *testing.T, holder store.Holder)
}

// memoryBook keeps effects by the rules of store.Ledger.
type memoryBook struct {
	mu      sync.Mutex
	last    core.DeliveryID
	claims  map[core.DeliveryID]int
	running map[core.DeliveryID]bool
	effects map[string]store.Effect
}

func newMemoryBook() *memoryBook {
	return &memoryBook{claims: map[core.DeliveryID]int{}, running: map[core.DeliveryID]bool{}, effects: map[string]store.Effect{}}
}

func (b *memoryBook) deliver(*testing.T) core.DeliveryID {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	return b.last
}

func (b *memoryBook) claim(_ *testing.T, id core.DeliveryID) store.Holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims[id]++
	b.running[id] = true
	return store.Holder{Delivery: id, Claim: b.claims[id], Node: "test"}
}

func (b *memoryBook) release(_ *testing.T, holder store.Holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holds(holder) {
		b.running[holder.Delivery] = false
	}
}

func (b *memoryBook) holds(h store.Holder) bool {
	return b.running[h.Delivery] && b.claims[h.Delivery] == h.Claim
}

func (b *memoryBook) OpenEffect(_ context.Context, p store.OpenEffect) (store.Effect, error) {
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

func (b *memoryBook) AdvanceEffect(_ context.Context, p store.AdvanceEffect) (store.Effect, error) {
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

func (b *memoryBook) ResolveEffect(_ context.Context, p store.ResolveEffect) (store.Effect, error) {
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

// ledgerOf is step.Effects over a book, as the engine gives it to a step.
type ledgerOf struct {
	book   book
	holder store.Holder
	states map[string]store.EffectState
}

const prefix = "default/compta/"

func (l *ledgerOf) Open(ctx context.Context, kind, key string) (store.Effect, error) {
	e, err := l.book.OpenEffect(ctx, store.OpenEffect{Key: prefix + key, Kind: kind, Holder: l.holder})
	if err == nil && !e.Held {
		l.states[key] = e.State
	}
	return e, err
}

func (l *ledgerOf) to(ctx context.Context, key string, p store.AdvanceEffect) (store.Effect, error) {
	p.Key, p.Holder, p.From = prefix+key, l.holder, l.states[key]
	if p.NoteAbsent {
		p.To = p.From
	}
	e, err := l.book.AdvanceEffect(ctx, p)
	if err == nil {
		l.states[key] = p.To
	}
	return e, err
}

func (l *ledgerOf) Sent(ctx context.Context, key string) (store.Effect, error) {
	if err := ctx.Err(); err != nil {
		return store.Effect{}, err
	}
	return l.to(ctx, key, store.AdvanceEffect{To: store.EffectSent})
}

func (l *ledgerOf) Done(ctx context.Context, key string, result json.RawMessage) error {
	_, err := l.to(context.WithoutCancel(ctx), key, store.AdvanceEffect{To: store.EffectDone, Result: result})
	return err
}

func (l *ledgerOf) Absent(ctx context.Context, key string) (store.Effect, error) {
	return l.to(ctx, key, store.AdvanceEffect{NoteAbsent: true})
}

func (l *ledgerOf) Reopen(ctx context.Context, key string) error {
	_, err := l.to(context.WithoutCancel(ctx), key, store.AdvanceEffect{To: store.EffectOpen})
	return err
}

func (l *ledgerOf) Unknown(ctx context.Context, key, message string) error {
	_, err := l.to(context.WithoutCancel(ctx), key, store.AdvanceEffect{To: store.EffectUnknown, Message: message})
	return err
}

// wire carries requests to a sandbox in this process, so that time can be virtual. Unlike net/http it never
// looks at the context before the body is read: the worst case of a process that goes on after a stop.
type wire struct{ handler http.Handler }

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
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
		w.handler.ServeHTTP(recorder, request)
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

// bench is one Sellsy account, one ledger, and the step on both.
type bench struct {
	t       *testing.T
	sellsy  *sandbox.Sandbox
	book    book
	account *Connection
	event   *core.Event // that attempts are for; may be nil
}

func newBench(t *testing.T, b book, o sandbox.Options) *bench {
	t.Helper()
	s, err := sandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	kind := ConnectionKind(&http.Client{Transport: wire{s}})
	opened, err := kind.Open(map[string]any{
		"base_url": "http://127.0.0.1:1/v2", "client_id": "sandbox-client", "client_secret": "sandbox-secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	account := opened.(*Connection)
	start := time.Now()
	account.clock = func() time.Duration { return time.Since(start) }
	return &bench{t: t, sellsy: s, book: b, account: account}
}

func (b *bench) estimate(e sandbox.Estimate) int64 {
	b.t.Helper()
	id, err := b.sellsy.AddEstimate(e)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *bench) handMade(estimate int64, more map[string]any) int64 {
	b.t.Helper()
	id, err := b.sellsy.AddInvoice(estimate, more)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// attempt runs the step once, for one claim.
func (b *bench) attempt(holder store.Holder, account *Connection, with map[string]any) (step.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return run(ctx, &step.Call{
		With: with, Connection: account, ConnectionName: "compta", StepID: "facture",
		Delivery: core.Delivery{ID: holder.Delivery, Claim: holder.Claim}, Event: b.event,
		Effects: &ledgerOf{book: b.book, holder: holder, states: map[string]store.EffectState{}},
		Now:     time.Now,
	})
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }

var errCrash = errors.New("crash")

const lease = 10 * time.Second

// outcome is how a delivery ended.
type outcome struct {
	result   step.Result
	dead     *step.Failure
	attempts int // that used up a place in the schedule
}

// drive attempts a delivery until it ends, as the lanes do: a failure waits, a crash waits for the lease to
// lapse, and each attempt has a claim of its own and nothing in memory.
func (b *bench) drive(id core.DeliveryID, with map[string]any) outcome {
	b.t.Helper()
	var out outcome
	for range 60 {
		holder := b.book.claim(b.t, id)
		result, err := b.attempt(holder, b.account, with)
		var f *step.Failure
		switch {
		case err == nil:
			b.book.release(b.t, holder)
			out.result = result
			return out
		case errors.As(err, &f):
			b.book.release(b.t, holder)
			if f.Disposition == step.Final {
				out.dead = f
				return out
			}
			if f.Disposition == step.Retry {
				out.attempts++
			}
			pass(max(f.After, 5*time.Second)) // the schedule
		case errors.Is(err, errCrash):
			pass(lease) // until the claim lapses
		default:
			b.t.Fatalf("the step failed in a way it doesn't know: %v", err)
		}
	}
	b.t.Fatal("the delivery doesn't end")
	return out
}

func (b *bench) invoices(estimate int64) []int64 { return b.sellsy.InvoicesOf(estimate) }
