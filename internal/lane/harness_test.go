package lane

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// runnerFunc is a runner that is a function.
type runnerFunc func(ctx context.Context, c *store.Claimed) store.Outcome

func (f runnerFunc) Run(ctx context.Context, c *store.Claimed) store.Outcome { return f(ctx, c) }

func succeed(context.Context, *store.Claimed) store.Outcome {
	return store.Outcome{Verdict: store.VerdictSucceeded}
}

// hang answers only when its time is up, as a destination that accepts and never answers.
func hang(ctx context.Context, _ *store.Claimed) store.Outcome {
	<-ctx.Done()
	return store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonTimeout}
}

// takes is a destination that answers after a while.
func takes(d time.Duration) runnerFunc {
	return func(ctx context.Context, c *store.Claimed) store.Outcome {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return store.Outcome{Verdict: store.VerdictSucceeded}
		case <-ctx.Done():
			return hang(ctx, c)
		}
	}
}

// failing is a destination that answers with that failure.
func failing(reason core.Reason) runnerFunc {
	return func(context.Context, *store.Claimed) store.Outcome {
		return store.Outcome{Verdict: store.VerdictRetry, Reason: reason}
	}
}

// configuration is what Options.Settings answers from.
type configuration struct {
	mu    sync.Mutex
	of    map[core.Destination]configured
	asked int // how many times
}

type configured struct {
	settings Settings
	runner   Runner
}

func (c *configuration) set(dest core.Destination, s Settings, r runnerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[dest] = configured{s, r}
}

func (c *configuration) settings(dest core.Destination) (Settings, Runner, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	found, ok := c.of[dest]
	return found.settings, found.runner, ok
}

// bench is lanes on a model store, in a bubble of virtual time.
type bench struct {
	*configuration
	store   *modelStore
	lanes   *Lanes
	stopped bool
	died    []store.Claimed
	diedMu  sync.Mutex
	result  chan error
}

// inBubble runs a test with virtual time. Lanes start after arrange, and are stopped at the end.
func inBubble(t *testing.T, o Options, arrange func(b *bench), test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{configuration: &configuration{of: map[core.Destination]configured{}}, store: newModelStore(t), result: make(chan error, 1)}
		o.Store, o.Node, o.Settings = b.store, "node", b.settings
		o.OnDead = func(_ context.Context, c store.Claimed, _ store.Outcome) {
			b.diedMu.Lock()
			defer b.diedMu.Unlock()
			b.died = append(b.died, c)
		}
		b.lanes = New(o)
		b.lanes.jitter = func() float64 { return 0.5 }
		if arrange != nil {
			arrange(b)
		}
		go func() { b.result <- b.lanes.Run(t.Context()) }()
		synctest.Wait()
		test(b)
		if !b.stopped {
			b.stop(0)
		}
		if n := b.lanes.Running(); n != 0 {
			t.Errorf("%d deliveries are still held after the stop", n)
		}
		if b.lanes.board.bytes != 0 {
			t.Errorf("%d bytes are still held after the stop", b.lanes.board.bytes)
		}
	})
}

// stop stops the lanes, giving attempts that long.
func (b *bench) stop(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	b.lanes.Stop(ctx)
	b.stopped = true
	if err := <-b.result; err != nil {
		b.store.t.Errorf("the run ended with %v", err)
	}
	synctest.Wait()
}

// pass lets virtual time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// send stores deliveries and wakes the lanes, as an append does.
func (b *bench) send(dest core.Destination, n int, change ...func(*modelDelivery)) []*modelDelivery {
	out := make([]*modelDelivery, n)
	for i := range out {
		out[i] = b.store.add(dest, 0, change...)
	}
	b.lanes.Wake(dest)
	return out
}

func (b *bench) expect(state core.State, n int) {
	b.store.t.Helper()
	if got := b.store.states(); got[state] != n {
		b.store.t.Errorf("%d deliveries are %s, want %d: %v", got[state], state, n, got)
	}
}
