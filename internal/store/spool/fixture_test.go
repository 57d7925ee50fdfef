package spool

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/sqlite"
)

var errAway = core.Errorf(core.CodeUnavailable, "connection refused: %w", store.ErrUnavailable)

// fickle is a real store behind a network that tests can break.
type fickle struct {
	store *sqlite.Store

	mu    sync.Mutex
	calls [][]core.EventID
	on    func(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) // nil is a good network
}

func (f *fickle) Append(ctx context.Context, batch []store.Accepted) ([]store.Appended, error) {
	f.mu.Lock()
	ids := make([]core.EventID, len(batch))
	for i := range batch {
		ids[i] = batch[i].Event.ID
	}
	f.calls = append(f.calls, ids)
	on := f.on
	f.mu.Unlock()
	if on != nil {
		return on(ctx, batch)
	}
	return f.store.Append(ctx, batch)
}

func (f *fickle) set(on func(ctx context.Context, batch []store.Accepted) ([]store.Appended, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

func (f *fickle) away() {
	f.set(func(context.Context, []store.Accepted) ([]store.Appended, error) { return nil, errAway })
}

func (f *fickle) back() { f.set(nil) }

func (f *fickle) called() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

func newFickle(t *testing.T) *fickle {
	t.Helper()
	return &fickle{store: openStore(t, t.TempDir())}
}

func openStore(t *testing.T, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Sync: sqlite.SyncOff})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// toRoute matches every event with one route.
func toRoute(_ context.Context, batch []store.Accepted) error {
	for i := range batch {
		batch[i].RouteSet = "in force at the move"
		batch[i].Deliveries = []store.NewDelivery{{
			Destination: core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: "facture"}, Priority: core.PriorityNormal,
		}}
	}
	return nil
}

// start opens a spool and runs it. Without a bound it has one that no test reaches.
func start(t *testing.T, o Options) *Spool {
	t.Helper()
	if o.Bound == 0 {
		o.Bound = time.Minute
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Rematch == nil {
		o.Rematch = toRoute
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	t.Cleanup(func() { stop(t, s, cancel, &running) })
	stops.Store(s, func() { stop(t, s, cancel, &running) })
	return s
}

var stops sync.Map // *Spool to what ends it

func stop(t *testing.T, s *Spool, cancel func(), running *sync.WaitGroup) {
	cancel()
	running.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func end(s *Spool) {
	f, _ := stops.Load(s)
	f.(func())()
}

// until waits for the spool to come into a state.
func until(t *testing.T, s *Spool, what string, condition func(Status) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ok := s.await(ctx, nil, func() bool {
		s.mu.Unlock()
		defer s.mu.Lock()
		return condition(s.Status())
	})
	if !ok {
		t.Fatalf("waited for %s: %+v", what, s.Status())
	}
}

func untilDirect(t *testing.T, s *Spool) {
	t.Helper()
	until(t, s, "events to go to the store", func(st Status) bool { return st.State == StateDirect && st.Events == 0 })
}

func event(serial int, body string) store.Accepted {
	a := store.Accepted{
		Event: core.Event{
			ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "sellsy", Type: "estimate.accepted", NativeType: "estimate/accepted",
			ReceivedAt: time.Now().UTC().Truncate(time.Microsecond), Format: core.FormatJSON, Header: []byte("X-A: \xff\r\n"),
			Query: "a=\xfe%00", Path: "id=1", Body: []byte(body), Test: serial%2 == 0, Redacted: serial%3 == 0,
		},
		DedupWindow: time.Hour, Force: serial%5 == 0,
	}
	binary.BigEndian.PutUint64(a.DedupKey[:], uint64(serial)+1)
	return a
}

func events(from, n int) []store.Accepted {
	batch := make([]store.Accepted, n)
	for i := range batch {
		batch[i] = event(from+i, fmt.Sprint(from+i))
	}
	return batch
}

func mustAppend(t *testing.T, s *Spool, batch []store.Accepted) []store.Appended {
	t.Helper()
	got, err := s.Append(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(batch) {
		t.Fatalf("%d results for %d events", len(got), len(batch))
	}
	return got
}

// wantStored asserts that the store holds the events as they were sent, once, in that order, each with its delivery.
func wantStored(t *testing.T, s *sqlite.Store, batch []store.Accepted) {
	t.Helper()
	last := int64(0)
	for i, a := range batch {
		got, err := s.Event(t.Context(), a.Event.ID)
		if err != nil {
			t.Errorf("event %d was acknowledged: %v", i, err)
			continue
		}
		if got.Seq <= last {
			t.Errorf("event %d has the number %d, after %d", i, got.Seq, last)
		}
		last = got.Seq
		got.Seq = 0
		if want := a.Event; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("event %d:\n%+v\nwant\n%+v", i, got, want)
		}
		list, err := s.Deliveries(t.Context(), store.DeliveryFilter{Event: a.Event.ID})
		if err != nil || len(list) != 1 {
			t.Errorf("event %d has %d deliveries, %v", i, len(list), err)
		}
	}
}

// matched is a batch as ingest hands it over.
func matched(t *testing.T, batch []store.Accepted) []store.Accepted {
	t.Helper()
	if err := toRoute(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	return batch
}
