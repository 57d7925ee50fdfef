//go:build linux

package examples

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// receiver is another program that relais calls. It keeps what it is told, once for each Idempotency-Key.
type receiver struct {
	*httptest.Server
	key string // the X-API-Key that it asks for; "" is none

	mu    sync.Mutex
	seen  map[string]bool
	calls []string
}

func startReceiver(t *testing.T, key string) *receiver {
	t.Helper()
	r := &receiver{key: key, seen: map[string]bool{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	key := req.Header.Get("Idempotency-Key")
	switch {
	case r.key != "" && req.Header.Get("X-Api-Key") != r.key:
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	case err != nil || key == "" || req.Header.Get("Content-Type") != "application/json":
		http.Error(w, "not understood", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.seen[key] {
		r.seen[key] = true
		r.calls = append(r.calls, req.Method+" "+req.URL.Path+" "+string(body))
	}
}

// told lists the calls so far: method, path and body.
func (r *receiver) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}
