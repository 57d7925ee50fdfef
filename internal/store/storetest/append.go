package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relais/internal/core"
	"relais/internal/store"
)

var appendTests = map[string]func(*testing.T, *bench){
	"an event comes back as it was, to the byte":              eventComesBack,
	"the order of arrival is the order of the numbers":        eventsAreNumbered,
	"an id that is stored already is reported and not stored": appendIsIdempotent,
	"a large batch with stored ids and repeats in it":         largeBatchIsMixed,
	"on an error nothing of the batch is stored":              appendIsAtomic,
	"many callers at once each get their own events":          manyAppendAtOnce,
	"one caller's error isn't another's":                      errorsStayApart,
	"stored events are there after a restart":                 eventsSurviveRestart,
}

func eventComesBack(t *testing.T, b *bench) {
	a := b.event(route("facture"))
	a.Event.NativeType = "estimate/accepted"
	a.Event.Header = []byte("X-Odd: caf\xe9\r\n")
	a.Event.Query, a.Event.Path = "a=1&b=%20", "workflowId=stock"
	a.Event.Body = []byte("\x00\xff notif={}\r\n")
	a.Event.Redacted, a.Event.Test = true, true
	a.Event.Format = core.FormatFormJSON + "notif"
	a.Event.Seq = b.send(a)[0].Seq
	got, err := b.Event(b.ctx(), a.Event.ID)
	b.must(err)
	if diff := cmp.Diff(a.Event, got); diff != "" {
		t.Errorf("the stored event differs (-sent +stored):\n%s", diff)
	}
	if c := b.claimOne(); cmp.Diff(a.Event, c.Event) != "" {
		t.Errorf("the claimed event differs:\n%s", cmp.Diff(a.Event, c.Event))
	}
}

func eventsAreNumbered(t *testing.T, b *bench) {
	last := int64(0)
	for range 5 {
		for _, a := range b.send(b.event(), b.event(), b.event()) {
			if a.Seq <= last {
				t.Fatalf("number %d after %d", a.Seq, last)
			}
			last = a.Seq
		}
	}
}

func appendIsIdempotent(t *testing.T, b *bench) {
	first, second := b.event(route("facture")), keyed(b.event(route("facture")), "k", time.Hour)
	before := b.send(first, second)
	after := b.send(second, first)
	if !slices.Equal(after, []store.Appended{before[1], before[0]}) {
		t.Errorf("sent again, %v is reported as %v", before, after)
	}
	if got := len(b.claim(10)); got != 2 {
		t.Errorf("%d deliveries, want one for each event", got)
	}
}

func largeBatchIsMixed(t *testing.T, b *bench) {
	var batch []store.Accepted
	for i := range 30 {
		a := b.event(route("facture"))
		if i%10 == 3 {
			a = keyed(a, "the same", time.Hour) // the first of these is the first, the others are its repeats
		}
		batch = append(batch, a)
	}
	before := b.send(batch[5], batch[17])
	batch = append(batch, batch[20]) // its id twice in one batch
	got := b.send(batch...)
	if got[5] != before[0] || got[17] != before[1] {
		t.Errorf("what was stored, %v, is reported as %v and %v", before, got[5], got[17])
	}
	if got[30] != got[20] {
		t.Errorf("an event given twice is reported as %v and %v", got[20], got[30])
	}
	if !got[3].RepeatOf.IsZero() || got[13].RepeatOf != batch[3].Event.ID || got[23].RepeatOf != batch[3].Event.ID {
		t.Errorf("repeats are reported as %v, %v, %v", got[3], got[13], got[23])
	}
	for i, a := range batch {
		if e, err := b.Event(b.ctx(), a.Event.ID); err != nil || e.Seq != got[i].Seq {
			t.Errorf("event %d is told to be number %d, and stored as %d (%v)", i, got[i].Seq, e.Seq, err)
		}
	}
	if n := len(b.claim(100)); n != 28 {
		t.Errorf("%d deliveries, want one for each event but the two repeats", n)
	}
}

func appendIsAtomic(t *testing.T, b *bench) {
	good, bad := b.event(route("facture")), b.event(route("facture"))
	bad.Deliveries[0].Priority = 9
	if _, err := b.Append(b.ctx(), []store.Accepted{good, bad}); err == nil {
		t.Fatal("a priority that isn't one was accepted")
	}
	_, err := b.Event(b.ctx(), good.Event.ID)
	b.wantCode(err, core.CodeNotFound)
	b.claimNone()
	b.send(good)
	b.claimOne()
}

func manyAppendAtOnce(t *testing.T, b *bench) {
	const callers, each = 40, 10
	var mu sync.Mutex
	seqs := map[int64]core.EventID{}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				a := b.event(route("facture"))
				got, err := b.Append(b.ctx(), []store.Accepted{a})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seqs[got[0].Seq] = a.Event.ID
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seqs) != callers*each {
		t.Fatalf("%d numbers for %d events", len(seqs), callers*each)
	}
	for seq, id := range seqs {
		e, err := b.Event(b.ctx(), id)
		b.must(err)
		if e.Seq != seq {
			t.Errorf("%s has number %d, told was %d", id, e.Seq, seq)
		}
	}
}

func errorsStayApart(t *testing.T, b *bench) {
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			a := b.event(route(fmt.Sprintf("route-%d", i%7)), route("second"))
			wrong := i%5 == 0
			if wrong {
				a.Deliveries[1].Priority = 9 // found after the first delivery was written
			}
			if _, err := b.Append(b.ctx(), []store.Accepted{a}); (err != nil) != wrong {
				t.Errorf("event %d: error %v", i, err)
			}
			if _, err := b.Event(b.ctx(), a.Event.ID); (err != nil) != wrong {
				t.Errorf("event %d: stored %t", i, err == nil)
			}
		})
	}
	wg.Wait()
	stats, err := b.Stats(b.ctx())
	b.must(err)
	if stats.Pending != 96 {
		t.Errorf("%d deliveries wait, want 96", stats.Pending)
	}
}

func eventsSurviveRestart(t *testing.T, b *bench) {
	a := b.event(route("facture"))
	seq := b.send(a)[0].Seq
	b.restart()
	if e, err := b.Event(b.ctx(), a.Event.ID); err != nil || e.Seq != seq {
		t.Fatalf("after a restart: %+v, %v", e, err)
	}
	b.claimOne()
	if next := b.send(b.event())[0].Seq; next <= seq {
		t.Errorf("number %d was given again", next)
	}
}
