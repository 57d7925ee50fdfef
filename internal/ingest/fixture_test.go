package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/source"
	"relais/internal/store"
)

const signKey = "1eba7b47-ff42-4883-9b6b-f3d776151374"

// memory is a store that keeps what it is given, by the contract of store.Appender. fail is asked before
// each append.
type memory struct {
	mu         sync.Mutex
	batches    []int
	events     []core.Event
	byID       map[core.EventID]store.Appended
	keys       map[[16]byte]core.EventID
	rejections []store.Rejection
	fail       func(batch []store.Accepted) error
	kept       chan struct{} // told of each write of rejections
}

func newMemory() *memory {
	return &memory{byID: map[core.EventID]store.Appended{}, keys: map[[16]byte]core.EventID{}, kept: make(chan struct{}, 100)}
}

func (m *memory) Append(_ context.Context, batch []store.Accepted) ([]store.Appended, error) {
	m.mu.Lock()
	fail := m.fail
	m.mu.Unlock()
	if fail != nil {
		if err := fail(batch); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches = append(m.batches, len(batch))
	out := make([]store.Appended, len(batch))
	for i, a := range batch {
		if done, ok := m.byID[a.Event.ID]; ok {
			out[i] = done
			continue
		}
		a.Event.Body, a.Event.Header = bytes.Clone(a.Event.Body), bytes.Clone(a.Event.Header)
		out[i].Seq = int64(len(m.events) + 1)
		if a.DedupKey != [16]byte{} {
			if first, ok := m.keys[a.DedupKey]; ok {
				out[i].RepeatOf = first
			} else {
				m.keys[a.DedupKey] = a.Event.ID
			}
		}
		a.Event.RepeatOf = out[i].RepeatOf
		m.events = append(m.events, a.Event)
		m.byID[a.Event.ID] = out[i]
	}
	return out, nil
}

func (m *memory) AppendRejections(_ context.Context, batch []store.Rejection, _ store.RejectionBounds) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range batch {
		r.ID = int64(len(m.rejections) + 1)
		m.rejections = append(m.rejections, r)
	}
	m.kept <- struct{}{}
	return nil
}

func (m *memory) Rejection(_ context.Context, id int64) (store.Rejection, error) {
	return m.rejections[id-1], nil
}

func (m *memory) Rejections(_ context.Context, f store.RejectionFilter) ([]store.Rejection, error) {
	var page []store.Rejection
	for _, r := range slices.Backward(m.rejections) {
		if r.Source == f.Source && (f.Before == 0 || r.ID < f.Before) && len(page) < f.Limit {
			r.Body = nil
			page = append(page, r)
		}
	}
	return page, nil
}

func (m *memory) MarkRejectionAccepted(_ context.Context, id int64, event core.EventID) error {
	m.rejections[id-1].Event = event
	return nil
}

func (m *memory) stored() []core.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

func (m *memory) failWith(fail func([]store.Accepted) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

// counters keeps what was counted, by name.
type counters struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counters) add(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[name] += n
}

func (c *counters) get(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

func (c *counters) RejectionsLost(n int) { c.add("lost", n) }

func (c *counters) InFlight(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n["in flight"] = int(bytes)
}

type sourceCounters struct {
	*counters
	name string
}

func (c sourceCounters) Request() { c.add("requests "+c.name, 1) }
func (c sourceCounters) Failure(reason core.RejectReason) {
	c.add("failures "+c.name+" "+string(reason), 1)
}
func (c sourceCounters) Event(repeat bool)      { c.add(fmt.Sprintf("events %s %v", c.name, repeat), 1) }
func (c sourceCounters) Answered(time.Duration) { c.add("answered "+c.name, 1) }

// house is a running ingest behind a real listener.
type house struct {
	*Ingest
	t       *testing.T
	store   *memory
	counted *counters
	addr    string
	client  *http.Client
	sellsy  *source.Source
}

func sellsy() config.Source {
	return config.Source{Name: "sellsy", Preset: "sellsy", Secrets: []config.Secret{config.NewSecret(signKey)}}
}

func compileAll(t testing.TB, in ...config.Source) []*source.Source {
	t.Helper()
	var out []*source.Source
	for _, s := range in {
		src, err := source.Compile(s, source.Embedded())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, src)
	}
	return out
}

func noMatch(*core.Event) Matched { return Matched{RouteSet: "set"} }

// open starts an ingest with these sources; change may alter its options.
func open(t *testing.T, change func(*Options), sources ...config.Source) *house {
	t.Helper()
	if len(sources) == 0 {
		sources = []config.Source{sellsy()}
	}
	h := &house{t: t, store: newMemory(), counted: &counters{n: map[string]int{}}}
	o := Options{
		Store: h.store, Match: noMatch, Metrics: h.counted,
		SourceMetrics: func(name string) SourceMetrics { return sourceCounters{h.counted, name} },
		Settings:      Settings{Sources: compileAll(t, sources...)},
	}
	h.sellsy = o.Settings.Sources[0]
	if change != nil {
		change(&o)
	}
	in, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h.Ingest = in
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- in.Run(ctx) }()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = listener.Addr().String()
	server := &http.Server{Handler: in}
	Bound(server, o.Settings.Bounds)
	go func() { _ = server.Serve(listener) }()
	h.client = &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		_ = server.Close()
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return h
}

// reply is an answer as a sender sees it.
type reply struct {
	status int
	header http.Header
	body   string
}

func (h *house) send(method, path string, header http.Header, body []byte) reply {
	h.t.Helper()
	req, err := http.NewRequest(method, "http://"+h.addr+path, bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header = header
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// signed returns the header that Sellsy would send with the body.
func (h *house) signed(contentType string, body []byte) http.Header {
	h.t.Helper()
	req := &source.Request{Method: "POST", Header: http.Header{}, Body: body, Now: time.Now()}
	req.Header.Set("Content-Type", contentType)
	if err := h.sellsy.Sign(req); err != nil {
		h.t.Fatal(err)
	}
	return req.Header
}

const (
	form     = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

func quote(id int) []byte {
	return []byte(fmt.Sprintf(`{"eventType":"docslog","event":"step","timestamp":"1778187955","relatedtype":"estimate","relatedid":"%d",`+
		`"relatedobject":{"id":%d,"status":"accepted"}}`, id, id))
}

func quoteForm(id int) []byte { return []byte("notif=" + url.QueryEscape(string(quote(id)))) }

// waitKept returns when n rejections were written.
func (h *house) waitKept(n int) []store.Rejection {
	h.t.Helper()
	for {
		h.store.mu.Lock()
		got := slices.Clone(h.store.rejections)
		h.store.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-h.store.kept:
		case <-time.After(10 * time.Second):
			h.t.Fatalf("%d rejections were kept, want %d", len(got), n)
		}
	}
}

func deep(levels int) string {
	return strings.Repeat("[", levels) + strings.Repeat("]", levels)
}
