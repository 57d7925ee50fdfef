package lane

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// farStore is a store of several nodes over a network: what it is asked for takes its time before it is committed and
// after, and some answers are lost.
type farStore struct {
	*modelStore
	delay func() time.Duration
	lose  func() bool

	calls  sync.Mutex
	claims int // under way
	most   int
	takes  bool
}

func (s *farStore) Claim(_ context.Context, p store.ClaimParams) ([]store.Claimed, error) {
	s.calls.Lock()
	s.claims++
	s.most = max(s.most, s.claims)
	if s.takes {
		s.t.Error("a claim began during a take-over")
	}
	s.calls.Unlock()
	defer func() {
		s.calls.Lock()
		s.claims--
		s.calls.Unlock()
	}()
	<-time.After(s.delay())
	claimed := s.claimFree(p)
	<-time.After(s.delay())
	if s.lose() {
		return nil, errAway
	}
	return claimed, nil
}

// claimFree gives what the lanes have room for by what the store knows: of a claim whose answer was lost, nobody else
// knows.
func (s *farStore) claimFree(p store.ClaimParams) (claimed []store.Claimed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, room := range p.Lanes {
		if room.Max = min(room.Max, room.Window-s.lanes[room.Lane-1].running); room.Max > 0 {
			claimed = append(claimed, s.claimLane(int(room.Lane-1), room)...)
		}
	}
	return claimed
}

func (s *farStore) Finish(ctx context.Context, outcomes []store.Outcome) ([]error, error) {
	<-time.After(s.delay())
	results, err := s.modelStore.Finish(ctx, outcomes)
	<-time.After(s.delay())
	if err == nil && s.lose() {
		return nil, errAway
	}
	return results, err
}

func (s *farStore) TakeOver(ctx context.Context, p store.TakeOverParams) (store.TakenOver, error) {
	s.calls.Lock()
	s.takes = true
	if s.claims > 0 {
		s.t.Error("a take-over began during a claim")
	}
	s.calls.Unlock()
	<-time.After(s.delay())
	taken, err := s.modelStore.TakeOver(ctx, p)
	<-time.After(s.delay())
	s.calls.Lock()
	s.takes = false
	s.calls.Unlock()
	return taken, err
}

// watch is a destination that sees to what lanes promise of their attempts.
type watch struct {
	t       *testing.T
	mu      sync.Mutex
	window  map[core.Destination]int
	runs    map[core.DeliveryID]bool
	running map[core.Destination]int
	all     int
	most    int
	newest  map[string]core.DeliveryID // of each order
}

func (w *watch) begin(d core.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.runs[d.ID] {
		w.t.Errorf("%s runs twice at once", d.ID)
	}
	w.runs[d.ID] = true
	w.running[d.Destination]++
	w.all++
	w.most = max(w.most, w.all)
	if n := w.running[d.Destination]; n > w.window[d.Destination] {
		w.t.Errorf("%s runs %d of %d", d.Destination, n, w.window[d.Destination])
	}
	order := d.Destination.Name + " " + d.OrderKey
	if d.OrderKey != "" && w.newest[order] > d.ID {
		w.t.Errorf("%s runs after %s", d.ID, w.newest[order])
	}
	w.newest[order] = d.ID
}

func (w *watch) end(d core.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs[d.ID] = false
	w.running[d.Destination]--
	w.all--
}

// far is a run of lanes on a farStore, all of it drawn from a seed.
type far struct {
	*rand.Rand
	mu      sync.Mutex // of the Rand
	losing  bool
	store   *farStore
	watch   *watch
	dests   []core.Destination
	running int
	lanes   *Lanes
	result  chan error
}

func (f *far) draw(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.IntN(n)
}

func (f *far) loses() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.losing && f.IntN(20) == 0
}

func startFar(t *testing.T, seed uint64, losing bool) *far {
	f := &far{
		Rand: rand.New(rand.NewPCG(seed, 1)), losing: losing, result: make(chan error, 1),
		watch: &watch{
			t: t, window: map[core.Destination]int{}, runs: map[core.DeliveryID]bool{}, running: map[core.Destination]int{},
			newest: map[string]core.DeliveryID{},
		},
	}
	f.store = &farStore{modelStore: newModelStore(t), lose: f.loses, delay: func() time.Duration {
		return time.Duration(f.draw(20)) * time.Millisecond
	}}
	c := &configuration{of: map[core.Destination]configured{}}
	for i := range []int{1, 3, 30, 300}[f.draw(4)] {
		dest := route(fmt.Sprint("r", i))
		f.dests = append(f.dests, dest)
		f.watch.window[dest] = 1 + f.draw(10)
		c.set(dest, Settings{Window: f.watch.window[dest]}, f.run)
	}
	f.running = []int{5, 40, 2048}[f.draw(3)]
	// No scan heals a lost wake-up.
	f.lanes = New(Options{Store: f.store, Node: "node", Settings: c.settings, Bounds: Bounds{Running: f.running, Scan: 10 * time.Hour}})
	go func() { f.result <- f.lanes.Run(t.Context()) }()
	synctest.Wait()
	return f
}

func (f *far) run(ctx context.Context, c *store.Claimed) store.Outcome {
	f.watch.begin(c.Delivery)
	defer f.watch.end(c.Delivery)
	select {
	case <-time.After(time.Duration(f.draw(50)) * time.Millisecond):
	case <-ctx.Done():
		return store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonTimeout}
	}
	if f.draw(20) == 0 {
		return store.Outcome{Verdict: store.VerdictDefer, Delay: time.Second}
	}
	return store.Outcome{Verdict: store.VerdictSucceeded}
}

// send stores deliveries, some of them ordered and some due later, and returns how many.
func (f *far) send() (sent int) {
	for range 40 {
		dest := f.dests[f.draw(len(f.dests))]
		for range f.draw(40) {
			key := ""
			if f.draw(3) == 0 {
				key = fmt.Sprint("k", f.draw(2))
			}
			f.store.add(dest, time.Duration(f.draw(2)*f.draw(500))*time.Millisecond, func(d *modelDelivery) {
				d.OrderKey, d.Ordered = key, key != ""
			})
			sent++
		}
		f.lanes.Wake(dest)
		pass(time.Duration(f.draw(30)) * time.Millisecond)
	}
	return sent
}

func (f *far) stop(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	f.lanes.Stop(ctx)
	if err := <-f.result; err != nil {
		t.Error(err)
	}
	synctest.Wait()
	if f.watch.most > f.running {
		t.Errorf("%d ran at once, %d may", f.watch.most, f.running)
	}
}

// Nothing is lost, runs twice at once or beyond its bounds on a store that answers late and loses answers.
func TestStoreThatAnswersLate(t *testing.T) {
	for seed := range uint64(24) {
		losing, early := seed%3 == 0, seed%4 == 1 // answers are lost; the stop comes while there is work
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startFar(t, seed, losing)
				sent := f.send()
				if !early {
					pass(4 * time.Minute)
				}
				f.mu.Lock()
				f.losing = false
				f.mu.Unlock()
				if !early {
					pass(time.Minute)
				}
				f.stop(t)
				got := f.store.states()
				if !early && got[core.StateSucceeded] != sent {
					t.Errorf("of %d sent: %v", sent, got)
				}
				// A claim without an answer is another life's to take over.
				if early && !losing && got[core.StateRunning] > 0 {
					t.Errorf("a stop left %v", got)
				}
				if f.store.most > 1 {
					t.Errorf("%d claims went on at once", f.store.most)
				}
			})
		})
	}
}
