package storetest

import (
	"fmt"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

const window = 72 * time.Hour

var dedupTests = map[string]func(*testing.T, *bench){
	"a key seen within its window is a repeat, linked and without delivery": repeatIsLinked,
	"a repeat in the same batch is found":                                   repeatInBatch,
	"a key is forgotten after its window, and not before":                   windowIsKept,
	"a forced repeat is delivered":                                          forcedRepeat,
	"a repeat isn't listed unless asked for":                                repeatsAreListed,
	"no key is never a repeat":                                              noKeyNoRepeat,
	"a key is remembered over a restart":                                    keySurvivesRestart,
	"a key is remembered when the clock is set back":                        keySurvivesClock,
}

func repeatIsLinked(t *testing.T, b *bench) {
	first, again := keyed(b.event(route("facture")), "k", window), keyed(b.event(route("facture")), "k", window)
	other := keyed(b.event(route("facture")), "other", window)
	b.send(first)
	got := b.send(again, other)
	if got[0].RepeatOf != first.Event.ID || !got[1].RepeatOf.IsZero() {
		t.Fatalf("repeat of %s and %s, want %s and none", got[0].RepeatOf, got[1].RepeatOf, first.Event.ID)
	}
	e, err := b.Event(b.ctx(), again.Event.ID)
	b.must(err)
	if e.RepeatOf != first.Event.ID || string(e.Body) != string(again.Event.Body) {
		t.Errorf("stored as a repeat of %s with body %s", e.RepeatOf, e.Body)
	}
	if n := len(b.claim(10)); n != 2 {
		t.Errorf("%d deliveries, want those of the two firsts", n)
	}
	if sent := b.send(again)[0]; sent != got[0] {
		t.Errorf("the repeat sent again is %v, was %v", sent, got[0])
	}
}

func repeatInBatch(t *testing.T, b *bench) {
	var batch []store.Accepted
	for range 3 {
		batch = append(batch, keyed(b.event(route("facture")), "k", window))
	}
	got := b.send(batch...)
	for i, a := range got {
		want := core.EventID{}
		if i > 0 {
			want = batch[0].Event.ID
		}
		if a.RepeatOf != want {
			t.Errorf("event %d repeats %s, want %s", i, a.RepeatOf, want)
		}
	}
	b.claimOne()
}

func windowIsKept(t *testing.T, b *bench) {
	first := keyed(b.event(), "k", window)
	b.send(first)
	// From any place within a slot of time, the whole window counts.
	for _, step := range []time.Duration{time.Hour, 30 * time.Hour, 40 * time.Hour, time.Hour - time.Second} {
		b.advance(step)
		if got := b.send(keyed(b.event(), "k", window))[0]; got.RepeatOf != first.Event.ID {
			t.Fatalf("at %s it isn't a repeat", b.clock.Now())
		}
		_, err := b.Retain(b.ctx(), store.RetainParams{Events: 1000 * time.Hour, Dead: 1000 * time.Hour})
		b.must(err)
	}
	b.advance(2 * time.Second)
	second := keyed(b.event(), "k", window)
	if got := b.send(second)[0]; !got.RepeatOf.IsZero() {
		t.Fatal("after its window it is still a repeat")
	}
	b.advance(time.Hour)
	if got := b.send(keyed(b.event(), "k", window))[0]; got.RepeatOf != second.Event.ID {
		t.Errorf("it repeats %s, want the newer first", got.RepeatOf)
	}
}

func forcedRepeat(t *testing.T, b *bench) {
	b.send(keyed(b.event(route("facture")), "k", window))
	forced := keyed(b.event(route("facture")), "k", window)
	forced.Force = true
	if got := b.send(forced)[0]; !got.RepeatOf.IsZero() {
		t.Error("a forced event is reported as a repeat")
	}
	if n := len(b.claim(10)); n != 2 {
		t.Errorf("%d deliveries, want 2", n)
	}
}

func repeatsAreListed(t *testing.T, b *bench) {
	b.send(keyed(b.event(), "k", window), keyed(b.event(), "k", window))
	for repeats, want := range map[bool]int{false: 1, true: 2} {
		events, err := b.Events(b.ctx(), store.EventFilter{Repeats: repeats})
		b.must(err)
		if len(events) != want {
			t.Errorf("repeats %t lists %d, want %d", repeats, len(events), want)
		}
	}
}

func noKeyNoRepeat(t *testing.T, b *bench) {
	for range 2 {
		if got := b.send(b.event(), b.event()); !got[0].RepeatOf.IsZero() || !got[1].RepeatOf.IsZero() {
			t.Fatal("events without a key are repeats")
		}
	}
}

func keySurvivesRestart(t *testing.T, b *bench) {
	first := keyed(b.event(), "k", window)
	b.send(first)
	b.restart()
	if got := b.send(keyed(b.event(), "k", window))[0]; got.RepeatOf != first.Event.ID {
		t.Error("after a restart it isn't a repeat")
	}
}

// keySurvivesClock sends keys all along a window, and again after the clock was set back a little, so that
// whatever slots a store keeps keys in, it is set back over the edge of one.
func keySurvivesClock(t *testing.T, b *bench) {
	const short, step = 10 * time.Minute, 30 * time.Second
	for i := range int(short/step) + 1 {
		key := fmt.Sprint(i)
		first := keyed(b.event(route("facture")), key, short)
		b.send(first)
		b.advance(-step)
		if got := b.send(keyed(b.event(route("facture")), key, short))[0]; got.RepeatOf != first.Event.ID {
			t.Errorf("at %s: a repeat of %s, want %s", b.clock.Now(), got.RepeatOf, first.Event.ID)
		}
		b.advance(2 * step)
	}
}
