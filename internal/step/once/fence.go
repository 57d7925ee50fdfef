package once

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// Fence keeps a request from leaving later than its effect's entry in the ledger allows. A timer can't do
// that: when a process that was stopped goes on, the goroutine that writes may run before the timer's. So
// the clock is read as near to the write as the standard library lets us: where the body's last byte is
// produced. Until that byte, the other system has no complete request.
type Fence struct {
	clock func() time.Duration
	until time.Duration
	limit time.Duration // of the request
	hook  func() error  // before the last byte's check; nil outside of tests
	// released tells that the last byte was given away, and that it wasn't refused: what was asked for may
	// have been done.
	released atomic.Bool
}

// ErrStalled says that nothing was sent, because the process was stopped or very slow.
var ErrStalled = errors.New("this process was stopped or very slow between the ledger and the request: nothing was sent")

// NewFence returns a fence that lets a request of at most that length through until the clock says until.
func NewFence(clock func() time.Duration, until, limit time.Duration) *Fence {
	return &Fence{clock: clock, until: until, limit: limit}
}

// Wrap puts the request's body behind the fence.
func (f *Fence) Wrap(request *http.Request, body []byte) *http.Request {
	// Without GetBody, net/http can't send the body a second time behind our back.
	request.Body, request.GetBody = io.NopCloser(&fencedBody{fence: f, data: body}), nil
	f.released.Store(false)
	return request.WithContext(httptrace.WithClientTrace(request.Context(), f.trace()))
}

// Refused notes that the other system said no: nothing was done.
func (f *Fence) Refused() { f.released.Store(false) }

// Released tells whether what was asked for may have been done.
func (f *Fence) Released() bool { return f.released.Load() }

func (f *Fence) check() error {
	if f.clock() > f.until {
		return ErrStalled
	}
	return nil
}

// trace binds the sockets that the request gets.
func (f *Fence) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		conn := info.Conn
		if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
			conn = wrapped.NetConn()
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = bindSocket(tcp, f.limit) // a socket that can't be bound still obeys the deadline of this process
		}
	}}
}

// fencedBody is a request's body whose last byte stands behind the fence.
type fencedBody struct {
	fence *Fence
	data  []byte
}

func (b *fencedBody) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(b.data) > 1 {
		n := copy(p, b.data[:len(b.data)-1])
		b.data = b.data[n:]
		return n, nil
	}
	if b.fence.hook != nil {
		if err := b.fence.hook(); err != nil {
			return 0, err
		}
	}
	if err := b.fence.check(); err != nil {
		return 0, err
	}
	b.fence.released.Store(true)
	p[0] = b.data[0]
	b.data = nil
	return 1, io.EOF
}
