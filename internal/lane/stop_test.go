package lane

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

func TestStopLetsAttemptsEndAndHandsTheRestBack(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("quick"), Settings{}, takes(5*time.Second))
		b.set(route("slow"), Settings{Window: 1}, takes(time.Minute))
	}, func(b *bench) {
		quick := b.send(route("quick"), 1)[0]
		slow := b.send(route("slow"), 2)
		pass(time.Second)
		begin := time.Now()
		b.stop(25 * time.Second)
		if took := time.Since(begin); took > 26*time.Second {
			t.Errorf("the stop took %v", took)
		}
		if got := b.store.get(quick); got.State != core.StateSucceeded {
			t.Errorf("an attempt that needed 5 s of the 25 is %s", got.State)
		}
		got := b.store.get(slow[0])
		if got.State != core.StatePending || got.Attempts != 0 || got.DueAt.After(time.Now()) {
			t.Errorf("the one that was cut off is %s, %d attempts, due in %v", got.State, got.Attempts, time.Until(got.DueAt))
		}
		if o := got.outcomes[0]; o.Verdict != store.VerdictReturn || o.Attempt.Reason != core.ReasonInterrupted {
			t.Errorf("its outcome is %s, its attempt %s", o.Verdict, o.Attempt.Reason)
		}
		if waiting := b.store.get(slow[1]); waiting.Claim != 0 {
			t.Error("the stop let another be claimed")
		}
		if b.lanes.board.byDest[route("slow")].breaker.Failures != 0 {
			t.Error("a stop counts as a failure of the destination")
		}
	})
}

func TestStopBeforeTheStartAndTwiceIsHarmless(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.lanes.Stop(context.Background())
	}, func(b *bench) {
		b.stop(0)
		b.lanes.Stop(context.Background())
	})
}

func TestEndOfTheContextStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModelStore(t)
		c := &configuration{of: map[core.Destination]configured{}}
		c.set(route("a"), Settings{}, takes(time.Hour))
		s.add(route("a"), 0)
		l := New(Options{Store: s, Node: "node", Alone: true, Settings: c.settings})
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- l.Run(ctx) }()
		synctest.Wait()
		if l.Running() != 1 {
			t.Fatalf("%d run", l.Running())
		}
		cancel()
		if err := <-result; err != nil {
			t.Error(err)
		}
		if got := s.states(); got[core.StatePending] != 1 {
			t.Errorf("after the end: %v", got)
		}
	})
}

func TestAttemptThatIgnoresItsEndIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModelStore(t)
		c := &configuration{of: map[core.Destination]configured{}}
		release := make(chan struct{})
		c.set(route("a"), Settings{}, func(context.Context, *store.Claimed) store.Outcome {
			<-release
			return store.Outcome{Verdict: store.VerdictSucceeded}
		})
		s.add(route("a"), 0)
		l := New(Options{Store: s, Node: "node", Alone: true, Settings: c.settings})
		result := make(chan error, 1)
		go func() { result <- l.Run(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l.Stop(ctx)
		if err := <-result; err == nil {
			t.Error("the run ended without a word on what it left")
		}
		close(release)
		synctest.Wait()
		if got := s.states(); got[core.StateRunning] != 1 {
			t.Errorf("what was left behind is not left for a take-over: %v", got)
		}
	})
}

func TestStopWhileTheStoreIsAwayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModelStore(t)
		c := &configuration{of: map[core.Destination]configured{}}
		c.set(route("a"), Settings{}, succeed)
		s.add(route("a"), 0)
		s.setFail("Finish", errAway)
		l := New(Options{Store: s, Node: "node", Alone: true, Settings: c.settings})
		result := make(chan error, 1)
		go func() { result <- l.Run(t.Context()) }()
		pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l.Stop(ctx)
		if err := <-result; err == nil {
			t.Error("the run ended without a word on the outcome that it couldn't store")
		}
	})
}

// TestWhatAStopEndsAsDeadIsTold: an attempt that was cut off may end as dead (it sent what mustn't be sent
// twice), right when the stop's own time is up.
func TestWhatAStopEndsAsDeadIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModelStore(t)
		c := &configuration{of: map[core.Destination]configured{}}
		c.set(route("a"), Settings{}, func(ctx context.Context, _ *store.Claimed) store.Outcome {
			<-ctx.Done()
			return store.Outcome{Verdict: store.VerdictDead, Reason: core.ReasonUnknown}
		})
		s.add(route("a"), 0)
		told := 0
		l := New(Options{
			Store: s, Node: "node", Alone: true, Settings: c.settings,
			OnDead: func(ctx context.Context, _ store.Claimed, _ store.Outcome) {
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
					told++
				}
			},
		})
		result := make(chan error, 1)
		go func() { result <- l.Run(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l.Stop(ctx)
		if err := <-result; err != nil {
			t.Error(err)
		}
		if told != 1 {
			t.Error("nobody was told of the delivery that the stop ended as dead")
		}
	})
}

// hangingClaims is a store whose claims get no answer once they shall not.
type hangingClaims struct {
	*modelStore
	hang atomic.Bool
}

func (s *hangingClaims) Claim(ctx context.Context, p store.ClaimParams) ([]store.Claimed, error) {
	if s.hang.Load() {
		<-ctx.Done()
		return nil, errAway
	}
	return s.modelStore.Claim(ctx, p)
}

func (s *hangingClaims) Finish(ctx context.Context, outcomes []store.Outcome) ([]error, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.modelStore.Finish(ctx, outcomes)
}

func TestStopDuringAClaimThatHangsHandsAttemptsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &hangingClaims{modelStore: newModelStore(t)}
		c := &configuration{of: map[core.Destination]configured{}}
		c.set(route("a"), Settings{}, takes(time.Hour))
		c.set(route("b"), Settings{}, succeed)
		s.add(route("a"), 0)
		s.add(route("b"), time.Minute)
		l := New(Options{Store: s, Node: "node", Settings: c.settings})
		result := make(chan error)
		go func() { result <- l.Run(t.Context()) }()
		pass(time.Second)
		s.hang.Store(true)
		pass(time.Minute)
		if l.Running() != 1 {
			t.Fatalf("%d run", l.Running())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		l.Stop(ctx)
		if err := <-result; err != nil {
			t.Error(err)
		}
		if got := s.states(); got[core.StatePending] != 2 {
			t.Errorf("after the stop: %v", got)
		}
	})
}
