package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relais/internal/core"
	"relais/internal/store"
)

var rejectTests = map[string]func(*testing.T, *bench){
	"a rejection comes back as it was":                 rejectionComesBack,
	"rejections are bounded by source, bytes and age":  rejectionsAreBounded,
	"a rejection that became an event says so":         rejectionAccepted,
	"rejections are listed by source, reason and page": rejectionsAreListed,
	"the bounds hold over a restart":                   boundsSurviveRestart,
}

var wide = store.RejectionBounds{PerSource: 1000, Bytes: 1 << 20}

func (b *bench) rejection(source string) store.Rejection {
	return store.Rejection{
		Tenant: core.DefaultTenant, Source: source, At: b.clock.Now(), Reason: core.RejectBadSignature,
		Detail: "hex SHA-1", Status: 401, Address: "192.0.2.7", Method: "POST", Path: "/webhook/sellsy", Query: "a=1",
		Header: []byte("X-A: b\r\n"), Body: []byte("notif=\x00\xff"), BodySize: 8, Complete: true,
	}
}

func (b *bench) reject(bounds store.RejectionBounds, list ...store.Rejection) {
	b.t.Helper()
	b.must(b.AppendRejections(b.ctx(), list, bounds))
}

func (b *bench) rejections(f store.RejectionFilter) []store.Rejection {
	b.t.Helper()
	f.Limit = 1000
	list, err := b.Rejections(b.ctx(), f)
	b.must(err)
	return list
}

func rejectionComesBack(t *testing.T, b *bench) {
	want := b.rejection("sellsy")
	b.reject(wide, want)
	list := b.rejections(store.RejectionFilter{Body: true})
	want.ID = list[0].ID
	if diff := cmp.Diff([]store.Rejection{want}, list); diff != "" {
		t.Errorf("listed (-sent +stored):\n%s", diff)
	}
	got, err := b.Rejection(b.ctx(), want.ID)
	b.must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stored (-sent +stored):\n%s", diff)
	}
}

func rejectionsAreBounded(t *testing.T, b *bench) {
	bounds := store.RejectionBounds{PerSource: 20, Bytes: 30_000}
	b.reject(bounds, b.rejection("quiet"))
	for range 10 {
		var flood []store.Rejection
		for range 7 {
			flood = append(flood, b.rejection("flooded"))
		}
		b.reject(bounds, flood...)
	}
	if n := len(b.rejections(store.RejectionFilter{Source: "flooded"})); n != 20 {
		t.Errorf("%d of the flooded source, want 20", n)
	}
	if n := len(b.rejections(store.RejectionFilter{Source: "quiet"})); n != 1 {
		t.Errorf("%d of the quiet source, want 1", n)
	}
	for i := range 30 {
		large := b.rejection(fmt.Sprintf("source-%d", i))
		large.Body = make([]byte, 4000)
		b.reject(bounds, large)
	}
	total := 0
	for _, r := range b.rejections(store.RejectionFilter{Body: true}) {
		total += len(r.Body) + len(r.Header)
	}
	if total > 30_000 || total < 20_000 {
		t.Errorf("%d bytes are kept, want nearly 30,000", total)
	}
}

func rejectionAccepted(t *testing.T, b *bench) {
	b.reject(wide, b.rejection("sellsy"))
	id, event := b.rejections(store.RejectionFilter{})[0].ID, core.NewEventID()
	b.must(b.MarkRejectionAccepted(b.ctx(), id, event))
	if r, err := b.Rejection(b.ctx(), id); err != nil || r.Event != event {
		t.Errorf("it became %s, %v", r.Event, err)
	}
	b.wantCode(b.MarkRejectionAccepted(b.ctx(), 999, event), core.CodeNotFound)
}

func rejectionsAreListed(t *testing.T, b *bench) {
	for i := range 10 {
		r := b.rejection([]string{"a", "b"}[i%2])
		if i%5 == 0 {
			r.Reason = core.RejectTooLarge
		}
		b.reject(wide, r)
		b.advance(time.Minute)
	}
	for _, c := range []struct {
		filter store.RejectionFilter
		want   int
	}{
		{store.RejectionFilter{}, 10}, {store.RejectionFilter{Source: "a"}, 5}, {store.RejectionFilter{Reason: core.RejectTooLarge}, 2},
		{store.RejectionFilter{Since: b.clock.Now().Add(-3 * time.Minute)}, 3},
	} {
		if n := len(b.rejections(c.filter)); n != c.want {
			t.Errorf("%+v lists %d, want %d", c.filter, n, c.want)
		}
	}
	page, err := b.Rejections(b.ctx(), store.RejectionFilter{Limit: 4})
	b.must(err)
	next, err := b.Rejections(b.ctx(), store.RejectionFilter{Limit: 100, Before: page[3].ID})
	b.must(err)
	if len(page) != 4 || len(next) != 6 || next[0].ID >= page[3].ID || len(page[0].Body) != 0 {
		t.Errorf("pages of %d and %d", len(page), len(next))
	}
}

func boundsSurviveRestart(t *testing.T, b *bench) {
	bounds := store.RejectionBounds{PerSource: 5, Bytes: 1 << 20}
	for range 8 {
		b.reject(bounds, b.rejection("sellsy"))
		b.restart()
	}
	if n := len(b.rejections(store.RejectionFilter{})); n != 5 {
		t.Errorf("%d are kept, want 5", n)
	}
}
