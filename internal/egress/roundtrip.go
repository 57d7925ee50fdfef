package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// roundTripper applies the policy to one request. It stands below http.Client rather than in its
// fields, because http.Client's own timeout replaces the error that says what happened by a text.
type roundTripper Egress

// RoundTrip sends one request. Note that net/http sends a request again by itself when a kept connection
// turns out closed: always when nothing was written, and else only for methods without effect and for
// requests that carry an Idempotency-Key.
func (rt *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	chosen := rt.guardedHTTP
	switch {
	case rt.trusted[origin(req.URL.Scheme, req.URL.Hostname(), req.URL.Port())]:
		chosen = rt.trustedHTTP
	case !guardedPort(req.URL):
		return nil, fail(&AddressError{Host: req.URL.Hostname(), Verdict: VerdictPort}, progress{})
	}
	ctx, cancel := rt.bounded(req.Context())
	watch := newWatch(req)
	resp, err := chosen.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, watch.trace())))
	if err != nil {
		cancel()
		return nil, fail(err, watch.progress())
	}
	if err := refuse(resp, rt.maxResponse); err != nil {
		_ = resp.Body.Close() // the refusal is what the caller must hear
		cancel()
		return nil, fail(err, progress{connected: true})
	}
	resp.Body = &cappedBody{body: resp.Body, left: rt.maxResponse, cancel: cancel}
	return resp, nil
}

// bounded is a context that ends after the timeout at the latest. One that ends sooner anyway is taken as it
// is: a second timer would never fire.
func (rt *roundTripper) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= rt.timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, rt.timeout)
}

func refuse(resp *http.Response, limit int64) error {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return &redirectError{status: resp.StatusCode}
	}
	if resp.ContentLength > limit {
		return errTooLarge
	}
	return nil
}

// progress is how far a call came.
type progress struct {
	connected bool // a connection was given to the request: bytes may have left
	handshake bool // TLS failed
}

// watch follows a call. The hooks are called from several goroutines.
type watch struct {
	replayable bool
	connected  atomic.Bool
	handshake  atomic.Bool
}

func newWatch(req *http.Request) *watch {
	w := &watch{}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		w.replayable = true
	default:
		_, key := req.Header["Idempotency-Key"]
		_, xkey := req.Header["X-Idempotency-Key"]
		w.replayable = key || xkey
	}
	return w
}

func (w *watch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) {
			// Asking for another connection, for a request that net/http may not replay, means that
			// the first one took no byte.
			if !w.replayable {
				w.connected.Store(false)
			}
		},
		GotConn: func(httptrace.GotConnInfo) { w.connected.Store(true) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err != nil {
				w.handshake.Store(true)
			}
		},
	}
}

func (w *watch) progress() progress {
	return progress{connected: w.connected.Load(), handshake: w.handshake.Load()}
}

// cappedBody ends with errTooLarge instead of cutting, and ends the call's deadline when it is closed.
type cappedBody struct {
	body   io.ReadCloser
	left   int64
	cancel context.CancelFunc
	once   sync.Once
	err    error
}

func (b *cappedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	// One byte more than is left tells a body that ends at the cap from one that goes on.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.body.Read(p)
	if int64(n) > b.left {
		n, err = int(b.left), errTooLarge
	}
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fail(err, progress{connected: true})
	}
	b.err = err
	return n, err
}

func (b *cappedBody) Close() error {
	err := b.body.Close()
	b.once.Do(b.cancel)
	return err
}
