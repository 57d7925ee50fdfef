package lane_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/lane"
	"relais/internal/store"
	"relais/internal/store/sqlite"
)

// runner is a runner that is a function.
type runner func(ctx context.Context, c *store.Claimed) store.Outcome

func (f runner) Run(ctx context.Context, c *store.Claimed) store.Outcome { return f(ctx, c) }

func hang(ctx context.Context, _ *store.Claimed) store.Outcome {
	<-ctx.Done()
	return store.Outcome{Verdict: store.VerdictRetry, Reason: core.ReasonTimeout}
}

func route(name string) core.Destination {
	return core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: name}
}

func open(t *testing.T, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// appendTo stores one event for each destination, in one batch.
func appendTo(t *testing.T, s *sqlite.Store, priority core.Priority, ordered bool, destinations ...core.Destination) {
	t.Helper()
	batch := make([]store.Accepted, len(destinations))
	for i, d := range destinations {
		batch[i] = store.Accepted{
			Event: core.Event{
				ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "test", Type: "a.b",
				ReceivedAt: time.Now(), Format: core.FormatJSON, Body: []byte(`{}`),
			},
			Deliveries: []store.NewDelivery{{Destination: d, Priority: priority, Ordered: ordered}},
		}
	}
	if _, err := s.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

// run starts lanes and returns how to stop them.
func run(t *testing.T, s lane.Store, settings func(core.Destination) (lane.Settings, lane.Runner, bool), bounds lane.Bounds) (*lane.Lanes, func()) {
	t.Helper()
	l := lane.New(lane.Options{Store: s, Node: "node", Alone: true, Settings: settings, Bounds: bounds})
	result := make(chan error, 1)
	go func() { result <- l.Run(context.Background()) }()
	return l, func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		l.Stop(ctx)
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}

func repeat(d core.Destination, n int) []core.Destination {
	out := make([]core.Destination, n)
	for i := range out {
		out[i] = d
	}
	return out
}

// await fails the test when the signal doesn't come in a time that is far beyond what it takes.
func await(t *testing.T, what string, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s didn't happen", what)
	}
}

// countdown closes its channel at the n-th call.
func countdown(n int) (done func(), zero <-chan struct{}) {
	var mu sync.Mutex
	c := make(chan struct{})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if n--; n == 0 {
			close(c)
		}
	}, c
}

func TestDeadDestinationsDelayNobodyElseOnSQLite(t *testing.T) {
	s := open(t, t.TempDir())
	healthy := route("healthy")
	var dead []core.Destination
	for i := range 50 {
		for range 20 {
			dead = append(dead, route(fmt.Sprintf("dead-%d", i)))
		}
	}
	done, all := countdown(1000)
	l, stop := run(t, s, func(d core.Destination) (lane.Settings, lane.Runner, bool) {
		if d != healthy {
			return lane.Settings{}, runner(hang), true // for as long as the test runs
		}
		return lane.Settings{}, runner(func(context.Context, *store.Claimed) store.Outcome {
			done()
			return store.Outcome{Verdict: store.VerdictSucceeded}
		}), true
	}, lane.Bounds{Running: 400})
	appendTo(t, s, core.PriorityNormal, false, dead...)
	l.Wake(dead...)
	for range 10 {
		appendTo(t, s, core.PriorityNormal, false, repeat(healthy, 100)...)
		l.Wake(healthy)
	}
	await(t, "the healthy destination's 1,000 deliveries", all)
	stop()
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.Pending != 1000 || stats.Running != 0 || stats.Dead != 0 {
		t.Errorf("after the stop %d are pending, %d running and %d dead; want the hanging 1,000 handed back", stats.Pending, stats.Running, stats.Dead)
	}
	deliveries, err := s.Deliveries(t.Context(), store.DeliveryFilter{State: core.StatePending, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deliveries {
		if d.Attempts != 0 || d.Interruptions != 0 {
			t.Fatalf("a stop used up %d attempts and counted %d interruptions", d.Attempts, d.Interruptions)
		}
	}
}

func TestDeliveriesOfAKilledLifeRunAgain(t *testing.T) {
	dir := t.TempDir()
	first, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, first, core.PriorityNormal, false, route("a"), route("a"), route("b"))
	work, err := first.Work(t.Context(), 0, 10)
	if err != nil || len(work) != 2 {
		t.Fatalf("%v, %v", work, err)
	}
	claimed, err := first.Claim(t.Context(), store.ClaimParams{
		Node: "node", Lease: time.Minute, Max: 10, Lanes: []store.LaneRoom{{Lane: work[0].Lane, Max: 10, Window: 10}},
	})
	if err != nil || len(claimed) != 2 {
		t.Fatalf("%d claimed, %v", len(claimed), err)
	}
	if err := first.Close(); err != nil { // nobody finishes what was claimed
		t.Fatal(err)
	}

	s := open(t, dir)
	done, all := countdown(3)
	seen := make(chan core.Delivery, 3)
	_, stop := run(t, s, func(core.Destination) (lane.Settings, lane.Runner, bool) {
		return lane.Settings{}, runner(func(_ context.Context, c *store.Claimed) store.Outcome {
			seen <- c.Delivery
			done()
			return store.Outcome{Verdict: store.VerdictSucceeded}
		}), true
	}, lane.Bounds{})
	await(t, "all three deliveries", all)
	stop()
	close(seen)
	interrupted := 0
	for d := range seen {
		interrupted += d.Interruptions
	}
	if interrupted != 2 {
		t.Errorf("%d interruptions counted, want one each of the two that were claimed", interrupted)
	}
	stats, err := s.Stats(t.Context())
	if err != nil || stats.Pending+stats.Running+stats.Dead != 0 {
		t.Errorf("left behind: %+v, %v", stats, err)
	}
}

func TestPoisonIsDeadAfterThreeKilledLives(t *testing.T) {
	dir := t.TempDir()
	for life := range 3 {
		s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if life == 0 {
			appendTo(t, s, core.PriorityNormal, false, route("a"))
		} else if _, err := s.TakeOver(t.Context(), store.TakeOverParams{Node: "node", MaxInterruptions: 3}); err != nil {
			t.Fatal(err)
		}
		work, err := s.Work(t.Context(), 0, 10)
		if err != nil || len(work) != 1 {
			t.Fatalf("life %d: %v, %v", life, work, err)
		}
		claimed, err := s.Claim(t.Context(), store.ClaimParams{
			Node: "node", Lease: time.Minute, Max: 1, Lanes: []store.LaneRoom{{Lane: work[0].Lane, Max: 1, Window: 1}},
		})
		if err != nil || len(claimed) != 1 {
			t.Fatalf("life %d: %d claimed, %v", life, len(claimed), err)
		}
		if err := s.Close(); err != nil { // and here the process is killed
			t.Fatal(err)
		}
	}
	s := open(t, dir)
	told := make(chan store.Claimed, 1)
	l := lane.New(lane.Options{
		Store: s, Node: "node", Alone: true,
		Settings: func(core.Destination) (lane.Settings, lane.Runner, bool) {
			return lane.Settings{}, runner(func(context.Context, *store.Claimed) store.Outcome {
				t.Error("it was tried a fourth time")
				return store.Outcome{Verdict: store.VerdictSucceeded}
			}), true
		},
		OnDead: func(_ context.Context, c store.Claimed, _ store.Outcome) { told <- c },
	})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- l.Run(ctx) }()
	select {
	case c := <-told:
		if c.Delivery.Reason != core.ReasonInterrupted || c.Event.ID.IsZero() {
			t.Errorf("told of %s, event %s", c.Delivery.Reason, c.Event.ID)
		}
	case <-time.After(30 * time.Second):
		t.Error("nobody was told")
	}
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestOrderIsKeptOnSQLite(t *testing.T) {
	s := open(t, t.TempDir())
	const n = 200
	done, all := countdown(n)
	var mu sync.Mutex
	var order []int64
	running := 0
	l, stop := run(t, s, func(core.Destination) (lane.Settings, lane.Runner, bool) {
		return lane.Settings{FIFO: true}, runner(func(_ context.Context, c *store.Claimed) store.Outcome {
			mu.Lock()
			running++
			if running > 1 {
				t.Error("two of a fifo lane at once")
			}
			order = append(order, c.Delivery.EventSeq)
			running--
			mu.Unlock()
			done()
			return store.Outcome{Verdict: store.VerdictSucceeded}
		}), true
	}, lane.Bounds{Scan: time.Hour})
	for range n / 20 {
		appendTo(t, s, core.PriorityNormal, true, repeat(route("fifo"), 20)...)
		l.Wake(route("fifo"))
	}
	await(t, "the ordered deliveries", all)
	stop()
	for i := 1; i < len(order); i++ {
		if order[i] <= order[i-1] {
			t.Fatalf("event %d ran after event %d", order[i], order[i-1])
		}
	}
}

func TestLowPriorityIsNotStarvedOnSQLite(t *testing.T) {
	s := open(t, t.TempDir())
	appendTo(t, s, core.PriorityLow, false, route("a"))
	appendTo(t, s, core.PriorityUrgent, false, repeat(route("a"), 1000)...)
	done, all := countdown(1)
	ran := 0
	_, stop := run(t, s, func(core.Destination) (lane.Settings, lane.Runner, bool) {
		return lane.Settings{Window: 1}, runner(func(_ context.Context, c *store.Claimed) store.Outcome {
			ran++ // the window is 1
			if c.Delivery.Priority == core.PriorityLow {
				done()
			}
			return store.Outcome{Verdict: store.VerdictSucceeded}
		}), true
	}, lane.Bounds{})
	await(t, "the low delivery", all)
	stop()
	// At 1 in 9, waiting for 400 has a chance of less than 1e-20.
	if ran > 400 {
		t.Errorf("%d urgent ones ran before the low one", ran)
	}
}

// BenchmarkEndToEnd stores 500 events a second, one by one, and reports how long each takes from before
// its append to the start of its attempt, and the processor's time for all of it.
func BenchmarkEndToEnd(b *testing.B) {
	s, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	const rate = 500
	var mu sync.Mutex
	var took []time.Duration
	done, all := countdown(b.N)
	l := lane.New(lane.Options{Store: s, Node: "node", Alone: true, Settings: func(core.Destination) (lane.Settings, lane.Runner, bool) {
		return lane.Settings{}, runner(func(_ context.Context, c *store.Claimed) store.Outcome {
			mu.Lock()
			took = append(took, time.Since(c.Event.ReceivedAt))
			mu.Unlock()
			done()
			return store.Outcome{Verdict: store.VerdictSucceeded}
		}), true
	}})
	ctx, cancel := context.WithCancel(b.Context())
	result := make(chan error, 1)
	go func() { result <- l.Run(ctx) }()
	before := processorTime(b)
	ticker := time.NewTicker(time.Second / rate)
	defer ticker.Stop()
	for range b.N {
		<-ticker.C
		event := core.Event{ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "test", Type: "a", ReceivedAt: time.Now(), Format: core.FormatJSON, Body: []byte("{}")}
		go func() {
			_, err := s.Append(ctx, []store.Accepted{{Event: event, Deliveries: []store.NewDelivery{{Destination: route("a")}}}})
			if err != nil {
				b.Error(err)
			}
			l.Wake(route("a"))
		}()
	}
	<-all
	spent := processorTime(b) - before
	cancel()
	if err := <-result; err != nil {
		b.Error(err)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-us/event")
}
