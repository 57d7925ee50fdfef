// Package storetest is what every store must do, as one suite. A store passes it or isn't one.
package storetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// Options are what a test asks of the store that it opens.
type Options struct {
	// Now is the clock. A store on a database with a clock of its own adds the difference to it.
	Now func() time.Time
	// Dir is the folder, or what else names the data: two opens of the same Dir see the same data.
	Dir string
}

// Open opens a store for a test. The test closes it; closing twice is allowed.
type Open func(t *testing.T, o Options) store.Store

// Exercise runs the suite.
func Exercise(t *testing.T, open Open, ask Ask) {
	for _, part := range []struct {
		name  string
		tests map[string]func(*testing.T, *bench)
	}{
		{"Append", appendTests}, {"Dedup", dedupTests}, {"FanOut", fanOutTests}, {"Claim", claimTests},
		{"Order", orderTests}, {"Finish", finishTests}, {"TakeOver", takeOverTests}, {"Ledger", ledgerTests},
		{"Operator", operatorTests}, {"Pause", pauseTests}, {"Read", readTests}, {"Reject", rejectTests},
		{"Retain", retainTests}, {"Cluster", clusterTests}, {"Postback", postbackTests},
	} {
		t.Run(part.name, func(t *testing.T) {
			for name, test := range part.tests {
				t.Run(name, func(t *testing.T) {
					b := newBench(t, open)
					b.ask = ask
					test(t, b)
				})
			}
		})
	}
}

// bench is a store on its workbench: with a clock that stands until it is moved, and the steps that
// tests are made of.
type bench struct {
	t     *testing.T
	open  Open
	dir   string
	clock *clock
	ask   Ask
	store.Store
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func newBench(t *testing.T, open Open) *bench {
	b := &bench{t: t, open: open, dir: t.TempDir(), clock: &clock{now: time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC)}}
	b.Store = open(t, Options{Now: b.clock.Now, Dir: b.dir})
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// restart closes the store and opens it again on the same data.
func (b *bench) restart() {
	b.t.Helper()
	b.must(b.Close())
	b.Store = b.open(b.t, Options{Now: b.clock.Now, Dir: b.dir})
}

func (b *bench) advance(d time.Duration) {
	b.clock.mu.Lock()
	defer b.clock.mu.Unlock()
	b.clock.now = b.clock.now.Add(d)
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) ctx() context.Context { return b.t.Context() }

func route(name string) core.Destination {
	return core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: name}
}

func endpoint(name string) core.Destination {
	return core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationEndpoint, Name: name}
}

// event makes an accepted event for the destinations.
func (b *bench) event(to ...core.Destination) store.Accepted {
	id := core.NewEventID()
	a := store.Accepted{
		Event: core.Event{
			ID: id, Tenant: core.DefaultTenant, Source: "sellsy", Type: "estimate.accepted",
			ReceivedAt: b.clock.Now(), Format: core.FormatJSON,
			Header: []byte("Content-Type: application/json\r\n"), Body: fmt.Appendf(nil, `{"id":%q}`, id),
		},
		RouteSet: "set-1",
	}
	for _, d := range to {
		a.Deliveries = append(a.Deliveries, store.NewDelivery{Destination: d, Priority: core.PriorityNormal})
	}
	return a
}

func keyed(a store.Accepted, key string, window time.Duration) store.Accepted {
	sum := sha256.Sum256([]byte(key))
	copy(a.DedupKey[:], sum[:])
	a.DedupWindow = window
	return a
}

// send stores events, one call for all.
func (b *bench) send(events ...store.Accepted) []store.Appended {
	b.t.Helper()
	appended, err := b.Append(b.ctx(), events)
	b.must(err)
	if len(appended) != len(events) {
		b.t.Fatalf("%d events gave %d results", len(events), len(appended))
	}
	return appended
}

const node = "node-1"

// claim takes up to n deliveries of each lane that has work.
func (b *bench) claim(n int) []store.Claimed {
	b.t.Helper()
	return b.claimWith(store.LaneRoom{Max: n, Window: 1000})
}

func (b *bench) claimWith(room store.LaneRoom) []store.Claimed {
	b.t.Helper()
	work, err := b.Work(b.ctx(), 0, 1000)
	b.must(err)
	p := store.ClaimParams{Node: node, Lease: 10 * time.Second, Max: 1000}
	for _, w := range work {
		room.Lane = w.Lane
		p.Lanes = append(p.Lanes, room)
	}
	claimed, err := b.Claim(b.ctx(), p)
	b.must(err)
	return claimed
}

// claimOne takes one delivery and fails when there is none or there are more.
func (b *bench) claimOne() store.Claimed {
	b.t.Helper()
	claimed := b.claim(10)
	if len(claimed) != 1 {
		b.t.Fatalf("claimed %d deliveries, want 1", len(claimed))
	}
	return claimed[0]
}

func (b *bench) claimNone() {
	b.t.Helper()
	if claimed := b.claim(10); len(claimed) != 0 {
		b.t.Fatalf("claimed %d deliveries, want none", len(claimed))
	}
}

func holder(c store.Claimed) store.Holder {
	return store.Holder{Delivery: c.Delivery.ID, Claim: c.Delivery.Claim, Node: node}
}

func (b *bench) outcome(c store.Claimed, v store.Verdict) store.Outcome {
	return store.Outcome{
		Holder: holder(c), Lane: c.Lane, Unordered: !c.Delivery.Ordered, Verdict: v,
		Attempt: store.Attempt{Started: b.clock.Now(), Duration: 3 * time.Millisecond, Trace: []byte(`{"status":200}`)},
	}
}

// finish writes one outcome and returns what the store says to it.
func (b *bench) finish(o store.Outcome) error {
	b.t.Helper()
	results, err := b.Finish(b.ctx(), []store.Outcome{o})
	b.must(err)
	return results[0]
}

func (b *bench) delivery(id core.DeliveryID) core.Delivery {
	b.t.Helper()
	d, err := b.Delivery(b.ctx(), id)
	b.must(err)
	return d
}

func (b *bench) wantState(id core.DeliveryID, want core.State) core.Delivery {
	b.t.Helper()
	d := b.delivery(id)
	if d.State != want {
		b.t.Fatalf("%s is %s, want %s", id, d.State, want)
	}
	return d
}

func (b *bench) wantCode(err error, want core.Code) {
	b.t.Helper()
	if core.CodeOf(err) != want {
		b.t.Fatalf("error %v has code %q, want %q", err, core.CodeOf(err), want)
	}
}
