//go:build linux

package examples

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

const (
	dhlKey    = "api-key-of-the-application"
	dhlToken  = "token-given-with-the-subscription"
	dhlSecret = "hook-secret-4c1f"
	dhlID     = "5f0b7f2e-6c3a-4d55-9a0e-0b4a1c9d2e77"
)

// dhl activates one subscription, as DHL does, and refuses whatever isn't its activation.
type dhl struct {
	*httptest.Server
	mu        sync.Mutex
	activated int
	refused   []string
}

func startDHL(t *testing.T) *dhl {
	t.Helper()
	d := &dhl{}
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *dhl) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	status := http.StatusOK
	switch {
	case err != nil || r.Method != http.MethodPost:
		status = http.StatusMethodNotAllowed
	case r.Header.Get("DHL-API-Key") != dhlKey:
		status = http.StatusUnauthorized
	case r.RequestURI != "/tracking/push/v1/subscription/"+dhlID:
		status = http.StatusNotFound
	case r.Header.Get("DHL-API-Hook-Secret") != dhlSecret:
		status = http.StatusForbidden
	case len(body) > 0:
		status = http.StatusBadRequest
	}
	if status != http.StatusOK {
		d.refused = append(d.refused, r.Method+" "+r.RequestURI+" "+http.StatusText(status))
	} else {
		d.activated++
	}
	w.WriteHeader(status)
}

func (d *dhl) seen() (activated int, refused string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.activated, strings.Join(d.refused, "\n")
}

func TestDHLActivatesASubscription(t *testing.T) {
	provider := startDHL(t)
	e := play(t, "dhl", map[string]string{"DHL_API_KEY": dhlKey, "DHL_TOKEN": dhlToken}, func(e *example) {
		e.edit("https://api-eu.dhl.com/tracking", provider.URL+"/tracking")
	})
	post := func(token, body string) int {
		return e.send("POST", "/webhook/dhl", "application/json", body, "X-API-Key", token)
	}
	validate := func(self string) string {
		return `{"scope":"subscription.validate","self":"` + self + `","secret":"` + dhlSecret + `"}`
	}
	const address = "https://api-eu.dhl.com/tracking/push/v1/subscription/"
	// Neither a stranger nor a message that names another address has anything called.
	if status := post("another-token", validate(address+dhlID)); status != http.StatusUnauthorized {
		t.Errorf("a stranger is answered %d", status)
	}
	if status := post(dhlToken, validate("https://attacker.example/tracking/push/v1/subscription/"+dhlID)); status != http.StatusOK {
		t.Errorf("another address is answered %d", status)
	}
	if status := post(dhlToken, validate(address+dhlID)); status != http.StatusOK {
		t.Fatalf("the validation is answered %d", status)
	}
	for _, d := range e.settled() {
		if d.State != "succeeded" {
			t.Errorf("%+v", d)
		}
	}
	if activated, refused := provider.seen(); activated != 1 || refused != "" {
		t.Fatalf("activated %d times; refused: %s", activated, refused)
	}
	// From then on DHL sends parcels.
	if status := post(dhlToken, `{"scope":"subscription.push","shipments":[{"id":"00340434","service":"express","status":{"statusCode":"delivered","timestamp":"2026-11-22T10:00:00Z"}}]}`); status != http.StatusOK {
		t.Errorf("a push is answered %d", status)
	}
	if list := e.cli("events", "--type", "dhl/tracking.delivered"); !strings.Contains(list, "tracking.delivered") {
		t.Errorf("the parcel isn't there:\n%s", list)
	}
}
