//go:build linux

package examples

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// triggers are the active workflows, and what each is started by.
var triggers = map[string]string{
	"order-fulfillment-v2": "order.validated", "stock-alerts": "stock.low", "customer-segments": "order.completed",
	"invoice-generation": "order.shipped", "support-tickets": "order.problem",
}

// flows is an n8n with those workflows, whose nodes check a header. It answers as n8n does.
type flows struct {
	*httptest.Server
	mu      sync.Mutex
	started map[string][]string // bodies, by workflow
}

func startFlows(t *testing.T) *flows {
	t.Helper()
	f := &flows{started: map[string][]string{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *flows) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, isHook := strings.CutPrefix(r.URL.Path, "/webhook/")
	trigger, active := triggers[id]
	var message struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
	}
	body, err := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	switch {
	case !isHook || !active || r.Method != http.MethodPost || r.URL.RawQuery != "":
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"code":404,"message":"The requested webhook is not registered."}`)
	case r.Header.Get("X-N8N-Token") != flowsToken:
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "Authorization data is wrong!")
	case r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Idempotency-Key") == "" || err != nil ||
		json.Unmarshal(body, &message) != nil || message.Event != trigger || len(message.Data) == 0:
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"code":422,"message":"Failed to parse request body"}`)
	default:
		f.mu.Lock()
		f.started[id] = append(f.started[id], string(body))
		f.mu.Unlock()
		_, _ = io.WriteString(w, `{"message":"Workflow was started"}`)
	}
}

// of are the bodies that a workflow was started with.
func (f *flows) of(id string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.started[id]...)
}
