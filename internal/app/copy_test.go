//go:build unix

package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres"
	"relais/internal/store/postgres/pgtest"
	"relais/internal/store/sqlite"
)

// folder is a data folder that is filled, by a clock that the test moves.
type folder struct {
	t   *testing.T
	dir string
	now time.Time
	*sqlite.Store
}

const copyNode = "old-node-1"

func newFolder(t *testing.T) *folder {
	t.Helper()
	f := &folder{t: t, dir: filepath.Join(t.TempDir(), "data"), now: time.Now().UTC().Truncate(time.Millisecond).Add(-100 * 24 * time.Hour)}
	f.openAgain()
	return f
}

func (f *folder) openAgain() {
	f.t.Helper()
	s, err := sqlite.Open(f.t.Context(), sqlite.Options{Dir: f.dir, Now: func() time.Time { return f.now }, Sync: sqlite.SyncOff})
	f.must(err)
	f.Store = s
}

func (f *folder) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func toRoute(name string) core.Destination {
	return core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationRoute, Name: name}
}

func (f *folder) event(source string, to ...core.Destination) store.Accepted {
	a := store.Accepted{
		Event: core.Event{
			ID: core.NewEventID(), Source: source, Type: "estimate.accepted", ReceivedAt: f.now, Format: core.FormatJSON,
			Header: []byte("A: \xff\x00\r\n"), Query: "q=\xfe", Path: "/in/" + source, Body: []byte("\x00\xff{\"é\":1}"),
		},
		RouteSet: "set-1",
	}
	for _, d := range to {
		a.Deliveries = append(a.Deliveries, store.NewDelivery{Destination: d, Priority: core.PriorityNormal})
	}
	return a
}

func copyKey(a store.Accepted, key byte, window time.Duration) store.Accepted {
	a.DedupKey, a.DedupWindow = [16]byte{key, 0x80, key}, window
	return a
}

func ordered(a store.Accepted, key string) store.Accepted {
	for i := range a.Deliveries {
		a.Deliveries[i].Ordered, a.Deliveries[i].OrderKey = true, key
	}
	return a
}

func (f *folder) send(events ...store.Accepted) []store.Appended {
	f.t.Helper()
	appended, err := f.Append(f.t.Context(), events)
	f.must(err)
	return appended
}

// claim takes all that can be claimed of a route.
func (f *folder) claim(name string) []store.Claimed {
	f.t.Helper()
	work, err := f.Work(f.t.Context(), 0, 1000)
	f.must(err)
	for _, w := range work {
		if w.Destination.Name == name {
			claimed, err := f.Claim(f.t.Context(), store.ClaimParams{
				Node: copyNode, Max: 100, Lanes: []store.LaneRoom{{Lane: w.Lane, Max: 100, Window: 100, Rate: 1000, Burst: 100}},
			})
			f.must(err)
			return claimed
		}
	}
	f.t.Fatalf("%s has nothing to claim", name)
	return nil
}

func copyHolder(c store.Claimed) store.Holder {
	return store.Holder{Delivery: c.Delivery.ID, Claim: c.Delivery.Claim, Node: copyNode}
}

func (f *folder) finish(c store.Claimed, v store.Verdict, change func(*store.Outcome)) {
	f.t.Helper()
	o := store.Outcome{Holder: copyHolder(c), Verdict: v, Attempt: store.Attempt{
		Started: f.now, Duration: 1234567 * time.Nanosecond, Reason: core.ReasonTimeout, Message: "try", Trace: json.RawMessage(`{"status":200}`),
	}}
	if change != nil {
		change(&o)
	}
	results, err := f.Finish(f.t.Context(), []store.Outcome{o})
	f.must(errors.Join(append(results, err)...))
}

func (f *folder) effect(c store.Claimed, key string, to ...store.EffectState) {
	f.t.Helper()
	_, err := f.OpenEffect(f.t.Context(), store.OpenEffect{Key: key, Kind: "invoice", Holder: copyHolder(c)})
	f.must(err)
	from := store.EffectOpen
	for _, state := range to {
		_, err := f.AdvanceEffect(f.t.Context(), store.AdvanceEffect{
			Key: key, Holder: copyHolder(c), From: from, To: state, Result: json.RawMessage(`{"id":"7"}`), Message: "m",
		})
		f.must(err)
		from = state
	}
}

// filled is what a test asks the copy for.
type filled struct {
	keyedID        core.EventID
	forcedID       core.EventID
	running        []store.Claimed
	stoppedHead    core.DeliveryID
	behindStopped  []core.EventID
	dead           store.Claimed
	replay         store.Replayed
	last           store.Appended
	fanOut         core.EventID
	pausedDelivery core.EventID
}

// fill puts everything that a store can hold into the folder.
func (f *folder) fill() filled {
	var all filled
	ctx := f.t.Context()
	f.must(f.Activate(ctx, store.RouteSet{Hash: "set-0", Node: copyNode, Text: []byte("old")}))
	f.must(f.Activate(ctx, store.RouteSet{
		Hash: "set-1", Node: copyNode, Text: []byte("sources: {}"), Routes: json.RawMessage(`{"r":1}`), Destinations: []core.Destination{toRoute("quiet")},
	}))
	f.must(f.Beat(ctx, copyNode, 10*time.Second))

	// Long ago: its day has no partition.
	f.send(f.event("sellsy", toRoute("early")))
	f.finish(f.claim("early")[0], store.VerdictSucceeded, nil)
	f.now = f.now.Add(98 * 24 * time.Hour)

	f.states(&all)
	f.chains(&all)
	f.people(&all)
	f.now = time.Now().UTC().Truncate(time.Millisecond).Add(-20 * time.Minute)
	f.send(copyKey(f.event("shop"), 9, 10*time.Minute)) // it lapses before the copy
	f.now = f.now.Add(15 * time.Minute)
	all.keyedID, all.forcedID = f.keys()
	all.last = f.send(f.event("sellsy"))[0]

	f.send(f.event("sellsy", toRoute("running"), toRoute("running-2")))
	all.running = append(f.claim("running"), f.claim("running-2")...)
	f.effect(all.running[0], "default/compta/invoice/estimate/sent", store.EffectSent)
	f.must(f.SaveStep(ctx, copyHolder(all.running[0]), store.StepResult{Step: "facture", Definition: "d", Result: json.RawMessage(`{"n":1}`)}))
	return all
}

func (f *folder) states(all *filled) {
	ctx := f.t.Context()
	odd := f.event("sellsy", toRoute("steps"), core.Destination{Kind: core.DestinationEndpoint, Name: "https://example.fr/x"})
	odd.Event.NativeType, odd.Event.Redacted, odd.Event.Test, odd.Event.Header, odd.Event.Query, odd.Event.Body = "EST\xff", true, true, nil, "", nil
	f.send(odd)
	c := f.claim("steps")[0]
	f.effect(c, "default/compta/invoice/estimate/1", store.EffectSent, store.EffectDone)
	f.effect(c, "default/compta/invoice/estimate/2", store.EffectSent, store.EffectUnknown)
	f.finish(c, store.VerdictDead, func(o *store.Outcome) {
		o.Reason, o.Message = core.ReasonTimeout, "dead"
		o.Steps = []store.StepResult{{Step: "one", Definition: "1", Result: json.RawMessage(`{}`)}, {Step: "two", Definition: "2"}}
	})
	all.dead = c
	replayed, err := f.Replay(ctx, store.ReplayParams{By: "eve", Deliveries: []store.NewReplay{{
		Event: c.Event.ID, Destination: toRoute("steps"), Of: c.Delivery.ID, FromStep: "two", RouteSet: "set-1",
	}}})
	f.must(err)
	all.replay = replayed
	f.send(f.event("sellsy", toRoute("retried"), toRoute("skipped"), toRoute("cancelled")))
	f.finish(f.claim("retried")[0], store.VerdictRetry, func(o *store.Outcome) { o.Delay = 90 * 24 * time.Hour })
	f.finish(f.claim("skipped")[0], store.VerdictSkipped, nil)
	deliveries, err := f.Deliveries(ctx, store.DeliveryFilter{Destination: "route:cancelled"})
	f.must(err)
	_, err = f.Cancel(ctx, []core.DeliveryID{deliveries[0].ID}, "eve")
	f.must(err)
	work, err := f.Work(ctx, 0, 100)
	f.must(err)
	f.must(f.SetBreaker(ctx, work[0].Lane, core.BreakerState{Failures: 3, RestUntil: f.now.Add(time.Hour), Since: f.now}))
	wide := f.event("sellsy")
	wide.FanOut, all.fanOut = true, wide.Event.ID
	f.send(wide)
	f.must(f.Expand(ctx, store.ExpandParams{Event: wide.Event.ID, Deliveries: []store.NewDelivery{{Destination: toRoute("a-first")}}}))
}

// chains makes one that a dead delivery stops, and one of which nothing ran, with an empty key.
func (f *folder) chains(all *filled) {
	for range 4 {
		a := ordered(f.event("stock", toRoute("stopped")), "key\x00\xff")
		f.send(a)
		all.behindStopped = append(all.behindStopped, a.Event.ID)
	}
	head := f.claim("stopped")
	if len(head) != 1 {
		f.t.Fatalf("%d heads", len(head))
	}
	f.finish(head[0], store.VerdictDead, func(o *store.Outcome) { o.FIFOStop = true })
	all.stoppedHead = head[0].Delivery.ID
	for range 3 {
		f.send(ordered(f.event("stock", toRoute("fifo")), ""))
	}
}

func (f *folder) people(all *filled) {
	ctx := f.t.Context()
	f.must(f.SetPause(ctx, store.Pause{Scope: store.PauseSource, Name: "boutique", Reason: "r", By: "eve"}))
	f.must(f.SetPause(ctx, store.Pause{Scope: store.PauseRoute, Name: "quiet", By: "eve"}))
	waits := f.event("boutique", toRoute("running"))
	all.pausedDelivery = waits.Event.ID
	f.send(waits)
	f.must(f.AppendRejections(ctx, []store.Rejection{
		{Source: "sellsy", At: f.now, Reason: core.RejectBadSignature, Detail: "d\xff", Status: 401, Address: "192.0.2.1", Method: "POST", Path: "/\xff",
			Query: "a", Header: []byte("h"), Body: []byte("b\x00"), BodySize: 2, Complete: true, Event: waits.Event.ID},
		{Source: "sellsy", At: f.now, Reason: core.RejectBadSignature},
	}, store.RejectionBounds{}))
	f.must(f.Audit(ctx, store.AuditEntry{At: f.now, By: "eve", Act: "look", Object: "o", Detail: "d"}))
}

// keys stores events with keys: one that is repeated, and one that another took by force.
func (f *folder) keys() (first, forced core.EventID) {
	a := copyKey(f.event("shop"), 1, 72*time.Hour)
	b := copyKey(f.event("shop"), 2, 10*time.Minute)
	f.send(a, b)
	f.now = f.now.Add(time.Minute)
	again := copyKey(f.event("shop"), 1, 72*time.Hour)
	taken := copyKey(f.event("shop"), 2, 10*time.Minute)
	taken.Force = true
	f.send(again, taken)
	return a.Event.ID, taken.Event.ID
}

// seen is all that a store shows.
type seen struct {
	Events      []core.Event
	Deliveries  []core.Delivery
	Steps       map[core.DeliveryID][]store.StepResult
	Attempts    map[core.DeliveryID][]store.Attempt
	Effects     []store.Effect
	Rejections  []store.Rejection
	Pauses      []store.Pause
	Work        []store.LaneWork
	FanOuts     []store.FanOut
	Active      store.RouteSet
	Pending     int64
	Running     int64
	Dead        int64
	FirstEvent  time.Time
	OldestOfAll time.Time
}

func look(t *testing.T, s store.Store) seen {
	t.Helper()
	ctx := t.Context()
	all := seen{Steps: map[core.DeliveryID][]store.StepResult{}, Attempts: map[core.DeliveryID][]store.Attempt{}}
	var failed [16]error
	all.Events, failed[0] = s.Events(ctx, store.EventFilter{Repeats: true, Body: true, Limit: 1000})
	all.Deliveries, failed[1] = s.Deliveries(ctx, store.DeliveryFilter{Limit: 1000})
	for _, d := range all.Deliveries {
		if all.Steps[d.ID], failed[2] = s.Steps(ctx, d.ID); failed[2] != nil {
			break
		}
		if all.Attempts[d.ID], failed[3] = s.Attempts(ctx, d.ID); failed[3] != nil {
			break
		}
	}
	all.Effects, failed[4] = s.Effects(ctx, store.EffectFilter{Limit: 1000})
	for i := range all.Effects {
		all.Effects[i].Now = time.Time{}
	}
	all.Rejections, failed[5] = s.Rejections(ctx, store.RejectionFilter{Body: true, Limit: 1000})
	all.Pauses, failed[6] = s.Pauses(ctx)
	all.Work, failed[7] = s.Work(ctx, 0, 1000)
	all.FanOuts, failed[8] = s.PendingFanOuts(ctx, 100)
	all.Active, failed[9] = s.Active(ctx)
	var stats store.Stats
	stats, failed[10] = s.Stats(ctx)
	all.Pending, all.Running, all.Dead, all.FirstEvent, all.OldestOfAll = stats.Pending, stats.Running, stats.Dead, stats.FirstEvent, stats.OldestDue
	if err := errors.Join(failed[:]...); err != nil {
		t.Fatal(err)
	}
	return all
}

func (f *folder) copy(to string) (Copied, error) {
	f.t.Helper()
	return CopyStore(f.t.Context(), CopyOptions{
		Options: Options{Config: filepath.Join(f.dir, "none.yaml"), Data: f.dir, Env: func(string) (string, bool) { return "", false }, Log: io.Discard},
		To:      to,
	})
}

func openCopy(t *testing.T, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Options{URL: url, Connections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestCopyHoldsWhatTheFolderDoes(t *testing.T) {
	f := newFolder(t)
	all := f.fill()
	want := look(t, f)
	f.must(f.Close())
	url := pgtest.URL(t)
	done, err := f.copy(url)
	f.must(err)
	for _, table := range done.Tables {
		if table.Source != table.Target || table.Source == 0 {
			t.Errorf("%s: %d rows of %d", table.Table, table.Target, table.Source)
		}
	}
	again, err := f.copy(url)
	f.must(err)
	if !again.Already || again.Rows != 0 || !cmp.Equal(again.Tables, done.Tables) {
		t.Errorf("a second copy did something: %+v after %+v", again, done)
	}
	s := openCopy(t, url)
	if diff := cmp.Diff(want, look(t, s), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the folder (-) and its copy (+) differ:\n%s", diff)
	}
	if len(want.Effects) != 3 || len(want.FanOuts) != 1 || want.Running != 2 || len(want.Rejections) != 2 {
		t.Errorf("the folder didn't hold what was to be copied: %+v", want)
	}
	t.Run("repeats are recognised", func(t *testing.T) { repeatsAreRecognised(t, f, s, all) })
	t.Run("what ran runs again", func(t *testing.T) { whatRanRunsAgain(t, s, all) })
	t.Run("chains stay in order", func(t *testing.T) { chainsStayInOrder(t, s, all) })
	t.Run("a pause ends", func(t *testing.T) { aPauseEnds(t, s, all) })
	if _, err := f.copy(url); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), "relais has worked there since") {
		t.Errorf("a copy into a database that relais works on: %v", err)
	}
}

func repeatsAreRecognised(t *testing.T, f *folder, s store.Store, all filled) {
	f.now = time.Now().UTC()
	got, err := s.Append(t.Context(), []store.Accepted{
		copyKey(f.event("shop"), 1, 72*time.Hour), copyKey(f.event("shop"), 2, 10*time.Minute), copyKey(f.event("shop"), 9, 10*time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []core.EventID{all.keyedID, all.forcedID, {}} {
		if got[i].RepeatOf != want {
			t.Errorf("key %d repeats %s, want %s", i, got[i].RepeatOf, want)
		}
		if got[i].Seq <= all.last.Seq {
			t.Errorf("event number %d was given again", got[i].Seq)
		}
	}
}

func whatRanRunsAgain(t *testing.T, s *postgres.Store, all filled) {
	ctx := t.Context()
	if err := s.Beat(ctx, "new-node", time.Minute); err != nil {
		t.Fatal(err)
	}
	taken, err := s.TakeOver(ctx, store.TakeOverParams{Node: "new-node", MaxInterruptions: 3})
	if err != nil || taken.Returned != len(all.running) || len(taken.Dead) != 0 {
		t.Fatalf("taken over: %+v %v", taken, err)
	}
	for i, c := range all.running {
		d, err := s.Delivery(ctx, c.Delivery.ID)
		if err != nil || d.State != core.StatePending || d.Interruptions != 1 {
			t.Errorf("%+v %v", d, err)
		}
		if unknown := d.Reason == core.ReasonUnknown; unknown != (i == 0) {
			t.Errorf("delivery %d has the reason %q", i, d.Reason)
		}
	}
	work, err := s.Work(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range work {
		if w.Destination.Name != "running" {
			continue
		}
		claimed, err := s.Claim(ctx, store.ClaimParams{Node: "new-node", Max: 5, Lanes: []store.LaneRoom{{Lane: w.Lane, Max: 5, Window: 1}}})
		if err != nil || len(claimed) != 1 || claimed[0].Delivery.Claim != 2 || len(claimed[0].Steps) != 1 {
			t.Fatalf("claimed %+v %v", claimed, err)
		}
		h := store.Holder{Delivery: claimed[0].Delivery.ID, Claim: 2, Node: "new-node"}
		e, err := s.OpenEffect(ctx, store.OpenEffect{Key: "default/compta/invoice/estimate/sent", Kind: "invoice", Holder: h})
		if err != nil || e.State != store.EffectSent || e.Held {
			t.Errorf("the effect that was sent is %+v %v", e, err)
		}
		return
	}
	t.Error("what ran can't be claimed")
}

func chainsStayInOrder(t *testing.T, s *postgres.Store, all filled) {
	ctx := t.Context()
	if got := claimOf(t, s, "stopped"); len(got) != 0 {
		t.Fatalf("a stopped chain gave %+v", got)
	}
	if n, err := s.Cancel(ctx, []core.DeliveryID{all.stoppedHead}, "eve"); n != 1 || err != nil {
		t.Fatalf("cancelled %d %v", n, err)
	}
	for _, want := range all.behindStopped[1:] {
		got := claimOf(t, s, "stopped")
		if len(got) != 1 || got[0].Event.ID != want {
			t.Fatalf("claimed %+v, want the one of event %s", got, want)
		}
		results, err := s.Finish(ctx, []store.Outcome{{
			Holder:  store.Holder{Delivery: got[0].Delivery.ID, Claim: got[0].Delivery.Claim, Node: "new-node"},
			Verdict: store.VerdictSucceeded,
		}})
		if err := errors.Join(append(results, err)...); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the empty key is a key
		if got := claimOf(t, s, "fifo"); len(got) > 1 {
			t.Errorf("a chain gave %d at once", len(got))
		}
	}
	replayed, err := s.Replay(ctx, store.ReplayParams{By: "eve", Deliveries: []store.NewReplay{{
		Event: all.dead.Event.ID, Destination: toRoute("steps"), Of: all.dead.Delivery.ID, RouteSet: "set-1",
	}}})
	if err != nil || replayed.Replay != all.replay.Replay+1 || replayed.Deliveries[0] <= all.replay.Deliveries[0] {
		t.Errorf("replayed %+v %v", replayed, err)
	}
}

func claimOf(t *testing.T, s store.Store, name string) []store.Claimed {
	t.Helper()
	work, err := s.Work(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range work {
		if w.Destination.Name == name {
			claimed, err := s.Claim(t.Context(), store.ClaimParams{Node: "new-node", Max: 5, Lanes: []store.LaneRoom{{Lane: w.Lane, Max: 5, Window: 5}}})
			if err != nil {
				t.Fatal(err)
			}
			return claimed
		}
	}
	return nil
}

func aPauseEnds(t *testing.T, s *postgres.Store, all filled) {
	if err := s.Resume(t.Context(), store.PauseSource, "boutique", "eve"); err != nil {
		t.Fatal(err)
	}
	for _, c := range claimOf(t, s, "running") {
		if c.Event.ID == all.pausedDelivery {
			return
		}
	}
	t.Error("what a paused source's pause put aside isn't given after it")
}

// cutShort ends a copy after some rows.
func (f *folder) cutShort(to string, rows int64) error {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.t.Context())
	defer stop()
	_, err := CopyStore(ctx, CopyOptions{
		Options: Options{Data: f.dir, Env: func(string) (string, bool) { return "", false }}, To: to,
		Progress: func(copied, _ int64) {
			if copied >= rows {
				stop()
			}
		},
	})
	return err
}

func TestHalfACopyIsNoStore(t *testing.T) {
	f := newFolder(t)
	f.fill()
	f.must(f.Close())
	url := pgtest.URL(t)
	if err := f.cutShort(url, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("a copy that was interrupted: %v", err)
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{URL: url}); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), "store copy") {
		t.Errorf("relais on half a copy: %v", err)
	}
	if err := refuseCopied(&config.Config{}, f.dir); err != nil {
		t.Errorf("the folder is given up before the copy is whole: %v", err)
	}
	f.openAgain()
	f.must(f.Beat(t.Context(), copyNode, time.Second))
	f.must(f.Close())
	if _, err := f.copy(url); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), "relais has worked on") {
		t.Errorf("going on with the copy of a folder that was worked on: %v", err)
	}
	other := newFolder(t)
	other.fill()
	other.must(other.Close())
	if _, err := other.copy(url); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), "other data") {
		t.Errorf("copying another folder into it: %v", err)
	}
	done, err := other.copy(pgtest.URL(t))
	if err != nil || done.Resumed || done.Already {
		t.Errorf("%+v %v", done, err)
	}
}

func TestFolderThatWasCopiedIsRefused(t *testing.T) {
	f := newFolder(t)
	f.must(f.Beat(t.Context(), copyNode, time.Second))
	if _, err := f.copy(pgtest.URL(t)); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("a folder that is in use was copied: %v", err)
	}
	f.must(f.Close())
	url := pgtest.URL(t)
	_, err := f.copy(url)
	f.must(err)
	o := Options{Config: writeConfig(t, t.TempDir(), ""), Data: f.dir, Env: func(string) (string, bool) { return "", false }, Log: io.Discard}
	_, err = New(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), databaseOf(url)) || strings.Contains(err.Error(), "postgres://") {
		t.Fatalf("serve on a folder that was copied: %v", err)
	}
	f.must(os.Remove(filepath.Join(f.dir, copiedName)))
	a, err := New(t.Context(), o)
	f.must(err)
	f.must(a.store.Close())
}

func TestDatabaseThatIsUsedIsNoTarget(t *testing.T) {
	f := newFolder(t)
	f.must(f.Close())
	url := pgtest.URL(t)
	s := openCopy(t, url)
	f.must(s.Beat(t.Context(), "n", time.Second))
	f.must(s.Close())
	if _, err := f.copy(url); core.CodeOf(err) != core.CodeConflict || !strings.Contains(err.Error(), "a relais has worked on this database already") {
		t.Errorf("%v", err)
	}
	for _, to := range []string{"", "mysql://x", "/tmp/x"} {
		if _, err := f.copy(to); err == nil {
			t.Errorf("copied to %q", to)
		}
	}
}

func TestCopyOutlivesARestartOfTheDatabase(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	f.fill()
	f.must(f.Close())
	server := pgtest.Server(t)
	restarted := false
	done, err := CopyStore(t.Context(), CopyOptions{
		Options: Options{Data: f.dir, Env: func(string) (string, bool) { return "", false }}, To: server.URL("target"),
		Progress: func(int64, int64) {
			if !restarted {
				restarted = true
				server.Stop(true)
				server.Start()
			}
		},
	})
	if err != nil || !restarted || done.Resumed {
		t.Errorf("%+v %v", done, err)
	}
	if got, want := len(look(t, openCopy(t, server.URL("target"))).Deliveries), 0; got == want {
		t.Error("nothing was copied")
	}
}
