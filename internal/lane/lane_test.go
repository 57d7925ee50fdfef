package lane

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// never is a scan interval that no test reaches: what happens before it wasn't found by a scan.
const never = 1000 * time.Hour

func TestWokenDeliveryRunsAtOnce(t *testing.T) {
	inBubble(t, Options{Alone: true, Bounds: Bounds{Scan: never}}, func(b *bench) {
		b.set(route("a"), Settings{}, succeed)
	}, func(b *bench) {
		pass(time.Second) // past the scan at the start
		d := b.send(route("a"), 3)
		synctest.Wait() // no time passes: the destination is unknown, and found by a scan at once
		b.expect(core.StateSucceeded, 3)
		b.send(route("a"), 2)
		synctest.Wait()
		b.expect(core.StateSucceeded, 5)
		got := b.store.get(d[0])
		a := got.outcomes[0].Attempt
		if a.Delivery != got.ID || a.Claim != 1 || a.Node != "node" || a.Verdict != store.VerdictSucceeded || a.Started.IsZero() {
			t.Errorf("the attempt's record is %+v", a)
		}
	})
}

func TestNoWakeUpIsLost(t *testing.T) {
	inBubble(t, Options{Alone: true, Bounds: Bounds{Scan: never, Running: 20, Window: 3}}, func(b *bench) {
		for i := range 10 {
			b.set(route(fmt.Sprint(i)), Settings{}, takes(time.Millisecond))
		}
	}, func(b *bench) {
		var senders sync.WaitGroup
		for range 20 {
			senders.Go(func() {
				for range 50 {
					<-time.After(rand.N(3 * time.Millisecond))
					b.send(route(fmt.Sprint(rand.N(10))), 1)
				}
			})
		}
		senders.Wait()
		pass(time.Second)
		b.expect(core.StateSucceeded, 1000)
	})
}

func TestMissedWorkIsFoundByTheScan(t *testing.T) {
	inBubble(t, Options{Alone: true, Bounds: Bounds{Scan: 5 * time.Second}}, func(b *bench) {
		b.set(route("a"), Settings{}, succeed)
		b.store.add(route("a"), 0) // from an earlier life
	}, func(b *bench) {
		synctest.Wait()
		b.expect(core.StateSucceeded, 1)
		b.store.add(route("a"), 0) // by another node: nobody wakes this one
		pass(6 * time.Second)
		b.expect(core.StateSucceeded, 2)
	})
}

func TestDelayedDeliveryRunsWhenItIsDue(t *testing.T) {
	inBubble(t, Options{Alone: true, Bounds: Bounds{Scan: never}}, func(b *bench) {
		b.set(route("a"), Settings{}, succeed)
	}, func(b *bench) {
		pass(time.Second)
		b.store.add(route("a"), 0)
		late := b.store.add(route("a"), 2*time.Second)
		b.lanes.Wake(route("a"))
		pass(1999 * time.Millisecond)
		b.expect(core.StateSucceeded, 1)
		pass(10 * time.Millisecond)
		if b.store.get(late).State != core.StateSucceeded {
			t.Error("it didn't run when it was due")
		}
	})
}

func TestUnconfiguredDestinationWaitsForAReload(t *testing.T) {
	inBubble(t, Options{Alone: true}, nil, func(b *bench) {
		b.send(route("later"), 1)
		pass(time.Minute)
		b.expect(core.StatePending, 1)
		if n := b.store.count("Claim"); n != 0 {
			t.Errorf("%d claims for a destination that can't be run", n)
		}
		b.set(route("later"), Settings{}, succeed)
		b.lanes.Wake()
		synctest.Wait()
		b.expect(core.StateSucceeded, 1)
	})
}

func TestBlockedLaneIsTriedLessAndLessAndWokenAtOnce(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{}, succeed)
	}, func(b *bench) {
		b.send(route("a"), 1)
		synctest.Wait()
		b.store.lanes[0].paused = true
		b.send(route("a"), 1)
		pass(10 * time.Minute)
		claims := b.store.count("Claim")
		pass(10 * time.Minute)
		if n := b.store.count("Claim") - claims; n > 25 {
			t.Errorf("%d claims in 10 min of a lane that gives nothing", n)
		}
		b.store.mu.Lock()
		b.store.lanes[0].paused = false
		b.store.mu.Unlock()
		b.lanes.Wake()
		synctest.Wait()
		b.expect(core.StateSucceeded, 2)
	})
}

func TestOrderedDeliveriesFollowEachOtherAtOnce(t *testing.T) {
	var order []core.DeliveryID
	var now gauge
	inBubble(t, Options{Alone: true, Bounds: Bounds{Scan: never}}, func(b *bench) {
		b.set(route("a"), Settings{FIFO: true}, now.around(func(ctx context.Context, c *store.Claimed) store.Outcome {
			order = append(order, c.Delivery.ID) // one at a time, or the race detector finds it
			return takes(10*time.Millisecond)(ctx, c)
		}))
	}, func(b *bench) {
		b.send(route("a"), 50, func(d *modelDelivery) { d.Ordered = true })
		pass(600 * time.Millisecond)
		b.expect(core.StateSucceeded, 50)
		if now.highest() != 1 || !slices.IsSorted(order) {
			t.Errorf("%d at once, in the order %v", now.highest(), order)
		}
	})
}

func TestRateIsKeptWithoutPolling(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{Rate: 2, Burst: 1}, succeed)
	}, func(b *bench) {
		b.send(route("a"), 100)
		pass(20 * time.Second)
		done := b.store.states()[core.StateSucceeded]
		if done < 35 || done > 41 {
			t.Errorf("%d in 20 s at 2/s", done)
		}
		pass(2 * time.Minute)
		b.expect(core.StateSucceeded, 100)
		claims := b.store.count("Claim")
		pass(time.Hour)
		if n := b.store.count("Claim") - claims; n != 0 {
			t.Errorf("%d claims of an empty lane", n)
		}
	})
}

func TestFailingDeliveryFollowsTheScheduleAndDies(t *testing.T) {
	var at []time.Time
	inBubble(t, Options{Alone: true, Bounds: Bounds{Breaker: core.BreakerRule{After: -1}}}, func(b *bench) {
		b.set(route("a"), Settings{}, func(context.Context, *store.Claimed) store.Outcome {
			at = append(at, time.Now())
			return store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonRefused, Message: "no one listens"}
		})
	}, func(b *bench) {
		d := b.send(route("a"), 1)[0]
		pass(90 * time.Hour)
		if len(at) != 10 {
			t.Fatalf("%d attempts, want 10", len(at))
		}
		for i := 1; i < len(at); i++ {
			late := at[i].Sub(at[i-1]) - core.DefaultSchedule[i]
			if late < 0 || late > 10*time.Millisecond {
				t.Errorf("attempt %d came %v late", i+1, late)
			}
		}
		got := b.store.get(d)
		last := got.outcomes[9]
		if got.State != core.StateDead || last.Reason != core.ReasonExhausted || last.Attempt.Reason != core.ReasonRefused {
			t.Errorf("it ended as %s, %s, its last attempt %s", got.State, last.Reason, last.Attempt.Reason)
		}
		if want := "the last of 10 attempts failed: no one listens"; last.Message != want {
			t.Errorf("the message is %q, want %q", last.Message, want)
		}
		if len(b.died) != 1 || b.died[0].Delivery.ID != got.ID {
			t.Errorf("told of %d deaths", len(b.died))
		}
	})
}

func TestRestingBreakerConsumesNoAttempts(t *testing.T) {
	var attempts gauge
	var starts []time.Time
	started := func(ctx context.Context, c *store.Claimed) store.Outcome {
		attempts.mu.Lock()
		starts = append(starts, time.Now())
		attempts.mu.Unlock()
		return failing(core.ReasonRefused)(ctx, c)
	}
	inBubble(t, Options{Alone: true, Bounds: Bounds{Window: 1, Breaker: core.BreakerRule{After: 3, Rest: 10 * time.Second, MaxRest: 40 * time.Second}}}, func(b *bench) {
		b.set(route("a"), Settings{Schedule: core.Schedule{0, time.Hour}}, started)
	}, func(b *bench) {
		begin := time.Now()
		b.send(route("a"), 100)
		pass(120 * time.Second)
		var got []time.Duration
		for _, s := range starts {
			got = append(got, s.Sub(begin).Round(time.Second))
		}
		want := []time.Duration{0, 0, 0, 10 * time.Second, 30 * time.Second, 70 * time.Second, 110 * time.Second}
		if !slices.Equal(got, want) {
			t.Fatalf("attempts at %v, want three, then one probe after each rest: %v", got, want)
		}
		if kept := b.store.breakers[1]; kept.Failures != 7 || kept.RestUntil.IsZero() {
			t.Errorf("the breaker is kept as %+v", kept)
		}
		b.set(route("a"), Settings{}, succeed)
		pass(41 * time.Second)
		b.expect(core.StateSucceeded, 93)
		if kept := b.store.breakers[1]; kept != (core.BreakerState{}) {
			t.Errorf("the closed breaker is kept as %+v", kept)
		}
	})
}

func TestKeptBreakerRestsInTheNextLife(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{}, succeed)
		b.store.add(route("a"), 0)
		b.store.breakers[1] = core.BreakerState{Failures: 10, RestUntil: time.Now().Add(time.Minute)}
	}, func(b *bench) {
		pass(59 * time.Second)
		b.expect(core.StateSucceeded, 0)
		pass(2 * time.Second)
		b.expect(core.StateSucceeded, 1)
	})
}

func TestPanicIsARetryAndCostsNobodyElse(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{}, func(context.Context, *store.Claimed) store.Outcome { panic("boom") })
		b.set(route("b"), Settings{}, succeed)
	}, func(b *bench) {
		d := b.send(route("a"), 1)[0]
		b.send(route("b"), 1)
		pass(time.Second)
		got := b.store.get(d)
		if got.State != core.StatePending || got.Attempts != 1 || got.Reason != core.ReasonInternal {
			t.Errorf("after a panic the delivery is %s, %d attempts, %s", got.State, got.Attempts, got.Reason)
		}
		b.expect(core.StateSucceeded, 1)
	})
}

func TestTooOldDeliveryIsNotTried(t *testing.T) {
	var tried gauge
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{MaxAge: time.Hour}, tried.around(succeed))
	}, func(b *bench) {
		d := b.send(route("a"), 1, func(d *modelDelivery) { d.CreatedAt = time.Now().Add(-2 * time.Hour) })[0]
		b.send(route("a"), 1, func(d *modelDelivery) { d.CreatedAt = time.Now().Add(-time.Minute) })
		synctest.Wait()
		b.expect(core.StateSucceeded, 1)
		if got := b.store.get(d); got.State != core.StateDead || got.Reason != core.ReasonMaxAge {
			t.Errorf("the old one is %s, %s", got.State, got.Reason)
		}
		if len(b.died) != 1 {
			t.Errorf("told of %d deaths", len(b.died))
		}
	})
}
