package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// program is relais, built once for all tests: rows on stores measure what a stand-in doesn't have.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "relais-bench-program-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "relais")
	if out, err := exec.CommandContext(context.Background(), "go", "build", "-ldflags", "-s -w", "-o", path, "relais/cmd/relais").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build relais: %w: %s", err, out)
	}
	return path, nil
})

// built is the folder of what was built, removed at the end.
var built string

func relais(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheRowsOnStoresMeasureRelaisItself(t *testing.T) {
	opts := quickOptions(t)
	opts.Binary, opts.Events = relais(t), 2000
	opts.Only = []string{"postgres", "stored-postgres", "drain", "claim", "fair", "drop", "stored-long"}
	var table bytes.Buffer
	opts.Table = &table
	report, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"throughput at 64 connections, PostgreSQL : no-store",
		"CPU per event, PostgreSQL with 2000 stored : with none",
		"deliveries drained, SQLite : bare client",
		"deliveries drained, PostgreSQL : bare client",
		"claim p99, SQLite, 2000 waiting : 1000",
		"drain rate, SQLite, 2000 waiting : 1000",
		"claim p99, PostgreSQL, 2000 waiting : 1000",
		"drain rate, PostgreSQL, 2000 waiting : 1000",
		"end to end p99, SQLite, 50 destinations hang : none",
		"end to end p99, SQLite, 5000 destinations hang : none",
		"end to end p99, PostgreSQL, 50 destinations hang : none",
		"end to end p99, PostgreSQL, 5000 destinations hang : none",
		"ack p99 while a day of 2000 events is dropped : without",
		"longest answer while a query reads all events and a day is to go",
		"CPU per event, SQLite with 20000 stored : with 10000",
		"CPU per event, PostgreSQL with 20000 stored : with 10000",
	}
	var got []string
	for _, target := range report.Targets {
		got = append(got, target.Name)
		if !(target.Measured > 0) {
			t.Errorf("%s: measured %g", target.Name, target.Measured)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("targets are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, row := range report.Rows {
		if row.PerSecond <= 0 {
			t.Errorf("%s: %g a second", row.Name, row.PerSecond)
		}
	}
	if left, _ := filepath.Glob("relais-bench-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLongRowsRunOnlyWhenNamed(t *testing.T) {
	ran := func(only ...string) (names []string) {
		for _, row := range rows {
			if row.runs(only) {
				names = append(names, row.name)
			}
		}
		return names
	}
	if slices.Contains(ran(), "stored-long") || slices.Contains(ran(), "fair") || !slices.Contains(ran(), "claim") {
		t.Errorf("by default: %v", ran())
	}
	if got := ran("stored-long"); !slices.Equal(got, []string{"stored-long"}) {
		t.Errorf("named: %v", got)
	}
}

// server starts a PostgreSQL as a run does.
func server(t *testing.T) *database {
	t.Helper()
	dir, err := os.MkdirTemp(onDisk(t), "relais-bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if dir, err = filepath.Abs(dir); err != nil {
		t.Fatal(err)
	}
	r := &run{dir: dir, opts: Options{Progress: t.Output()}, report: newReport(t.Context(), "test")}
	d, err := r.postgres(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	return d
}

func TestAServerOfTheRunsOwnIsDurableAndCounted(t *testing.T) {
	d := server(t)
	address, err := d.create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := place{url: address, on: d}
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var value string
		if err := p.ask(t.Context(), &value, "SELECT current_setting($1)", setting); err != nil || value != "on" {
			t.Errorf("%s is %q, %v", setting, value, err)
		}
	}
	before, err := d.processorTime()
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	if err := p.ask(t.Context(), &n, "SELECT count(*) FROM generate_series(1, 3000000)"); err != nil {
		t.Fatal(err)
	}
	// The connection's process may end before or after this: it counts in both cases.
	if after, err := d.processorTime(); err != nil || after <= before {
		t.Errorf("three million rows took no processor time: %s, then %s, %v", before, after, err)
	}
}

func TestAGivenServerIsLeftAsItWas(t *testing.T) {
	d := server(t)
	opts := quickOptions(t)
	opts.Binary, opts.Postgres, opts.Only = relais(t), d.admin.String(), []string{"postgres"}
	report, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if note := report.Targets[0].Note; !strings.Contains(note, "without the PostgreSQL") {
		t.Errorf("the note doesn't say that its processor time is unknown: %q", note)
	}
	var left int
	if err := (place{url: d.admin.String()}).ask(t.Context(), &left,
		"SELECT count(*) FROM pg_database WHERE datname LIKE 'relais%'"); err != nil || left != 0 {
		t.Errorf("%d databases are left, %v", left, err)
	}
}

func TestPostCountsWhatTheReceiverCounts(t *testing.T) {
	r, err := newReceiver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	count := r.countTo(1, 2)
	posted, err := Post(t.Context(), r.url("/count"), 500, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	<-count.begun
	<-count.ended
	// What was posted as warm-up has arrived as well.
	if n := count.n.Load(); posted.Requests == 0 || posted.Requests > n || posted.Seconds < 0.2 {
		t.Errorf("%d posted in %.2f s, %d arrived", posted.Requests, posted.Seconds, n)
	}
	if _, err := Post(t.Context(), r.url("/nowhere"), 500, time.Hour); err == nil {
		t.Error("a receiver that refuses is measured")
	}
}

func TestADestinationThatHangsIsSeenToHang(t *testing.T) {
	r, err := newReceiverOn(t.Context(), "127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if r.urlOf(0, "/hang") == r.urlOf(1, "/hang") {
		t.Error("two hosts are one")
	}
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() { answered <- post(ctx, http.DefaultClient, r.urlOf(1, "/hang"), document(1, 100)) }()
	for r.hanging.Load() == 0 {
		select {
		case err := <-answered:
			t.Fatalf("it was answered: %v", err)
		default:
		}
	}
	cancel()
	if err := <-answered; err == nil {
		t.Error("a request that was given up was answered")
	}
}

// kept is a store that keeps what is appended.
type kept struct {
	store.Appender
	batches [][]store.Accepted
}

func (k *kept) Append(_ context.Context, batch []store.Accepted) ([]store.Appended, error) {
	k.batches = append(k.batches, batch)
	return nil, nil
}

func TestPrefillSpreadsDeliveriesOverLanes(t *testing.T) {
	var k kept
	if err := Prefill(t.Context(), &k, PrefillParams{First: 1, Waiting: 6, Lanes: 3, Body: 500}); err != nil {
		t.Fatal(err)
	}
	var names []string
	seen := map[core.EventID]bool{}
	for _, batch := range k.batches {
		for _, a := range batch {
			names = append(names, a.Deliveries[0].Destination.Name)
			seen[a.Event.ID] = true
			if a.Event.Format == core.FormatJSON && len(a.Event.Body) != 500 {
				t.Errorf("a body of %d bytes", len(a.Event.Body))
			}
		}
	}
	want := []string{deliverRoute, "lane-00000", "lane-00001", "lane-00002", "lane-00000", "lane-00001", "lane-00002"}
	if !slices.Equal(names, want) || len(seen) != len(want) {
		t.Errorf("%d events for %v", len(seen), names)
	}
}

// claimable is a store with so many deliveries that can be claimed.
type claimable struct {
	store.Store
	next, all int64
}

func (c *claimable) Work(_ context.Context, after store.LaneID, _ int) ([]store.LaneWork, error) {
	if after > 0 {
		return nil, nil
	}
	return []store.LaneWork{{Lane: 1, Destination: toRoute(laneName(0)).Destination, NextDue: time.Now().Add(-time.Second)}}, nil
}

func (c *claimable) Claim(_ context.Context, p store.ClaimParams) ([]store.Claimed, error) {
	var claimed []store.Claimed
	for range min(int64(p.Lanes[0].Max), c.all-c.next) {
		c.next++
		claimed = append(claimed, store.Claimed{Lane: 1, Delivery: core.Delivery{ID: core.DeliveryID(c.next)}})
	}
	return claimed, nil
}

func (*claimable) Finish(_ context.Context, outcomes []store.Outcome) ([]error, error) {
	return make([]error, len(outcomes)), nil
}

func (*claimable) Beat(context.Context, string, time.Duration) error { return nil }

func (*claimable) TakeOver(context.Context, store.TakeOverParams) (store.TakenOver, error) {
	return store.TakenOver{}, nil
}

func TestDrainCountsDeliveriesAndTheirClaims(t *testing.T) {
	d, err := Drain(t.Context(), &claimable{all: 1000}, 500)
	if err != nil {
		t.Fatal(err)
	}
	// A fifth is warm-up, and what is finished at once with the last is counted with it.
	if d.Deliveries < 300 || d.Deliveries > 1000 || d.Seconds <= 0 || d.Claims == nil {
		t.Errorf("drained %+v", d)
	}
}

// retained is a store that deletes in slices, once another node has stopped doing so.
type retained struct {
	store.Keeper
	slices []store.Retained
	age    time.Duration
}

func (r *retained) Retain(_ context.Context, p store.RetainParams) (store.Retained, error) {
	r.age = p.Events
	if len(r.slices) == 0 {
		return store.Retained{}, nil
	}
	done := r.slices[0]
	r.slices = r.slices[1:]
	return done, nil
}

func TestRetainGoesOnUntilNothingIsLeft(t *testing.T) {
	r := &retained{slices: []store.Retained{{}, {Events: 10, More: true}, {Events: 10, More: true}, {Events: 10}}}
	all, err := Retain(t.Context(), r, time.Hour)
	if err != nil || all.Events != 30 || r.age != time.Hour {
		t.Errorf("%+v older than %s, %v", all, r.age, err)
	}
}

func TestAFamilysTimeHasItsEndedChildren(t *testing.T) {
	before, err := familyTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	own, err := processorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	work := fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); done", 500_000)
	if err := exec.CommandContext(t.Context(), "sh", "-c", work).Run(); err != nil {
		t.Fatal(err)
	}
	after, err := familyTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ownAfter, err := processorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if children := after - before - (ownAfter - own); children < 50*time.Millisecond {
		t.Errorf("a child that counted to 500,000 took %s", children)
	}
}

func TestDeliveriesThatDoNotComeAreChargedAndNotForgotten(t *testing.T) {
	r, err := newReceiver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	quick, slow := counted(2, time.Second), newMeasured()
	if err := slow.latency.RecordValues(longest.Microseconds(), 2); err != nil {
		t.Fatal(err)
	}
	slow.failed = 2
	turns := []*turn{quick, quick, {measured: slow}}
	if got := starved(turns, []float64{1, 1, 500}); !slices.Equal(got, []float64{500}) {
		t.Errorf("judged by %v", got)
	}
	if got := starved(turns[:2], []float64{1, 3}); !slices.Equal(got, []float64{1, 3}) {
		t.Errorf("judged by %v", got)
	}
	r.expect(time.Now(), time.Millisecond, firstID, 2)
	if seen, late, err := r.arrivals(t.Context(), time.Millisecond); err != nil || late != 2 || seen.TotalCount() != 0 {
		t.Errorf("%d late, %d seen, %v", late, seen.TotalCount(), err)
	}
}

// onDisk is a folder on a disk, and one that PostgreSQL's user can reach: a checkout may be closed to it.
func onDisk(t *testing.T) string {
	t.Helper()
	parent := os.TempDir()
	if refuseMemoryDisk(parent) != nil {
		parent = "."
	}
	dir, err := os.MkdirTemp(parent, "relais-bench-test-")
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
