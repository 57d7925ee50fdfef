package lane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// modelStore keeps deliveries in memory by the rules of store.Lanes, so that tests can run in virtual
// time and make it fail where they want. It fails the test when it is asked for what the lanes promise
// never to ask.
type modelStore struct {
	t        *testing.T
	mu       sync.Mutex
	lanes    []*modelLane // lane n has id n+1
	all      []*modelDelivery
	fail     map[string]error // by method
	calls    map[string]int
	takeOver []store.TakeOverParams
	dead     []core.Delivery // what the next take-over returns as dead
	healed   bool            // takes the outcomes that it couldn't
	breakers map[store.LaneID]core.BreakerState
	claims   []claimCall
}

type claimCall struct {
	at    time.Time
	lanes []store.LaneRoom
}

type modelLane struct {
	dest    core.Destination
	running int
	paused  bool
	next    time.Time // of its rate
}

type modelDelivery struct {
	core.Delivery
	lane     int
	body     []byte
	outcomes []store.Outcome
}

func newModelStore(t *testing.T) *modelStore {
	return &modelStore{
		t: t, fail: map[string]error{}, calls: map[string]int{},
		breakers: map[store.LaneID]core.BreakerState{},
	}
}

func route(name string) core.Destination {
	return core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: name}
}

// add stores a pending delivery that is due after a delay.
func (s *modelStore) add(dest core.Destination, delay time.Duration, change ...func(*modelDelivery)) *modelDelivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := slices.IndexFunc(s.lanes, func(l *modelLane) bool { return l.dest == dest })
	if n < 0 {
		n = len(s.lanes)
		s.lanes = append(s.lanes, &modelLane{dest: dest})
	}
	now := time.Now()
	d := &modelDelivery{lane: n, Delivery: core.Delivery{
		ID: core.DeliveryID(len(s.all) + 1), Destination: dest, State: core.StatePending, CreatedAt: now, DueAt: now.Add(delay),
	}}
	for _, c := range change {
		c(d)
	}
	s.all = append(s.all, d)
	return d
}

func (s *modelStore) enter(method string) error {
	s.calls[method]++
	return s.fail[method]
}

func (s *modelStore) setFail(method string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail[method] = err
}

func (s *modelStore) count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// states counts deliveries by state.
func (s *modelStore) states() map[core.State]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[core.State]int{}
	for _, d := range s.all {
		out[d.State]++
	}
	return out
}

// get returns a copy of a delivery.
func (s *modelStore) get(d *modelDelivery) modelDelivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *d
}

func (s *modelStore) Beat(context.Context, string, time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enter("Beat")
}

func (s *modelStore) TakeOver(_ context.Context, p store.TakeOverParams) (store.TakenOver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter("TakeOver"); err != nil {
		return store.TakenOver{}, err
	}
	s.takeOver = append(s.takeOver, p)
	taken := store.TakenOver{Dead: s.dead}
	s.dead = nil
	for _, d := range s.all {
		if d.State == core.StateRunning && !slices.Contains(p.Held, d.ID) {
			d.State, d.DueAt = core.StatePending, time.Now()
			d.Interruptions++
			s.lanes[d.lane].running--
			taken.Returned++
		}
	}
	return taken, nil
}

func (s *modelStore) Work(_ context.Context, after store.LaneID, limit int) ([]store.LaneWork, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter("Work"); err != nil {
		return nil, err
	}
	var out []store.LaneWork
	for n := int(after); n < len(s.lanes) && len(out) < limit; n++ {
		var first *modelDelivery
		for _, d := range s.all {
			if d.lane == n && d.State == core.StatePending && (first == nil || d.DueAt.Before(first.DueAt)) {
				first = d
			}
		}
		if first != nil {
			id := store.LaneID(n + 1)
			out = append(out, store.LaneWork{Lane: id, Destination: s.lanes[n].dest, NextDue: first.DueAt, Breaker: s.breakers[id]})
		}
	}
	return out, nil
}

func (s *modelStore) Claim(_ context.Context, p store.ClaimParams) ([]store.Claimed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter("Claim"); err != nil {
		return nil, err
	}
	s.claims = append(s.claims, claimCall{time.Now(), p.Lanes})
	sum := 0
	var out []store.Claimed
	for _, room := range p.Lanes {
		lane := s.lanes[room.Lane-1]
		sum += room.Max
		if room.Max <= 0 || lane.running+room.Max > room.Window {
			s.t.Errorf("a claim of %d from %s, which runs %d of %d", room.Max, lane.dest, lane.running, room.Window)
		}
		out = append(out, s.claimLane(int(room.Lane-1), room)...)
	}
	if sum > p.Max || len(p.Lanes) == 0 {
		s.t.Errorf("a claim of %d from %d lanes, %d in all", p.Max, len(p.Lanes), sum)
	}
	return out, nil
}

func (s *modelStore) claimLane(n int, room store.LaneRoom) (out []store.Claimed) {
	lane, now := s.lanes[n], time.Now()
	if lane.paused || room.Rate > 0 && now.Before(lane.next) {
		return nil
	}
	orders := map[string]bool{}
	for _, d := range s.all {
		if d.lane != n || d.State != core.StatePending && d.State != core.StateRunning {
			continue
		}
		busy := d.Ordered && orders[d.OrderKey]
		orders[d.OrderKey] = true
		if d.State == core.StateRunning || busy || d.DueAt.After(now) || len(out) == room.Max {
			continue
		}
		if room.Rate > 0 {
			if len(out) == 1 {
				break
			}
			lane.next = now.Add(time.Duration(float64(time.Second) / room.Rate))
		}
		d.State = core.StateRunning
		d.Claim++
		lane.running++
		out = append(out, store.Claimed{Lane: room.Lane, Delivery: d.Delivery, Event: core.Event{Body: d.body}})
	}
	return out
}

func (s *modelStore) Finish(_ context.Context, outcomes []store.Outcome) ([]error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter("Finish"); err != nil {
		return nil, err
	}
	for _, o := range outcomes {
		if o.Message == "poison" && !s.healed {
			return nil, errors.New("this outcome can't be stored")
		}
	}
	results := make([]error, len(outcomes))
	for i, o := range outcomes {
		d := s.all[o.Holder.Delivery-1]
		if d.State != core.StateRunning || d.Claim != o.Holder.Claim {
			results[i] = store.ErrLostClaim
			continue
		}
		s.lanes[d.lane].running--
		d.outcomes = append(d.outcomes, o)
		d.Reason = o.Reason
		d.DueAt = time.Now().Add(o.Delay)
		switch o.Verdict {
		case store.VerdictSucceeded, store.VerdictSkipped:
			d.State = core.StateSucceeded
		case store.VerdictDead:
			d.State = core.StateDead
		case store.VerdictRetry:
			d.State = core.StatePending
			d.Attempts++
		case store.VerdictDefer, store.VerdictReturn:
			d.State = core.StatePending
		default:
			s.t.Errorf("an outcome with the verdict %q", o.Verdict)
		}
	}
	return results, nil
}

func (s *modelStore) SetBreaker(_ context.Context, lane store.LaneID, b core.BreakerState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breakers[lane] = b
	return s.enter("SetBreaker")
}

var errAway = fmt.Errorf("disk full: %w", store.ErrUnavailable)
