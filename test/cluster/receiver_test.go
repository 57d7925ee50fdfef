//go:build linux

package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// call is what reached the receiver.
type call struct {
	route string
	message
}

// receiver is the other system: it answers as the test says, and keeps what it took.
type receiver struct {
	*httptest.Server
	answer func(call) int // nil is 200

	mu      sync.Mutex
	more    *sync.Cond
	begun   []call
	taken   []call // answered with 200
	running map[string]int
	overlap []string // of one order, at once
}

func receive(t *testing.T, answer func(call) int) *receiver {
	t.Helper()
	r := &receiver{answer: answer, running: map[string]int{}}
	r.more = sync.NewCond(&r.mu)
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	c := call{route: strings.TrimPrefix(request.URL.Path, "/")}
	if err := json.NewDecoder(request.Body).Decode(&c.message); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.enter(c)
	status := http.StatusOK
	if r.answer != nil {
		status = r.answer(c)
	}
	r.leave(c, status)
	w.WriteHeader(status)
}

func (r *receiver) enter(c call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun = append(r.begun, c)
	at := c.route + "/" + c.Key
	if r.running[at]++; r.running[at] > 1 {
		r.overlap = append(r.overlap, fmt.Sprintf("%s (update %d)", at, c.N))
	}
	r.more.Broadcast()
}

func (r *receiver) leave(c call, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[c.route+"/"+c.Key]--
	if status == http.StatusOK {
		r.taken = append(r.taken, c)
	}
	r.more.Broadcast()
}

// took returns what was taken for a route.
func (r *receiver) took(route string) []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	var calls []call
	for _, c := range r.taken {
		if c.route == route {
			calls = append(calls, c)
		}
	}
	return calls
}

func (r *receiver) begunCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.begun)
}

// route is a route's configuration: what it takes, and the call that it makes.
func (r *receiver) route(name, on, keys string) string {
	return fmt.Sprintf(`  %[1]s:
    on: [%[2]s]
    retry: [%[3]s]
%[4]s    steps:
      - use: http/request
        with:
          url: "%[5]s/%[1]s"
          json: {type: "${{ event.type }}", key: "${{ event.data.key }}", n: "${{ event.data.n }}"}
`, name, on, strings.TrimSuffix("0s, "+strings.Repeat("50ms, ", 99), ", "), keys, r.URL)
}
