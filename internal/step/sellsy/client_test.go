package sellsy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/sandbox"
	"relais/internal/step"
	"relais/internal/step/once"
	"relais/internal/step/once/oncetest"
	"relais/internal/step/rest"
)

func TestManyCallersAskForOneToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, oncetest.NewMemory(), sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		b.misbehave("POST /oauth2/access-tokens delay=2s")
		read := func() {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if _, err := b.account.client.estimate(t.Context(), id); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}
		read()
		if n := b.sellsy.TokensIssued(); n != 1 {
			t.Errorf("50 callers asked for %d tokens", n)
		}
		b.sellsy.RevokeTokens() // each of the 50 gets a 401 and wants a new one
		read()
		if n := b.sellsy.TokensIssued(); n != 2 {
			t.Errorf("after the first token was refused there were %d", n)
		}
	})
}

func TestACallerWhoGivesUpDoesNotTakeTheTokenFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, oncetest.NewMemory(), sandbox.Options{})
		id := b.estimate(sandbox.Estimate{})
		b.misbehave("POST /oauth2/access-tokens delay=2s")
		first, stop := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := b.account.client.estimate(first, id)
			gone <- err
		}()
		synctest.Wait() // the first has started the flight
		second := make(chan error, 1)
		go func() {
			_, err := b.account.client.estimate(t.Context(), id)
			second <- err
		}()
		synctest.Wait()
		stop()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the first ended with %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("the second ended with %v", err)
		}
	})
}

func TestTokensAreRenewedBeforeTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, oncetest.NewMemory(), sandbox.Options{TokenLifetime: time.Hour})
		id := b.estimate(sandbox.Estimate{})
		path := fmt.Sprintf("/v2/estimates/%d", id)
		start := time.Now()
		for calls, at := range []time.Duration{0, 58 * time.Minute, 59*time.Minute + time.Second} {
			pass(at - time.Since(start))
			if _, err := b.account.client.estimate(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if got := b.sellsy.Requests("GET", path); got != calls+1 {
				t.Errorf("call %d took %d requests: a token was used until it was refused", calls, got)
			}
		}
		if n := b.sellsy.TokensIssued(); n != 2 {
			t.Errorf("%d tokens: one for 59 minutes, and one a minute before it ends", n)
		}
	})
}

func TestFailuresAreTold(t *testing.T) {
	for _, test := range []struct {
		fault       string
		disposition step.Disposition
		reason      core.Reason
		after       time.Duration
		says        string
	}{
		{"GET /v2/estimates/* times=1 status=401", -1, "", 0, ""},
		{"GET /v2/estimates/* status=401", step.Retry, core.ReasonAuth, 0, "mend the connection's secrets"},
		{"POST /oauth2/access-tokens status=401", step.Retry, core.ReasonAuth, 0, "client_id and client_secret"},
		{"POST /oauth2/access-tokens status=502", step.Retry, core.ReasonStatus, 0, "502"},
		{"GET /v2/estimates/* status=403", step.Final, core.ReasonAuth, 0, "scopes estimates.read"},
		{"GET /v2/estimates/* status=404", step.Final, core.ReasonStatus, 0, "404"},
		{"GET /v2/estimates/* status=402", step.Final, core.ReasonStatus, 0, "402"},
		{"GET /v2/estimates/* status=408", step.Retry, core.ReasonStatus, 0, "408"},
		{"GET /v2/estimates/* status=429 retry_after=7s", step.Retry, core.ReasonRateLimited, 7 * time.Second, "429"},
		{"GET /v2/estimates/* status=429", step.Retry, core.ReasonRateLimited, time.Second, "429"}, // by the quota's header
		{"GET /v2/estimates/* status=500", step.Retry, core.ReasonStatus, 0, "500"},
		{"GET /v2/estimates/* status=503", step.Retry, core.ReasonMaintenance, 30 * time.Minute, "503"},
		{"GET /v2/estimates/* status=503 retry_after=90s", step.Retry, core.ReasonMaintenance, 90 * time.Second, "503"},
		{"GET /v2/estimates/* delay=31s", step.Retry, core.ReasonTimeout, 0, "in time"},
		{"GET /v2/estimates/* drop_answer", step.Retry, core.ReasonReset, 0, "broke"},
	} {
		t.Run(test.fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, oncetest.NewMemory(), sandbox.Options{})
				id := b.estimate(sandbox.Estimate{})
				b.misbehave(test.fault)
				result, err := b.attempt(b.book.Hold(t, b.book.Deliver(t)), b.account, with(id))
				if test.disposition < 0 {
					if err != nil || result["status"] != statusCreated {
						t.Errorf("ended with %v, %v", result, err)
					}
					return
				}
				var f *step.Failure
				if !errors.As(err, &f) {
					t.Fatalf("ended with %v, %v", result, err)
				}
				if f.Disposition != test.disposition || f.Reason != test.reason || f.After != test.after || !strings.Contains(f.Message, test.says) {
					t.Errorf("got %v %s after %v: %s", f.Disposition, f.Reason, f.After, f.Message)
				}
				if strings.Contains(f.Message, "sandbox-secret") {
					t.Errorf("the message shows the secret: %s", f.Message)
				}
			})
		})
	}
}

func TestSellsysMessageIsShownShortAndWithoutSecrets(t *testing.T) {
	api := rest.API{System: &system, Secrets: []string{"s3cret"}}
	response := &http.Response{StatusCode: 400, Header: http.Header{}}
	e := api.NewError(response, []byte(`{"error":{"code":400,"message":"Validation failed\u0000\n for s3cret","details":{"rows[0].tax_id":"unknown","b":["x"]}}}`))
	if want := `Sellsy answered 400: Validation failed   for [secret]; b: ["x"]; rows[0].tax_id: unknown`; e.Error() != want {
		t.Errorf("got  %q\nwant %q", e, want)
	}
	e = api.NewError(response, []byte(`{"error":{"message":"`+strings.Repeat("é", 5000)+`"}}`))
	if len(e.Message) > rest.MaxMessage+4 {
		t.Errorf("%d bytes of message", len(e.Message))
	}
	for _, odd := range []string{"", "<html>", `{"error":"x"}`, `{"error":{"message":"m","details":[1]}}`, "null"} {
		if e := api.NewError(response, []byte(odd)); e.Message == "" {
			t.Errorf("%q gave no message", odd)
		}
	}
}

func TestConnectionSettings(t *testing.T) {
	secret := config.NewSecret("x")
	for _, test := range []struct {
		name     string
		settings map[string]any
		says     string // "" when it is right
	}{
		{"client", map[string]any{"client_id": "a", "client_secret": secret}, ""},
		{"token", map[string]any{"personal_token": secret}, ""},
		{"nothing", map[string]any{}, "client_id and client_secret are missing"},
		{"half", map[string]any{"client_id": "a", "personal_token": secret}, "go together"},
		{"settle too short", map[string]any{"personal_token": secret, "settle": time.Minute}, "more than twice"},
		{"no timeout", map[string]any{"personal_token": secret, "request_timeout": time.Duration(0)}, "more than 0"},
	} {
		_, err := ConnectionKind(http.DefaultClient).Open(test.settings)
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	for address, ok := range map[string]bool{
		"https://api.sellsy.com/v2": true, "http://127.0.0.1:8080/v2": true, "http://localhost/v2": true, "http://[::1]:1/v2": true,
		"http://api.sellsy.com/v2": false, "api.sellsy.com": false, "https://u:p@api.sellsy.com": false, "ftp://x": false, "https://x/?a=b": false,
	} {
		if err := checkURL(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	for base, token := range map[string]string{
		"":                          defaultTokenURL,
		"https://api.sellsy.com/v2": defaultTokenURL,
		"http://127.0.0.1:9/v2":     "http://127.0.0.1:9/oauth2/access-tokens",
	} {
		if _, got := addresses(map[string]any{"base_url": base}); got != token {
			t.Errorf("tokens for %q come from %q", base, got)
		}
	}
	if got := fmt.Sprint(hosts(nil)); got != "[https://api.sellsy.com https://login.sellsy.com]" {
		t.Errorf("hosts: %s", got)
	}
}

// TestOverRealSockets runs the whole step through egress and TCP, with a body that is held back until its
// last byte.
func TestOverRealSockets(t *testing.T) {
	server, err := sandbox.Serve("", sandbox.Options{PersonalToken: "token"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	out, err := egress.New(egress.Options{Trusted: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := ConnectionKind(out.Client()).Open(map[string]any{"base_url": server.URL + "/v2", "personal_token": "token"})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, sellsy: server.Sandbox, book: oncetest.NewMemory(), account: opened.(*Connection)}
	id := b.estimate(sandbox.Estimate{})
	result, err := b.attempt(b.book.Hold(t, b.book.Deliver(t)), b.account, map[string]any{"estimate": fmt.Sprint(id), "validate": true})
	if err != nil || result["status"] != statusCreated || result["validated"] != true || result["invoice_status"] != "due" || result["number"] == "" {
		t.Errorf("ended with %v, %v", result, err)
	}
	if made := b.invoices(id); len(made) != 1 {
		t.Errorf("invoices: %v", made)
	}

	// A process that was stopped while the request was on its way: the last byte doesn't leave, whatever
	// did before.
	stopped := b.estimate(sandbox.Estimate{})
	var skew atomic.Int64
	b.account.rules.Clock = func() time.Duration { return once.Clock() + time.Duration(skew.Load()) }
	b.account.rules.Hook = func(p Point) error {
		if p == PointLastByte {
			skew.Add(int64(time.Hour))
		}
		return nil
	}
	_, err = b.attempt(b.book.Hold(t, b.book.Deliver(t)), b.account, with(stopped))
	var f *step.Failure
	if !errors.As(err, &f) || f.Reason != core.ReasonInterrupted || len(b.invoices(stopped)) != 0 {
		t.Errorf("ended with %v, invoices %v", err, b.invoices(stopped))
	}
}

func TestTheClockGoesOn(t *testing.T) {
	before := once.Clock()
	timer := time.NewTimer(5 * time.Millisecond)
	<-timer.C
	if passed := once.Clock() - before; passed < 5*time.Millisecond || passed > time.Minute {
		t.Errorf("5 ms took %v", passed)
	}
}

// TestARequestIsNeverSentTwiceBehindOurBack: the server closes kept connections, which makes net/http send
// a request again where it may.
func TestARequestIsNeverSentTwiceBehindOurBack(t *testing.T) {
	var posts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				posts.Add(1)
			}
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte("{}"))
	}))
	defer server.Close()
	c := &client{api: rest.API{System: &system, HTTP: server.Client(), Base: server.URL, Timeout: time.Minute}, tokens: &tokens{current: "t"}}
	var out map[string]any
	if err := c.read(t.Context(), http.MethodGet, "/warm", nil, &out); err != nil {
		t.Fatal(err)
	}
	f := once.NewFence(once.Clock, once.Clock()+time.Minute, time.Minute)
	err := c.call(t.Context(), http.MethodPost, "/invoices", []byte(`{"a":1}`), f, &out)
	if err == nil || !f.Released() || posts.Load() != 1 {
		t.Errorf("ended with %v, released %v, posts %d", err, f.Released(), posts.Load())
	}
}
