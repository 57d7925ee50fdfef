package ingest

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/source"
)

func TestRefusedRequestsAreKept(t *testing.T) {
	h := open(t, nil)
	long := []byte("notif=" + strings.Repeat("x", 10_000))
	h.send("POST", "/in/sellsy?a=1", http.Header{"X-Webhook-Signature": {strings.Repeat("0", 40)}, "Authorization": {"x"}}, long)
	h.send("POST", "/in/sellsy", h.signed(form, long), long)
	h.send("POST", "/in/nobody?token=x", nil, long)
	kept := h.waitKept(3)
	wrong, broken, unknown := kept[0], kept[1], kept[2]
	if wrong.Reason != core.RejectBadSignature || !wrong.Complete || len(wrong.Body) != len(long) || wrong.Query != "a=1" || wrong.Address != "127.0.0.1" || wrong.Status != 401 {
		t.Errorf("a wrong signature is kept as %+v", wrong)
	}
	if header := core.DecodeHeader(wrong.Header); header.Get("Authorization") != "" || header.Get("X-Webhook-Signature") == "" {
		t.Errorf("with the header %v", header)
	}
	if broken.Reason != core.RejectMalformed || broken.Complete || len(broken.Body) != 4096 || broken.BodySize != int64(len(long)) {
		t.Errorf("a broken body is kept as %+v", broken)
	}
	if unknown.Reason != core.RejectUnknownSource || unknown.Source != "" || unknown.Query != "" || unknown.Body != nil || unknown.Path != "/in/nobody" {
		t.Errorf("a request to nobody is kept as %+v", unknown)
	}
}

func TestRejectionsAreBounded(t *testing.T) {
	h := open(t, func(o *Options) { o.Settings.Bounds.Rejections.PerHour = 10 })
	for range 30 {
		if got := h.send("POST", "/in/sellsy", nil, quote(1)); got.status != 401 {
			t.Fatalf("answered %d", got.status)
		}
	}
	if kept := len(h.waitKept(10)); kept != 10 {
		t.Errorf("%d are kept, want 10", kept)
	}
	if lost := h.counted.get("lost"); lost != 20 {
		t.Errorf("%d are counted as lost, want 20", lost)
	}
	if counted := h.counted.get("failures sellsy signature_missing"); counted != 30 {
		t.Errorf("%d failures are counted, want 30", counted)
	}
}

// Whoever sends large forged requests has a share of what is kept, and pushes out nobody's that can be verified again.
func TestWholeBodiesFromOneAddressHaveAShare(t *testing.T) {
	h := open(t, func(o *Options) { o.Settings.Bounds.Rejections.Bytes = 8 * 12_000 })
	long := []byte("notif=" + strings.Repeat("x", 5_000))
	for range 4 {
		h.send("POST", "/in/sellsy", http.Header{"X-Webhook-Signature": {strings.Repeat("0", 40)}}, long)
	}
	for i, kept := range h.waitKept(4) {
		if whole := kept.Complete && len(kept.Body) == len(long); whole != (i < 2) || kept.BodySize != int64(len(long)) {
			t.Errorf("of request %d, %d bytes of %d are kept (complete: %v)", i, len(kept.Body), kept.BodySize, kept.Complete)
		}
	}
}

func TestQueueOfRejectionsIsBounded(t *testing.T) {
	q := newRejections(newMemory(), &counters{n: map[string]int{}}, nil)
	q.setBounds(config.Rejections{})
	now := time.Now()
	admitted := 0
	for i := range 3 * maxRejectionCounts {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if q.admit("s", addr, now) {
			admitted++
		}
	}
	if admitted != maxRejectionCounts {
		t.Errorf("%d addresses are counted, want %d", admitted, maxRejectionCounts)
	}
	if !q.admit("s", netip.MustParseAddr("192.0.2.1"), now.Add(time.Hour)) {
		t.Error("the next hour starts full")
	}
	same := 0
	for i := range 1000 {
		if q.admit("s", netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2:%x::1", i)), now.Add(time.Hour)) {
			same++
		}
	}
	if same != rejectionsPerHour {
		t.Errorf("a /64 is kept %d times an hour, want %d", same, rejectionsPerHour)
	}
}

func TestRejectionsAreVerifiedAgainWithTodaysSecret(t *testing.T) {
	right := compileAll(t, sellsy())[0]
	wrong := sellsy()
	wrong.Secrets = []config.Secret{config.NewSecret("mistyped")}
	h := open(t, nil, wrong)
	signer := &house{t: t, sellsy: right}
	for i := range 3 {
		if got := h.send("POST", "/in/sellsy", signer.signed(form, quoteForm(i)), quoteForm(i)); got.status != 401 {
			t.Fatalf("answered %d", got.status)
		}
	}
	h.send("POST", "/in/sellsy", http.Header{"X-Webhook-Signature": {strings.Repeat("0", 40)}}, quote(9))
	h.send("POST", "/in/sellsy", nil, quote(9))
	// One of them was sent again after the secret was mended.
	if err := h.Replace(Settings{Sources: []*source.Source{right}}); err != nil {
		t.Fatal(err)
	}
	if got := h.send("POST", "/in/sellsy", signer.signed(form, quoteForm(1)), quoteForm(1)); got.status != 200 {
		t.Fatalf("answered %d", got.status)
	}
	h.waitKept(5)
	params := RetryParams{Source: right, Match: noMatch}
	accepted, refused := map[core.EventID]bool{}, 0
	retryAll := func() {
		for _, r := range h.store.rejections {
			id, err := RetryRejection(context.Background(), h.store, params, &r)
			switch {
			case err == nil:
				accepted[id] = true
			case core.CodeOf(err) == core.CodeConflict:
				refused++
			default:
				t.Fatal(err)
			}
		}
	}
	retryAll()
	if len(accepted) != 3 || refused != 2 {
		t.Errorf("%d became events and %d stayed refused, want 3 and 2", len(accepted), refused)
	}
	// A crash between an event and its mark, and a second try, make no other event.
	before := len(h.store.stored())
	retryAll()
	if after := len(h.store.stored()); after != before || len(accepted) != 3 {
		t.Errorf("%d events became %d", before, after)
	}
}

// A flow's name in the path is a part of the message: verified again, the event has it as if it had been
// accepted at once, and is not made of one that was cut.
func TestRejectionsKeepThePathsNamedParts(t *testing.T) {
	entry := sellsy()
	entry.Path = "/flows/{flow}"
	right := compileAll(t, entry)[0]
	entry.Secrets = []config.Secret{config.NewSecret("mistyped")}
	h := open(t, nil, entry)
	signer := &house{t: t, sellsy: right}
	for _, path := range []string{"/flows/devis%20a", "/in/sellsy", "/flows/" + strings.Repeat("x", 600), "/flows/b?q=" + strings.Repeat("y", 5000)} {
		if got := h.send("POST", path, signer.signed(form, quoteForm(1)), quoteForm(1)); got.status != 401 {
			t.Fatalf("%.20s answered %d", path, got.status)
		}
	}
	for i, r := range h.waitKept(4) {
		_, err := RetryRejection(context.Background(), h.store, RetryParams{Source: right, Match: noMatch}, &r)
		if cut := i > 1; cut != (core.CodeOf(err) == core.CodeConflict) || !cut && err != nil {
			t.Fatalf("%.20s: %v", r.Path, err)
		}
	}
	stored := h.store.stored()
	if len(stored) != 2 || stored[0].Path != "flow=devis+a" || stored[1].Path != "" {
		t.Errorf("stored %+v", stored)
	}
}
