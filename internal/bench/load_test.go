package bench

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// listener is a plain server that notes what it got.
type listener struct {
	*httptest.Server
	mu     sync.Mutex
	bodies map[string]bool
	bad    int
	from   map[string]int
	count  atomic.Int64
}

func newListener(t *testing.T, key string, answer func(n int64) int) *listener {
	t.Helper()
	l := &listener{bodies: map[string]bool{}, from: map[string]int{}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read a body: %v", err)
		}
		sum := sha1.Sum(append([]byte(key), body...))
		from, _, _ := strings.Cut(r.RemoteAddr, ":")
		l.mu.Lock()
		l.bodies[string(body)] = true
		l.from[from]++
		if r.Header.Get("X-Webhook-Signature") != hex.EncodeToString(sum[:]) {
			l.bad++
		}
		l.mu.Unlock()
		w.WriteHeader(answer(l.count.Add(1)))
		_, _ = io.WriteString(w, "received")
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *listener) load(perSecond, connections int, d time.Duration) *load {
	return &load{
		address: l.Listener.Addr().String(), path: "/in/sellsy", key: "key",
		connections: connections, perSecond: perSecond, duration: d, ids: &idSpace{},
	}
}

func ok(int64) int { return http.StatusOK }

func TestEveryDueRequestIsSentOnceSignedAndDifferent(t *testing.T) {
	server := newListener(t, "key", ok)
	seen, err := server.load(400, 4, time.Second).do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := seen.allAccepted(); err != nil {
		t.Error(err)
	}
	if n := seen.accepted(); n != 400 || server.count.Load() != n || seen.latency.TotalCount() != n {
		t.Errorf("400 were due; counted %d, received %d, in the histogram %d",
			n, server.count.Load(), seen.latency.TotalCount())
	}
	if len(server.bodies) != 400 {
		t.Errorf("of 400 bodies only %d differ", len(server.bodies))
	}
	if server.bad != 0 {
		t.Errorf("%d signatures are wrong", server.bad)
	}
}

func TestAStallIsChargedToEveryRequestDueInIt(t *testing.T) {
	const (
		perSecond   = 1000
		connections = 4
		stall       = 400 * time.Millisecond
	)
	var gate sync.RWMutex
	server := newListener(t, "key", func(n int64) int {
		if n == 200 {
			gate.Lock()
			<-time.After(stall) // the stall itself: nobody is answered while it lasts
			gate.Unlock()
			return http.StatusOK
		}
		gate.RLock()
		defer gate.RUnlock()
		return http.StatusOK
	})
	seen, err := server.load(perSecond, connections, time.Second).do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var late int64
	for _, bar := range seen.latency.Distribution() {
		if bar.From >= (stall / 2).Microseconds() {
			late += bar.Count
		}
	}
	// 200 requests were due in the first half of the stall, and waited for more than its other half. A
	// closed loop would have seen one for each of its connections.
	if late < 190 {
		t.Errorf("%d requests waited for half the stall or longer; 200 were due in its first half", late)
	}
	if n := seen.accepted(); n != perSecond {
		t.Errorf("%d were due, %d were accepted", perSecond, n)
	}
}

func TestAClosedLoopSeesOneLateRequestForEachConnection(t *testing.T) {
	var gate sync.RWMutex
	server := newListener(t, "key", func(n int64) int {
		if n == 50 {
			gate.Lock()
			<-time.After(300 * time.Millisecond)
			gate.Unlock()
			return http.StatusOK
		}
		gate.RLock()
		defer gate.RUnlock()
		return http.StatusOK
	})
	seen, err := server.load(0, 2, time.Second).do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if seen.accepted() < 100 || seen.accepted() != server.count.Load() {
		t.Errorf("counted %d, received %d", seen.accepted(), server.count.Load())
	}
	if got := time.Duration(seen.latency.ValueAtQuantile(90)) * time.Microsecond; got > 150*time.Millisecond {
		t.Errorf("p90 is %s in a closed loop: this test no longer shows what the open loop is for", got)
	}
}

func TestRefusalsAreCountedByStatusAndNotAsLatency(t *testing.T) {
	server := newListener(t, "key", func(n int64) int {
		if n%2 == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	seen, err := server.load(200, 2, time.Second).do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if seen.answered[503] != 100 || seen.accepted() != 100 || seen.latency.TotalCount() != 100 {
		t.Errorf("answered %v, in the histogram %d", seen.answered, seen.latency.TotalCount())
	}
	if seen.allAccepted() == nil {
		t.Error("a row with refusals passes as accepted")
	}
}

func TestAServerThatHangsUpIsDialledAgain(t *testing.T) {
	server := newListener(t, "key", ok)
	server.Config.SetKeepAlivesEnabled(false)
	seen, err := server.load(200, 2, time.Second).do(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := seen.allAccepted(); err != nil {
		t.Error(err)
	}
}

func TestConnectionsComeFromTheAddressesGiven(t *testing.T) {
	server := newListener(t, "key", ok)
	l := server.load(100, 4, time.Second)
	l.from = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
	if _, err := l.do(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(server.from) != 2 || server.from["127.0.0.2"] == 0 || server.from["127.0.0.3"] == 0 {
		t.Errorf("requests came from %v", server.from)
	}
}

func TestACancelledLoadEnds(t *testing.T) {
	release := make(chan struct{})
	server := newListener(t, "key", func(int64) int { <-release; return http.StatusOK })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	l := server.load(100, 2, time.Hour)
	l.started = func(time.Time, time.Duration, int64) { time.AfterFunc(50*time.Millisecond, cancel) }
	if _, err := l.do(ctx); err == nil {
		t.Error("a cancelled load returns as if it had ended")
	}
}

func TestARequestIsWhatSellsySends(t *testing.T) {
	raw := newRequest("localhost:1", "/in/sellsy", "key").prepare(1_000_000_042, time.Unix(1_778_187_955, 0))
	_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"eventType":"docslog","event":"step","timestamp":"1778187955","ownerid":"1084",` +
		`"ownertype":"staff","corpid":"929","relatedtype":"estimate","relatedid":"1000000042"}`
	if got := form.Get("notif"); got != want {
		t.Errorf("notif is\n%s, want\n%s", got, want)
	}
}

func TestAnAnswersHead(t *testing.T) {
	tests := map[string]struct {
		head           string
		status, length int
		last, wrong    bool
	}{
		"body":        {head: "HTTP/1.1 200 OK\r\nContent-Length: 12", status: 200, length: 12},
		"lower case":  {head: "HTTP/1.1 401 No\r\ncontent-length: 3\r\nconnection: close", status: 401, length: 3, last: true},
		"no content":  {head: "HTTP/1.1 204 No Content", status: 204},
		"no length":   {head: "HTTP/1.1 200 OK\r\nDate: x", wrong: true},
		"negative":    {head: "HTTP/1.1 200 OK\r\nContent-Length: -1", wrong: true},
		"not http":    {head: "SSH-2.0", wrong: true},
		"odd version": {head: "HTTP/2.0 200 OK\r\nContent-Length: 1", wrong: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status, length, last, err := readHead([]byte(test.head))
			if (err != nil) != test.wrong {
				t.Fatalf("error %v", err)
			}
			if status != test.status || length != test.length || last != test.last {
				t.Errorf("status %d, length %d, last %t", status, length, last)
			}
		})
	}
}
