package step

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

// memory keeps steps and effects as a store does: an effect moves only from the state that is named, and
// only for the newest claim.
type memory struct {
	mu      sync.Mutex
	saved   []store.StepResult
	saveErr error
	claim   int
	effects map[string]store.Effect
}

func (m *memory) SaveStep(_ context.Context, h store.Holder, s store.StepResult) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.saveErr != nil {
		return m.saveErr
	}
	if h.Claim != m.claim {
		return store.ErrLostClaim
	}
	m.saved = append(m.saved, s)
	return nil
}

func (m *memory) OpenEffect(_ context.Context, p store.OpenEffect) (store.Effect, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.effects[p.Key]
	if !ok {
		e = store.Effect{Key: p.Key, Kind: p.Kind, State: store.EffectOpen}
	}
	e.Holder = p.Holder
	m.effects[p.Key] = e
	return e, nil
}

func (m *memory) AdvanceEffect(ctx context.Context, p store.AdvanceEffect) (store.Effect, error) {
	if err := ctx.Err(); err != nil {
		return store.Effect{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.effects[p.Key]
	if p.Holder.Claim != m.claim || e.State != p.From {
		return e, store.ErrLostClaim
	}
	e.State, e.Result, e.Message = p.To, p.Result, p.Message
	m.effects[p.Key] = e
	return e, nil
}

func (m *memory) ResolveEffect(context.Context, store.ResolveEffect) (store.Effect, error) {
	return store.Effect{}, errors.New("not a matter of the engine")
}

// bench is a route over kinds whose behaviour the test says.
type bench struct {
	t       *testing.T
	memory  *memory
	acts    map[string]func(context.Context, *Call) (Result, error)
	calls   []string
	classes map[string]Class
	log     bytes.Buffer
}

func newBench(t *testing.T) *bench {
	return &bench{t: t, memory: &memory{claim: 1, effects: map[string]store.Effect{}},
		acts: map[string]func(context.Context, *Call) (Result, error){}, classes: map[string]Class{}}
}

func (b *bench) registry() *Registry {
	var kinds []Kind
	for _, name := range []string{"test/a", "test/b", "test/c"} {
		class := b.classes[name]
		if class == "" {
			class = ClassAtLeastOnce
		}
		kinds = append(kinds, Kind{Name: name, Class: class, Connection: "desk", Params: []Param{
			{Name: "text", Type: TypeString}, {Name: "count", Type: TypeInt}, {Name: "wait", Type: TypeDuration},
			{Name: "tags", Type: TypeList}, {Name: "flag", Type: TypeBool}, {Name: "any", Type: TypeAny},
		}, Run: func(ctx context.Context, call *Call) (Result, error) {
			b.calls = append(b.calls, call.StepID)
			if act := b.acts[name]; act != nil {
				return act(ctx, call)
			}
			return Result{"said": call.With["text"]}, nil
		}})
	}
	return NewRegistry(kinds, []ConnectionKind{{Name: "desk", Open: func(map[string]any) (any, error) { return "desk", nil }}})
}

func (b *bench) compile(route config.Route) *Program {
	b.t.Helper()
	route.Name = "r"
	for i := range route.Steps {
		if route.Steps[i].ID == "" {
			route.Steps[i].ID = string(rune('a' + i))
		}
	}
	p, err := Compile(route, b.registry(), Connections{"front": {Kind: "desk", Value: "desk"}}, Options{Node: "n1", Store: b.memory, Log: slog.New(slog.NewTextHandler(&b.log, nil))})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func claimed(body string, results ...store.StepResult) *store.Claimed {
	return &store.Claimed{
		Delivery: core.Delivery{ID: 7, Claim: 1, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "r"}},
		Event:    core.Event{Source: "sellsy", Type: "estimate.step", Format: core.FormatJSON, Body: []byte(body)},
		Steps:    results,
	}
}
