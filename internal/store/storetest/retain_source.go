package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relais/internal/core"
	"relais/internal/store"
)

const day = 24 * time.Hour

// from is an event of a source.
func (b *bench) from(source string, to ...core.Destination) store.Accepted {
	a := b.event(to...)
	a.Event.Source = source
	return a
}

// kept is how many events each source has.
func (b *bench) kept() map[string]int {
	b.t.Helper()
	events, err := b.Events(b.ctx(), store.EventFilter{Limit: 1000})
	b.must(err)
	kept := map[string]int{}
	for i := range events {
		kept[events[i].Source]++
	}
	return kept
}

func (b *bench) wantKept(want map[string]int) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.kept()); diff != "" {
		b.t.Errorf("events by source (-want +got):\n%s", diff)
	}
}

func ages(own map[string]time.Duration) store.RetainParams {
	p := month
	p.Sources = map[string]store.SourceAges{}
	for source, age := range own {
		p.Sources[source] = store.SourceAges{Events: age}
	}
	return p
}

// A source is named that never sent anything, and one that has only an age of its rejections.
func retainSourceShorter(t *testing.T, b *bench) {
	p := ages(map[string]time.Duration{"hourly": time.Hour, "daily": 5 * day, "silent": day})
	p.Sources["other"] = store.SourceAges{Rejections: time.Hour}
	for range 12 {
		b.send(b.from("hourly"), b.from("daily"), b.from("other"))
		b.retainAll(p)
		b.advance(12 * time.Hour)
	}
	b.retainAll(p)
	b.wantKept(map[string]int{"daily": 10, "other": 12})
	b.advance(2 * day)
	if r := b.retainAll(p); r.Events != 4 {
		t.Errorf("%d events went, want 4", r.Events)
	}
	b.wantKept(map[string]int{"daily": 6, "other": 12})
	// One that is in the configuration no more is kept as long as the rest.
	delete(p.Sources, "daily")
	b.advance(10 * day)
	if r := b.retainAll(p); r.Events != 0 {
		t.Errorf("%d more went", r.Events)
	}
	b.advance(30 * day)
	b.retainAll(p)
	b.wantKept(map[string]int{})
}

func retainSourceLonger(t *testing.T, b *bench) {
	p := ages(map[string]time.Duration{"books": 100 * day, "news": 50 * day})
	var books []core.EventID
	for range 5 {
		book := b.from("books")
		books = append(books, book.Event.ID)
		b.send(book, b.from("news"), b.from("other"))
		b.advance(day)
	}
	b.advance(31 * day)
	b.retainAll(p)
	b.wantKept(map[string]int{"books": 5, "news": 5})
	b.restart()
	b.advance(20 * day)
	b.retainAll(p)
	b.wantKept(map[string]int{"books": 5})
	if e, err := b.Event(b.ctx(), books[0]); err != nil || len(e.Body) == 0 {
		t.Errorf("the oldest that is kept: %+v, %v", e, err)
	}
	b.advance(50 * day)
	b.retainAll(p)
	b.wantKept(map[string]int{})
}

// Live deliveries, those that can still be replayed, and orders keep their events, whatever the age of their source.
func retainSourceNeeded(t *testing.T, b *bench) {
	p := ages(map[string]time.Duration{"short": time.Hour})
	dead := b.from("short", route("dies"))
	b.send(dead)
	b.must(b.finish(b.outcome(b.claimOne(), store.VerdictDead)))
	done := b.from("short", route("ends"))
	b.send(done)
	b.must(b.finish(b.outcome(b.claimOne(), store.VerdictSucceeded)))
	order := b.from("short")
	order.FanOut = true
	b.must(b.SetPause(b.ctx(), store.Pause{Scope: store.PauseRoute, Name: "paused"}))
	b.send(b.from("short", route("paused")), order)
	b.advance(12 * time.Hour)
	if r := b.retainAll(p); r.Events != 1 {
		t.Errorf("%d events went, want the one that nobody needs", r.Events)
	}
	_, err := b.Event(b.ctx(), done.Event.ID)
	b.wantCode(err, core.CodeNotFound)
	b.must(b.Resume(b.ctx(), store.PauseRoute, "paused", "anne"))
	b.must(b.finish(b.outcome(b.claimOne(), store.VerdictSucceeded)))
	b.must(b.Expand(b.ctx(), store.ExpandParams{Event: order.Event.ID, Done: true}))
	b.advance(2 * time.Hour)
	if r := b.retainAll(p); r.Events != 2 {
		t.Errorf("%d events went, want those that were needed", r.Events)
	}
	b.wantKept(map[string]int{"short": 1})
	_, err = b.Replay(b.ctx(), store.ReplayParams{Deliveries: []store.NewReplay{{Event: dead.Event.ID, Destination: route("dies")}}})
	b.must(err)
	b.must(b.finish(b.outcome(b.claimOne(), store.VerdictSucceeded)))
	b.advance(100 * day)
	b.retainAll(p)
	b.wantKept(map[string]int{})
	stats, err := b.Stats(b.ctx())
	b.must(err)
	if stats.Dead != 0 {
		t.Errorf("%d dead are counted", stats.Dead)
	}
}

func retainRejections(t *testing.T, b *bench) {
	p := month
	p.Rejections = 7 * day
	p.Sources = map[string]store.SourceAges{"audited": {Rejections: 60 * day}, "noisy": {Rejections: time.Hour}, "other": {Events: day}}
	for range 10 {
		for _, source := range []string{"audited", "noisy", "other", ""} {
			b.reject(wide, b.rejection(source), b.rejection(source))
		}
		b.advance(day)
	}
	for i := range 40 { // more sources than a slice looks at
		b.reject(wide, b.rejection(fmt.Sprintf("source-%d", i)))
	}
	if r := b.retainAll(p); r.Rejections != 20+6+6 || r.Events != 0 {
		t.Errorf("went: %+v", r)
	}
	for source, want := range map[string]int{"audited": 20, "noisy": 0, "other": 14} {
		if n := len(b.rejections(store.RejectionFilter{Source: source})); n != want {
			t.Errorf("%d of %s are left, want %d", n, source, want)
		}
	}
	b.advance(100 * day)
	b.retainAll(p)
	if list := b.rejections(store.RejectionFilter{}); len(list) != 0 {
		t.Errorf("%d are left", len(list))
	}
	// Their numbers aren't given again, and the bounds count what is there.
	b.restart()
	b.reject(store.RejectionBounds{PerSource: 2, Bytes: 1 << 20}, b.rejection("audited"), b.rejection("audited"))
	if list := b.rejections(store.RejectionFilter{}); len(list) != 2 || list[1].ID <= 120 {
		t.Errorf("%d are kept: %+v", len(list), list)
	}
}
