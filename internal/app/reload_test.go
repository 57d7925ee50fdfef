//go:build unix

package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"relais/internal/step/redis/redistest"
)

// A reload takes a connection away while an attempt stands between two of its steps: the attempt ends on the
// server where it began, and then nothing of the old configuration is open there.
func TestWhatRunsDuringAReloadEndsAsItBeganAndItsSocketsClose(t *testing.T) {
	before, after := redistest.Start(t), redistest.Start(t)
	reached, leave := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{}; <-leave }))
	goOn := sync.OnceFunc(func() { close(leave) })
	t.Cleanup(func() { goOn(); slow.Close() })
	text := func(redis string) string {
		return fmt.Sprintf(`
sources:
  shop: {preset: generic, secret: s3cret}
connections:
  cache: {kind: redis, url: %q}
routes:
  prices:
    on: shop/**
    steps:
      - use: redis/command
        with: {command: [SET, begun, "${{ event.data.price }}"]}
      - use: http/request
        with: {url: %q}
      - use: redis/command
        with: {command: [SET, ended, "${{ event.data.price }}"]}
`, redis, slow.URL)
	}
	dir := t.TempDir()
	r := start(t, dir, text(before.URL()), nil)
	price := func(cents int) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.at.Listen+"/in/shop", strings.NewReader(fmt.Sprintf(`{"price":%d}`, cents)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Api-Key", "s3cret")
		request.Header.Set("Content-Type", "application/json")
		if status, said := r.do(request); status != http.StatusOK {
			t.Fatalf("answered %d %s", status, said)
		}
		select {
		case <-reached:
		case <-time.After(20 * time.Second):
			t.Fatalf("no attempt came so far\n%s", r.log.String())
		}
	}
	alone := func() bool { return strings.Count(before.Do("CLIENT", "LIST"), " addr=") == 1 } // who asks

	price(100)
	if alone() {
		t.Fatal("no socket is kept under the configuration in force: the test shows nothing")
	}
	writeConfig(t, dir, text(after.URL()))
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.until("the sockets that no step uses close", alone)
	price(200)
	if before.Do("GET", "begun") != "100" || after.Do("GET", "begun") != "200" {
		t.Error("a step began under the wrong configuration")
	}
	goOn()
	r.until("the old attempt ends where it began", func() bool { return before.Do("GET", "ended") == "100" })
	r.until("the new attempt ends", func() bool { return after.Do("GET", "ended") == "200" })
	r.until("the sockets of the old attempt close", alone)
}
