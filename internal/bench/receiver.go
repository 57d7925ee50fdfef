package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// receiver is the system at the other end: it notes when each document arrived, counted from when its
// webhook was due. It runs in the generator's process, so that both times are of one clock.
type receiver struct {
	server    http.Server
	addresses []string

	hanging atomic.Int64 // requests that hang now

	mu       sync.Mutex
	counted  *counter // nil counts nothing
	start    time.Time
	interval time.Duration
	first    int64
	arrived  []bool
	missing  int
	latency  *hdrhistogram.Histogram
	complete chan struct{}
}

func newReceiver(ctx context.Context) (*receiver, error) { return newReceiverOn(ctx, "127.0.0.1:0") }

// newReceiverOn listens on several addresses: to their senders, they are as many hosts.
func newReceiverOn(ctx context.Context, addresses ...string) (*receiver, error) {
	r := &receiver{}
	var listeners []net.Listener
	for _, address := range addresses {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			for _, l := range listeners {
				_ = l.Close() // nobody has come yet
			}
			return nil, fmt.Errorf("listen for deliveries: %w", err)
		}
		listeners = append(listeners, listener)
		r.addresses = append(r.addresses, listener.Addr().String())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /arrived", r.take)
	mux.HandleFunc("POST /hold", hold)
	mux.HandleFunc("POST /count", r.count)
	mux.HandleFunc("POST /hang", r.hang)
	r.server = http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	for _, l := range listeners {
		go func() { _ = r.server.Serve(l) }() // ends with close
	}
	return r, nil
}

func (r *receiver) url(path string) string { return r.urlOf(0, path) }

func (r *receiver) urlOf(address int, path string) string {
	return "http://" + r.addresses[address] + path
}

func (r *receiver) close() { _ = r.server.Close() }

// hold answers nobody: the request ends when the sender or the receiver does.
func hold(_ http.ResponseWriter, request *http.Request) {
	_, _ = io.Copy(io.Discard, request.Body)
	<-request.Context().Done()
}

// hangs is how long /hang takes for its answer.
const hangs = 30 * time.Second

// hang answers late. Whoever waits for it learns nothing before.
func (r *receiver) hang(w http.ResponseWriter, request *http.Request) {
	_, _ = io.Copy(io.Discard, request.Body)
	r.hanging.Add(1)
	defer r.hanging.Add(-1)
	timer := time.NewTimer(hangs)
	defer timer.Stop()
	select {
	case <-timer.C:
		w.WriteHeader(http.StatusNoContent)
	case <-request.Context().Done():
	}
}

// counter tells when so many requests have come to /count.
type counter struct {
	n    atomic.Int64
	warm int64
	all  int64
	// begun is closed when the warm ones have come, ended when all have.
	begun, ended chan struct{}
}

// countTo begins a count anew.
func (r *receiver) countTo(warm, all int64) *counter {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counted = &counter{warm: warm, all: all, begun: make(chan struct{}), ended: make(chan struct{})}
	return r.counted
}

func (r *receiver) count(w http.ResponseWriter, request *http.Request) {
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	c := r.counted
	r.mu.Unlock()
	if c != nil {
		switch c.n.Add(1) {
		case c.warm:
			close(c.begun)
		case c.all:
			close(c.ended)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// expect begins a count of n documents. A load calls it through load.started.
func (r *receiver) expect(start time.Time, interval time.Duration, first, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start, r.interval, r.first = start, interval, first
	r.arrived, r.missing = make([]bool, n), int(n)
	r.latency = hdrhistogram.New(1, longest.Microseconds(), 3)
	r.complete = make(chan struct{})
}

func (r *receiver) take(w http.ResponseWriter, request *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(io.LimitReader(request.Body, 4096))
	if err == nil {
		err = r.note(body, now)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

var errNoDocument = errors.New("there is no document number in the body")

// note counts an arrival. Documents of another count (of a warm-up) and second arrivals are no matter:
// a delivery is made at least once.
func (r *receiver) note(body []byte, now time.Time) error {
	id, ok := findID(body)
	if !ok {
		return errNoDocument
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := id - r.first
	if i < 0 || i >= int64(len(r.arrived)) || r.arrived[i] {
		return nil
	}
	r.arrived[i] = true
	_ = r.latency.RecordValue(min(now.Sub(r.start.Add(time.Duration(i)*r.interval)), longest).Microseconds()) // within its bounds
	if r.missing--; r.missing == 0 {
		close(r.complete)
	}
	return nil
}

// findID returns the first run of ten digits.
func findID(body []byte) (int64, bool) {
	run := 0
	for i, c := range body {
		if c < '0' || c > '9' {
			run = 0
			continue
		}
		if run++; run == len(digits) {
			id, err := strconv.ParseInt(string(body[i+1-run:i+1]), 10, 64)
			return id, err == nil
		}
	}
	return 0, false
}

// wait returns the latencies when all have arrived, or says how many have not.
func (r *receiver) wait(ctx context.Context, patience time.Duration) (*hdrhistogram.Histogram, error) {
	seen, missing, err := r.arrivals(ctx, patience)
	if err == nil && missing > 0 {
		return nil, fmt.Errorf("%d of %d events have not arrived %s after the last was sent", missing, seen.TotalCount()+missing, patience)
	}
	return seen, err
}

// arrivals returns the latencies of what arrives within patience, and how many have not.
func (r *receiver) arrivals(ctx context.Context, patience time.Duration) (*hdrhistogram.Histogram, int64, error) {
	select {
	case <-r.complete:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-time.After(patience):
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latency.Clone(), int64(r.missing), nil
}
