package sellsy

import (
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// fence keeps a request from leaving later than its effect's entry in the ledger allows. A timer can't do
// that: when a process that was stopped goes on, the goroutine that writes may run before the timer's. So
// the clock is read as near to the write as the standard library lets us: where the body's last byte is
// produced. Until that byte, Sellsy has no complete request.
type fence struct {
	clock func() time.Duration
	until time.Duration
	hook  func() error // before the last byte's check; nil outside of tests
	// released tells that the last byte was given away, and that Sellsy didn't refuse it: what was asked
	// for may have been done.
	released atomic.Bool
}

var errStalled = errors.New("this process was stopped or very slow between the ledger and the request: nothing was sent")

func (f *fence) check() error {
	if f.clock() > f.until {
		return errStalled
	}
	return nil
}

// trace binds the sockets that the request gets.
func (f *fence) trace(limit time.Duration) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		conn := info.Conn
		if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
			conn = wrapped.NetConn()
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = bindSocket(tcp, limit) // a socket that can't be bound still obeys the deadline of this process
		}
	}}
}

// fencedBody is a request's body whose last byte stands behind the fence.
type fencedBody struct {
	fence *fence
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
