//go:build unix

package postgres

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

// cluster is several nodes on one database, under a clock that stands until it is moved.
type cluster struct {
	t   *testing.T
	url string
	now atomic.Int64
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, url: database(t)}
	c.now.Store(storetestDay.UnixMicro())
	return c
}

func (c *cluster) clock() time.Time { return time.UnixMicro(c.now.Load()).UTC() }

func (c *cluster) advance(d time.Duration) { c.now.Add(d.Microseconds()) }

// node opens the store as one more node.
func (c *cluster) node(url string) *Store {
	c.t.Helper()
	s, err := Open(c.t.Context(), Options{URL: url, Now: c.clock, Connections: 8})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = s.Close() })
	return s
}

func routeTo(name string) core.Destination {
	return core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: name}
}

// send stores an event for each delivery.
func (c *cluster) send(s *Store, deliveries ...store.NewDelivery) {
	batch := make([]store.Accepted, len(deliveries))
	for i, d := range deliveries {
		id := core.NewEventID()
		batch[i] = store.Accepted{
			Event:      core.Event{ID: id, Source: "s", Type: "t", ReceivedAt: c.clock(), Format: core.FormatJSON, Body: []byte("{}")},
			Deliveries: []store.NewDelivery{d},
		}
	}
	if _, err := s.Append(c.t.Context(), batch); err != nil {
		c.t.Error(err)
	}
}

// claim takes up to n deliveries of each lane that has work.
func (c *cluster) claim(s *Store, node string, room store.LaneRoom) []store.Claimed {
	work, err := s.Work(c.t.Context(), 0, 1000)
	if err != nil {
		c.t.Error(err)
	}
	p := store.ClaimParams{Node: node, Max: 1000}
	for _, w := range work {
		room.Lane = w.Lane
		p.Lanes = append(p.Lanes, room)
	}
	claimed, err := s.Claim(c.t.Context(), p)
	if err != nil {
		c.t.Error(err)
	}
	return claimed
}

func outcomeOf(node string, d *core.Delivery, v store.Verdict) store.Outcome {
	return store.Outcome{Holder: store.Holder{Delivery: d.ID, Claim: d.Claim, Node: node}, Verdict: v}
}

// wantQuiet fails unless nothing waits or runs, and no lane counts what doesn't run.
func (c *cluster) wantQuiet(s *Store) {
	c.t.Helper()
	var live, counted int
	if err := s.pool.QueryRow(c.t.Context(), "SELECT (SELECT count(*) FROM delivery), (SELECT sum(abs(running)) FROM lane)").Scan(&live, &counted); err != nil {
		c.t.Fatal(err)
	}
	if live != 0 || counted != 0 {
		c.t.Errorf("%d deliveries are left, and lanes count %d that run", live, counted)
	}
}

func TestTwoNodesAtOneLaneHoldItsWindow(t *testing.T) {
	const deliveries, window = 300, 5
	c := newCluster(t)
	nodes := []*Store{c.node(c.url), c.node(c.url)}
	for range deliveries {
		c.send(nodes[0], store.NewDelivery{Destination: routeTo("busy")})
	}
	var mu sync.Mutex
	given := map[core.DeliveryID]int{}
	var running, ended atomic.Int64
	var work sync.WaitGroup
	for i := range 6 {
		s, name := nodes[i%2], fmt.Sprintf("node-%d", i%2)
		work.Go(func() {
			for ended.Load() < deliveries && !t.Failed() {
				claimed := c.claim(s, name, store.LaneRoom{Max: 3, Window: window})
				if n := running.Add(int64(len(claimed))); n > window {
					t.Errorf("%d run, the window is %d", n, window)
				}
				var outcomes []store.Outcome
				for i := range claimed {
					mu.Lock()
					given[claimed[i].Delivery.ID]++
					mu.Unlock()
					outcomes = append(outcomes, outcomeOf(name, &claimed[i].Delivery, store.VerdictSucceeded))
				}
				running.Add(-int64(len(claimed)))
				results, err := s.Finish(t.Context(), outcomes)
				if err := errors.Join(append(results, err)...); err != nil {
					t.Error(err)
				}
				ended.Add(int64(len(claimed)))
			}
		})
	}
	work.Wait()
	if len(given) != deliveries {
		t.Errorf("%d were given, want %d", len(given), deliveries)
	}
	for id, n := range given {
		if n != 1 {
			t.Errorf("%s was given %d times", id, n)
		}
	}
	c.wantQuiet(nodes[0])
}

// Deliveries arrive for chains whose heads end at the same time, on other nodes: each is either seen by who
// ends the head, or sees that the head ended.
func TestNobodyIsForgottenWhileChainsMove(t *testing.T) {
	const each, keys = 60, 3
	c := newCluster(t)
	nodes := []*Store{c.node(c.url), c.node(c.url)}
	var running [keys]atomic.Int64
	var last [keys]atomic.Int64
	var ended atomic.Int64
	var work sync.WaitGroup
	for i := range 2 {
		work.Go(func() {
			for n := range each * keys / 2 {
				c.send(nodes[i], store.NewDelivery{Destination: routeTo("stock"), Ordered: true, OrderKey: fmt.Sprint(n % keys)})
			}
		})
	}
	for i := range 4 {
		s, name := nodes[i%2], fmt.Sprintf("node-%d", i%2)
		work.Go(func() {
			for deadline := time.Now().Add(30 * time.Second); ended.Load() < each*keys && !t.Failed(); {
				if time.Now().After(deadline) {
					t.Errorf("%d of %d ended: the rest waits for nobody", ended.Load(), each*keys)
				}
				for _, got := range c.claim(s, name, store.LaneRoom{Max: 2, Window: 100}) {
					d := got.Delivery
					k := int(d.OrderKey[0] - '0')
					if running[k].Add(1) != 1 {
						t.Errorf("two of key %d run", k)
					}
					if before := last[k].Swap(int64(d.ID)); before > int64(d.ID) {
						t.Errorf("%d runs after %d", d.ID, before)
					}
					running[k].Add(-1)
					results, err := s.Finish(t.Context(), []store.Outcome{outcomeOf(name, &d, store.VerdictSucceeded)})
					if err := errors.Join(append(results, err)...); err != nil {
						t.Error(err)
					}
					ended.Add(1)
				}
			}
		})
	}
	work.Wait()
	c.wantQuiet(nodes[0])
}

// A node that is only slow finishes while another takes it over: each delivery is finished or given back.
func TestFinishBesideATakeOverCountsOnce(t *testing.T) {
	const deliveries = 200
	c := newCluster(t)
	slow, other := c.node(c.url), c.node(c.url)
	ctx := t.Context()
	for i := range deliveries {
		c.send(slow, store.NewDelivery{Destination: routeTo(fmt.Sprint(i % 7)), Ordered: i%2 == 0, OrderKey: fmt.Sprint(i)})
	}
	must(t, slow.Beat(ctx, "slow", time.Second))
	claimed := c.claim(slow, "slow", store.LaneRoom{Max: 100})
	if len(claimed) != deliveries {
		t.Fatalf("%d claimed", len(claimed))
	}
	c.advance(2 * time.Second)
	must(t, other.Beat(ctx, "other", time.Second))
	finished := map[core.DeliveryID]bool{}
	var back int
	var work sync.WaitGroup
	work.Go(func() {
		for len(claimed) > 0 {
			some := claimed[:10]
			claimed = claimed[10:]
			outcomes := make([]store.Outcome, len(some))
			for i := range some {
				outcomes[i] = outcomeOf("slow", &some[i].Delivery, store.VerdictSucceeded)
			}
			results, err := slow.Finish(ctx, outcomes)
			if err != nil {
				t.Error(err)
				return
			}
			for i, lost := range results {
				if lost == nil {
					finished[some[i].Delivery.ID] = true
				} else if !errors.Is(lost, store.ErrLostClaim) {
					t.Error(lost)
				}
			}
		}
	})
	work.Go(func() {
		for range 3 {
			taken, err := other.TakeOver(ctx, store.TakeOverParams{Node: "other", MaxInterruptions: 3})
			if err != nil {
				t.Error(err)
			}
			back += taken.Returned
		}
	})
	work.Wait()
	if len(finished)+back != deliveries {
		t.Errorf("%d finished and %d given back, of %d", len(finished), back, deliveries)
	}
	again := c.claim(other, "other", store.LaneRoom{Max: 100})
	if len(again) != back {
		t.Errorf("%d run again, %d were given back", len(again), back)
	}
	for i := range again {
		if finished[again[i].Delivery.ID] {
			t.Errorf("%s is finished and runs again", again[i].Delivery.ID)
		}
		_, err := other.Finish(ctx, []store.Outcome{outcomeOf("other", &again[i].Delivery, store.VerdictSucceeded)})
		must(t, err)
	}
	c.wantQuiet(other)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A node's outcome was on its way while everybody thought the node dead.
func TestLateOutcomeOfAStalledNodeIsDropped(t *testing.T) {
	c := newCluster(t)
	line := pgtest.Relay(t, c.url)
	stalled, other := c.node(line.URL(c.url)), c.node(c.url)
	ctx := t.Context()
	c.send(stalled, store.NewDelivery{Destination: routeTo("a")})
	must(t, stalled.Beat(ctx, "stalled", time.Second))
	first := c.claim(stalled, "stalled", store.LaneRoom{Max: 1})[0]

	line.Hold()
	late := make(chan error, 1)
	go func() {
		results, err := stalled.Finish(ctx, []store.Outcome{outcomeOf("stalled", &first.Delivery, store.VerdictSucceeded)})
		late <- errors.Join(append(results, err)...)
	}()
	c.advance(2 * time.Second)
	must(t, other.Beat(ctx, "other", time.Minute))
	taken, err := other.TakeOver(ctx, store.TakeOverParams{Node: "other", MaxInterruptions: 3})
	must(t, err)
	if taken.Returned != 1 {
		t.Fatalf("taken over %+v", taken)
	}
	second := c.claim(other, "other", store.LaneRoom{Max: 1})[0]
	line.Heal()

	if err := <-late; !errors.Is(err, store.ErrLostClaim) {
		t.Errorf("the late outcome gave %v", err)
	}
	if _, err := stalled.Claim(ctx, store.ClaimParams{Node: "stalled", Max: 1, Lanes: []store.LaneRoom{{Lane: 1, Max: 1}}}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a node whose lease has lapsed claims: %v", err)
	}
	c.advance(time.Hour)
	must(t, other.Beat(ctx, "other", time.Minute))
	if taken, err := stalled.TakeOver(ctx, store.TakeOverParams{Node: "stalled", MaxInterruptions: 3}); err != nil || taken.Returned != 0 {
		t.Errorf("a node whose lease has lapsed takes over %+v, %v", taken, err)
	}
	must(t, stalled.Beat(ctx, "stalled", time.Second))
	results, err := other.Finish(ctx, []store.Outcome{outcomeOf("other", &second.Delivery, store.VerdictSucceeded)})
	must(t, errors.Join(append(results, err)...))
	c.wantQuiet(other)
}

// The holder of an effect is about to send while it is taken over: either it sends, and who comes after it
// sees that, or it doesn't.
func TestEffectIsSentOnceBesideATakeOver(t *testing.T) {
	c := newCluster(t)
	slow, other := c.node(c.url), c.node(c.url)
	ctx := t.Context()
	for round := range 25 {
		key := fmt.Sprintf("default/compta/invoice/%d", round)
		c.send(slow, store.NewDelivery{Destination: routeTo("facture")})
		must(t, slow.Beat(ctx, "slow", time.Second))
		first := outcomeOf("slow", &c.claim(slow, "slow", store.LaneRoom{Max: 1})[0].Delivery, "").Holder
		_, err := slow.OpenEffect(ctx, store.OpenEffect{Key: key, Kind: "k", Holder: first})
		must(t, err)
		c.advance(2 * time.Second)
		must(t, other.Beat(ctx, "other", time.Second))

		var sent atomic.Int64
		send := func(s *Store, h store.Holder) error {
			_, err := s.AdvanceEffect(ctx, store.AdvanceEffect{Key: key, Holder: h, From: store.EffectOpen, To: store.EffectSent})
			if err == nil {
				sent.Add(1)
			} else if !errors.Is(err, store.ErrLostClaim) {
				t.Error(err)
			}
			return err
		}
		var work sync.WaitGroup
		var late error
		work.Go(func() { late = send(slow, first) })
		var second core.Delivery
		for second.ID == 0 { // what the first one's transaction has locked is left until the next time
			_, err := other.TakeOver(ctx, store.TakeOverParams{Node: "other", MaxInterruptions: 1000})
			must(t, err)
			if got := c.claim(other, "other", store.LaneRoom{Max: 1}); len(got) == 1 {
				second = got[0].Delivery
			}
		}
		h := outcomeOf("other", &second, "").Holder
		e, err := other.OpenEffect(ctx, store.OpenEffect{Key: key, Kind: "k", Holder: h})
		must(t, err)
		work.Wait()
		if (e.State == store.EffectSent) != (late == nil) {
			t.Errorf("the first holder's sending gave %v, and the second found it %s", late, e.State)
		}
		if (second.Reason == core.ReasonUnknown) != (late == nil) {
			t.Errorf("the first holder's sending gave %v, and the delivery came back as %q", late, second.Reason)
		}
		if e.State == store.EffectOpen {
			must(t, send(other, h))
		}
		if sent.Load() != 1 {
			t.Errorf("sent %d times", sent.Load())
		}
		_, err = other.Finish(ctx, []store.Outcome{outcomeOf("other", &second, store.VerdictSucceeded)})
		must(t, err)
	}
}

// Two deliveries come to one effect again and again, one after the other's end.
func TestEffectIsHeldByOne(t *testing.T) {
	const key = "default/compta/invoice/1"
	c := newCluster(t)
	nodes := []*Store{c.node(c.url), c.node(c.url)}
	ctx := t.Context()
	for i := range 6 {
		c.send(nodes[0], store.NewDelivery{Destination: routeTo(fmt.Sprint(i))})
	}
	var at, held atomic.Int64
	var work sync.WaitGroup
	for i, got := range c.claim(nodes[0], "n", store.LaneRoom{Max: 1}) {
		s, d, lane := nodes[i%2], got.Delivery, got.Lane
		work.Go(func() {
			for turns := 0; turns < 10 && !t.Failed(); {
				e, err := s.OpenEffect(ctx, store.OpenEffect{Key: key, Kind: "k", Holder: outcomeOf("n", &d, "").Holder})
				if err != nil {
					t.Error(err)
					return
				}
				if !e.Held {
					if at.Add(1) != 1 {
						t.Error("two deliveries are at the effect")
					}
					held.Add(1)
					at.Add(-1)
					turns++
				}
				// It goes on as the next claim, and its next turn is one more.
				if _, err := s.Finish(ctx, []store.Outcome{outcomeOf("n", &d, store.VerdictDefer)}); err != nil {
					t.Error(err)
				}
				next, err := s.Claim(ctx, store.ClaimParams{Node: "n", Max: 1, Lanes: []store.LaneRoom{{Lane: lane, Max: 1}}})
				if err != nil || len(next) != 1 {
					t.Errorf("claimed %d, %v", len(next), err)
					return
				}
				d = next[0].Delivery
			}
		})
	}
	work.Wait()
	if held.Load() != 60 {
		t.Errorf("held %d times, want 60", held.Load())
	}
}
