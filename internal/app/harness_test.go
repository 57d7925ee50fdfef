package app

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"relais/internal/sandbox"
)

const signingKey = "1eba7b47-ff42-4883-9b6b-f3d776151374"

// running is a relais that runs in the test.
type running struct {
	*App
	t    *testing.T
	dir  string
	at   Addresses
	log  *safeBuffer
	stop func()
}

// safeBuffer is what the log is written to.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func writeConfig(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "relais.yaml")
	if err := os.WriteFile(path, []byte("listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs relais on a folder until the test ends or stop is called.
func start(t *testing.T, dir, text string, env map[string]string) *running {
	t.Helper()
	return startWith(t, dir, text, env, func(*Options) {})
}

// startWith starts with other options than most tests want.
func startWith(t *testing.T, dir, text string, env map[string]string, set func(*Options)) *running {
	t.Helper()
	r := &running{t: t, dir: dir, log: &safeBuffer{}}
	ready := make(chan Addresses, 1)
	options := Options{
		Config: writeConfig(t, dir, text), Data: filepath.Join(dir, "data"), Version: "test", Log: r.log,
		Env:        func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		ReadyDelay: time.Nanosecond, Ready: func(where Addresses) { ready <- where },
	}
	set(&options)
	var err error
	if r.App, err = New(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("relais ended with %v\n%s", err, r.log.String())
		}
	})
	t.Cleanup(r.stop)
	select {
	case r.at = <-ready:
	case err := <-ended:
		t.Fatalf("relais did not start: %v\n%s", err, r.log.String())
	}
	return r
}

// estimateStep is Sellsy's webhook of a status change, as a form.
func estimateStep(estimate int64, unique string) []byte {
	notif := fmt.Sprintf(`{"eventType":"docslog","event":"step","timestamp":"1778187955","corpid":"%s","relatedtype":"estimate","relatedid":"%d"}`, unique, estimate)
	return []byte(url.Values{"notif": {notif}}.Encode())
}

// post sends a form to the Sellsy source, signed with key, and returns the answer's status and text.
func (r *running) post(key string, body []byte) (int, string) {
	r.t.Helper()
	digest := sha1.Sum(append([]byte(key), body...))
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.at.Listen+"/webhook/sellsy", bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("X-Webhook-Signature", hex.EncodeToString(digest[:]))
	return r.do(request)
}

// postJSON sends a body to a path of the listener.
func (r *running) postJSON(path, body string) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.at.Listen+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	return r.do(request)
}

func (r *running) get(address string) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.do(request)
}

func (r *running) do(request *http.Request) (int, string) {
	r.t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// sellsySandbox runs a sandbox of Sellsy until the test ends.
func sellsySandbox(t *testing.T, o sandbox.Options) *sandbox.Server {
	t.Helper()
	s, err := sandbox.Serve("", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// until polls for what the test waits for; it fails the test when that doesn't come.
func (r *running) until(what string, holds func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s did not happen\n%s", what, r.log.String())
		}
		<-time.After(2 * time.Millisecond) // another process's or goroutine's progress has no signal to wait on
	}
}

// socketClient talks to a control socket.
func socketClient(path string) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}
}

func readAll(t *testing.T, response *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return string(text)
}
