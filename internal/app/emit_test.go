package app

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
)

// An event that a route makes sets off another route; two that set themselves off end, and the operators hear of it.
func TestRoutesMakeEventsForRoutes(t *testing.T) {
	got := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(body)
	}))
	defer server.Close()
	r := start(t, t.TempDir(), strings.ReplaceAll(`
sources: {shop: {auth: none}}
connections: {team: {kind: slack, webhook_url: "SERVER/slack"}}
routes:
  order:
    on: shop/**
    steps:
      - {use: event/emit, with: {type: order.validated, data: {id: "${{ event.data.id }}"}}}
      - {use: event/emit, with: {type: again}}
  flow:
    on: app/order.validated
    steps: [{use: http/request, with: {url: "SERVER/flow", json: {id: "${{ event.data.id }}", route: "${{ event.headers['relais-route'] }}"}}}]
  again:
    on: app/again
    steps: [{use: event/emit, with: {type: again}}]
    on_dead: {use: alert, with: {message: "${{ failure.reason }} after ${{ event.headers['relais-depth'] }}"}}
`, "SERVER", server.URL), nil)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.at.Listen+"/in/shop", bytes.NewReader([]byte(`{"id":7}`)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if status, text := r.do(request); status != http.StatusOK && status != http.StatusAccepted && status != http.StatusNoContent {
		t.Fatalf("%d %s", status, text)
	}
	want := map[string]bool{`/flow {"id":7,"route":"order"}`: true, `/slack {"text":"*[ERROR] relais: again*\nloop after 8"}`: true}
	timeout := time.After(20 * time.Second)
	for len(want) > 0 {
		select {
		case call := <-got:
			if !want[call] {
				t.Errorf("unexpected: %s", call)
			}
			delete(want, call)
		case <-timeout:
			t.Fatalf("never came: %v\n%s", want, r.log.String())
		}
	}
	r.until("the alert is counted", func() bool { // after Slack has answered
		_, text := r.get("http://" + r.at.Admin + "/metrics")
		return strings.Contains(text, `relais_alerts_total{level="error",result="sent"} 1`)
	})
}

func TestTheSourceAppIsRelaisOwn(t *testing.T) {
	catalog, err := Catalog()
	if err != nil {
		t.Fatal(err)
	}
	load := func(text string) error {
		_, err := config.Load(writeConfig(t, t.TempDir(), text), func(string) (string, bool) { return "", false }, catalog)
		return err
	}
	if err := load("sources: {app: {auth: none}}\n"); err == nil || !strings.Contains(err.Error(), "the name app is kept for the events that relais makes itself") {
		t.Errorf("%v", err)
	}
	if err := load("routes: {r: {on: app/stock.low, steps: [{use: alert, with: {message: m}}]}}\n"); err != nil {
		t.Error(err)
	}
	if err := load("routes: {r: {on: ap/stock.low, steps: [{use: alert, with: {message: m}}]}}\n"); err == nil {
		t.Error("a source that there isn't is taken")
	}
}
