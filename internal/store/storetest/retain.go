package storetest

import (
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

var retainTests = map[string]func(*testing.T, *bench){
	"events go when they are old, oldest first":              retainByAge,
	"live deliveries, orders and stopped chains keep theirs": retainKeepsLive,
	"dead deliveries are kept for longer":                    retainKeepsDead,
	"beyond the size the oldest go":                          retainBySize,
	"attempts may go before their event":                     retainAttempts,
	"dedup keys go after their window":                       retainKeys,
	"numbers aren't given again when all is gone":            retainKeepsNumbers,
	"a source's events can go before the others'":            retainSourceShorter,
	"a source's events can stay after the others'":           retainSourceLonger,
	"a source's own age spares what is needed":               retainSourceNeeded,
	"refused requests go by their source's age":              retainRejections,
}

// retainAll runs slices until there is nothing more to do.
func (b *bench) retainAll(p store.RetainParams) store.Retained {
	b.t.Helper()
	var sum store.Retained
	for range 10_000 {
		r, err := b.Retain(b.ctx(), p)
		b.must(err)
		sum.Events, sum.Attempts, sum.DedupKeys = sum.Events+r.Events, sum.Attempts+r.Attempts, sum.DedupKeys+r.DedupKeys
		sum.Rejections += r.Rejections
		if !r.More {
			return sum
		}
	}
	b.t.Fatal("retention has no end")
	return sum
}

var month = store.RetainParams{Events: 720 * time.Hour, Dead: 2160 * time.Hour, Attempts: 720 * time.Hour}

func retainByAge(t *testing.T, b *bench) {
	for range 30 {
		b.send(b.event())
		b.advance(24 * time.Hour)
	}
	b.advance(239 * time.Hour)
	if r := b.retainAll(month); r.Events != 10 {
		t.Errorf("%d events went, want 10", r.Events)
	}
	events, err := b.Events(b.ctx(), store.EventFilter{})
	b.must(err)
	if len(events) != 20 {
		t.Errorf("%d are left, want 20", len(events))
	}
	if r := b.retainAll(month); r.Events != 0 {
		t.Errorf("%d more went", r.Events)
	}
}

func retainKeepsLive(t *testing.T, b *bench) {
	ids := b.ordered("sku", 2)
	o := b.outcome(b.wantClaimed(ids[0]), store.VerdictDead)
	o.FIFOStop = true
	b.must(b.finish(o))
	pending, order, running := b.event(route("paused")), b.event(), b.event(route("runs"))
	order.FanOut = true
	b.must(b.SetPause(b.ctx(), store.Pause{Scope: store.PauseRoute, Name: "paused"}))
	b.send(pending, order, running, b.event())
	b.claimOne()
	b.advance(10_000 * time.Hour)
	p := month
	p.SizeBytes = 1
	if r := b.retainAll(p); r.Events != 1 {
		t.Errorf("%d events went, want the one that nobody needs", r.Events)
	}
}

func retainKeepsDead(t *testing.T, b *bench) {
	c := b.running("facture")
	b.must(b.finish(b.outcome(c, store.VerdictDead)))
	b.advance(1000 * time.Hour)
	if r := b.retainAll(month); r.Events != 0 || r.Attempts != 1 {
		t.Fatalf("went: %+v", r)
	}
	_, err := b.Replay(b.ctx(), store.ReplayParams{Deliveries: []store.NewReplay{{Event: c.Event.ID, Destination: route("facture")}}})
	b.must(err)
	b.must(b.finish(b.outcome(b.claimOne(), store.VerdictSucceeded)))
	b.advance(1200 * time.Hour)
	if r := b.retainAll(month); r.Events != 1 {
		t.Errorf("%d events went, want 1", r.Events)
	}
	stats, err := b.Stats(b.ctx())
	b.must(err)
	if stats.Dead != 0 {
		t.Errorf("%d dead are counted", stats.Dead)
	}
}

// A store may drop whole days: the events are of ten.
func retainBySize(t *testing.T, b *bench) {
	const days, perDay, bound = 10, 5, 8 << 20
	var ids []core.EventID
	for range days {
		for range perDay {
			a := b.event()
			a.Event.Body = make([]byte, 300_000)
			b.send(a)
			ids = append(ids, a.Event.ID)
		}
		b.advance(24 * time.Hour)
	}
	p := month
	p.SizeBytes = bound
	r := b.retainAll(p)
	stats, err := b.Stats(b.ctx())
	b.must(err)
	if stats.UsedBytes > bound || stats.UsedBytes < bound/2 || r.Events < 20 || r.Events > 40 {
		t.Errorf("%d events went, %d bytes are used", r.Events, stats.UsedBytes)
	}
	_, err = b.Event(b.ctx(), ids[0])
	b.wantCode(err, core.CodeNotFound)
	if _, err := b.Event(b.ctx(), ids[len(ids)-1]); err != nil {
		t.Errorf("the newest: %v", err)
	}
}

func retainAttempts(t *testing.T, b *bench) {
	var ended []core.DeliveryID
	for range 3 {
		c := b.running("facture")
		b.must(b.finish(b.outcome(c, store.VerdictSucceeded)))
		ended = append(ended, c.Delivery.ID)
		b.advance(24 * time.Hour)
	}
	p := month
	p.Attempts = 30 * time.Hour
	if r := b.retainAll(p); r.Attempts != 2 || r.Events != 0 {
		t.Errorf("went: %+v", r)
	}
	for i, id := range ended {
		kept, err := b.Attempts(b.ctx(), id)
		b.must(err)
		if b.wantState(id, core.StateSucceeded); len(kept) != i/2 {
			t.Errorf("of delivery %d of 3 %d attempts are left", i+1, len(kept))
		}
	}
	if r := b.retainAll(p); r.Attempts != 0 {
		t.Errorf("went again: %+v", r)
	}
}

func retainKeys(t *testing.T, b *bench) {
	b.send(keyed(b.event(), "a", time.Hour), keyed(b.event(), "b", time.Hour), keyed(b.event(), "c", 200*time.Hour))
	b.advance(3 * time.Hour)
	if r := b.retainAll(month); r.DedupKeys != 2 {
		t.Errorf("%d keys went, want 2", r.DedupKeys)
	}
}

func retainKeepsNumbers(t *testing.T, b *bench) {
	c := b.running("facture")
	b.must(b.finish(b.outcome(c, store.VerdictSucceeded)))
	b.advance(10_000 * time.Hour)
	b.retainAll(month)
	b.restart()
	if next := b.running("facture"); next.Event.Seq <= c.Event.Seq || next.Delivery.ID <= c.Delivery.ID {
		t.Errorf("numbers %d and %d were given again", next.Event.Seq, next.Delivery.ID)
	}
}
