package lane

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

func TestOutcomesWaitForAStoreThatIsAwayAndNothingIsClaimed(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{Window: 1000}, takes(time.Second))
	}, func(b *bench) {
		b.send(route("a"), 10)
		synctest.Wait()
		b.store.setFail("Finish", errAway)
		pass(2 * time.Second)
		claims := b.store.count("Claim")
		b.send(route("a"), 10)
		pass(time.Minute)
		b.expect(core.StateRunning, 10)
		if n := b.store.count("Claim") - claims; n != 0 {
			t.Errorf("%d claims while outcomes can't be stored", n)
		}
		if n := b.store.count("Finish"); n > 40 {
			t.Errorf("%d tries in a minute", n)
		}
		b.store.setFail("Finish", nil)
		pass(10 * time.Second)
		b.expect(core.StateSucceeded, 20)
	})
}

func TestOutcomeThatCannotBeStoredHoldsNoOther(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{}, func(_ context.Context, c *store.Claimed) store.Outcome {
			if c.Delivery.ID == 3 {
				return store.Outcome{Verdict: store.VerdictDead, Message: "poison"}
			}
			return store.Outcome{Verdict: store.VerdictSucceeded}
		})
	}, func(b *bench) {
		b.send(route("a"), 10)
		pass(time.Second)
		b.expect(core.StateSucceeded, 9)
		b.send(route("a"), 10)
		pass(time.Second)
		b.expect(core.StateSucceeded, 19)
		b.expect(core.StateRunning, 1)
		b.store.mu.Lock()
		b.store.healed = true
		b.store.mu.Unlock()
		pass(time.Minute)
		b.expect(core.StateDead, 1)
	})
}

func TestOutcomeOfALostClaimIsDropped(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{Window: 1}, takes(time.Second))
	}, func(b *bench) {
		d := b.send(route("a"), 1)[0]
		synctest.Wait()
		b.store.mu.Lock()
		d.Claim++ // another node took it over
		b.store.lanes[0].running = 0
		b.store.mu.Unlock()
		pass(30 * time.Second)
		if n := b.store.count("Finish"); n != 1 {
			t.Errorf("%d tries to store an outcome that came too late", n)
		}
		if b.lanes.Running() != 0 {
			t.Error("it still takes up room")
		}
	})
}

func TestFailedClaimIsTriedAgainAndAsksForATakeOver(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{}, succeed)
	}, func(b *bench) {
		b.store.setFail("Claim", errAway)
		b.send(route("a"), 5)
		pass(time.Minute)
		if n := b.store.count("Claim"); n > 25 {
			t.Errorf("%d claims in a minute of failures", n)
		}
		takeOvers := b.store.count("TakeOver")
		// One of the failed claims did commit: the delivery runs, and nobody works on it.
		b.store.mu.Lock()
		b.store.all[0].State = core.StateRunning
		b.store.lanes[0].running++
		b.store.mu.Unlock()
		b.store.setFail("Claim", nil)
		pass(10 * time.Second)
		b.expect(core.StateSucceeded, 5)
		if b.store.count("TakeOver") == takeOvers {
			t.Error("no take-over after a claim without an answer")
		}
	})
}

func TestNodeThatCannotBeatStartsNothing(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{}, succeed)
		b.store.setFail("Beat", errAway)
	}, func(b *bench) {
		b.send(route("a"), 1)
		pass(time.Minute)
		b.expect(core.StatePending, 1)
		b.store.setFail("Beat", nil)
		pass(2 * time.Second)
		b.expect(core.StateSucceeded, 1)
		b.store.setFail("Beat", errAway)
		pass(5 * time.Second)
		b.send(route("a"), 1)
		pass(time.Minute)
		b.expect(core.StatePending, 1)
		b.store.setFail("Beat", nil)
	})
}

// silent is a store that lets a look for work wait before it fails, as a network does that loses everything.
type silent struct{ *modelStore }

func (s silent) Work(ctx context.Context, after store.LaneID, limit int) ([]store.LaneWork, error) {
	work, err := s.modelStore.Work(ctx, after, limit)
	if err != nil {
		<-time.After(2 * time.Second)
	}
	return work, err
}

func TestLookThatFailedDoesNotPutOffTheNext(t *testing.T) {
	inBubble(t, Options{Bounds: Bounds{Scan: 5 * time.Second}}, func(b *bench) {
		b.lanes.store = silent{b.store}
		b.set(route("a"), Settings{}, succeed)
		b.store.setFail("Work", errAway)
	}, func(b *bench) {
		pass(8 * time.Second)
		b.store.add(route("a"), 0) // by another node: nobody wakes this one
		b.store.setFail("Work", nil)
		pass(7 * time.Second)
		b.expect(core.StateSucceeded, 1)
	})
}

func TestTakeOverAmongNodesWaitsForAWholeLeaseOfBeats(t *testing.T) {
	inBubble(t, Options{Bounds: Bounds{Lease: 9 * time.Second}}, nil, func(b *bench) {
		pass(8 * time.Second)
		if n := b.store.count("TakeOver"); n != 0 {
			t.Fatalf("%d take-overs before beating for a lease", n)
		}
		pass(2 * time.Second)
		if n := b.store.count("TakeOver"); n == 0 {
			t.Fatal("no take-over after beating for a lease")
		}
		b.store.setFail("Beat", errAway)
		pass(5 * time.Second)
		b.store.setFail("Beat", nil)
		pass(2 * time.Second)
		before := b.store.count("TakeOver")
		pass(6 * time.Second)
		if n := b.store.count("TakeOver") - before; n != 0 {
			t.Errorf("%d take-overs within a lease of its own failure", n)
		}
		pass(4 * time.Second)
		if b.store.count("TakeOver") == before {
			t.Error("no take-over again after a lease")
		}
	})
}

func TestTakeOverAloneComesBeforeTheFirstClaimAndTellsTheDead(t *testing.T) {
	interrupted := core.Delivery{ID: 99, Event: core.NewEventID(), Destination: route("a"), State: core.StateDead, Reason: core.ReasonInterrupted}
	inBubble(t, Options{Alone: true, Bounds: Bounds{Interrupted: 2}}, func(b *bench) {
		b.set(route("a"), Settings{FIFO: true, FIFOStop: true}, succeed)
		left := b.store.add(route("a"), 0)
		left.State = core.StateRunning
		b.store.lanes[0].running = 1
		b.store.dead = []core.Delivery{interrupted}
	}, func(b *bench) {
		synctest.Wait()
		b.expect(core.StateSucceeded, 1)
		if p := b.store.takeOver[0]; p.MaxInterruptions != 2 || len(p.Held) != 0 || p.Node != "node" {
			t.Errorf("the take-over was %+v", p)
		} else if stops, known := p.FIFOStop(route("a")); !stops || !known {
			t.Error("the take-over doesn't know that the lane stops behind a dead delivery")
		} else if _, known := p.FIFOStop(route("b")); known {
			t.Error("the take-over claims to know a lane that nobody told of")
		}
		if len(b.died) != 1 || b.died[0].Delivery.ID != 99 || b.died[0].Event.ID != interrupted.Event {
			t.Errorf("told of %+v", b.died)
		}
	})
}

func TestTakeOverKeepsWhatThisProcessHolds(t *testing.T) {
	inBubble(t, Options{Alone: true, Bounds: Bounds{Lease: time.Second}}, func(b *bench) {
		b.set(route("a"), Settings{}, takes(time.Minute))
	}, func(b *bench) {
		b.send(route("a"), 5)
		pass(30 * time.Second)
		last := b.store.takeOver[len(b.store.takeOver)-1]
		slices.Sort(last.Held)
		if !slices.Equal(last.Held, []core.DeliveryID{1, 2, 3, 4, 5}) {
			t.Errorf("a take-over held %v", last.Held)
		}
		b.expect(core.StateRunning, 5)
	})
}
