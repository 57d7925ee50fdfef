//go:build unix

package pgtest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"
)

// Line is a network between a node and its database, which a test may break. It breaks for the programs
// only: the systems at both ends still acknowledge what is sent, so that a node notices by deadlines of its
// own and not by TCP's.
type Line struct {
	to       string
	listener net.Listener
	running  sync.WaitGroup
	dialing  context.Context //nolint:containedctx // ends with the line
	hangUp   context.CancelFunc

	turn    sync.Mutex // held by whoever changes the state, until the change is complete
	mu      sync.Mutex
	changed *sync.Cond
	state   state
	writing int // writes that began while the line was open
	pairs   map[*pair]struct{}
}

type state int

const (
	open state = iota
	cut
	held
	closed
)

// pair is a connection from a client and the one that carries it on.
type pair struct {
	client, server net.Conn
	torn           bool // it lost bytes, or an end, and can't go on
}

// Relay listens on 127.0.0.1 and carries connections on to an address, host:port, or to the one in a
// database's URL, until the test ends.
func Relay(t testing.TB, to string) *Line {
	t.Helper()
	if u, err := url.Parse(to); err == nil && u.Host != "" {
		to = u.Host
		if u.Port() == "" {
			to = net.JoinHostPort(u.Hostname(), "5432")
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("pgtest: relay: %v", err)
	}
	l := &Line{to: to, listener: listener, pairs: map[*pair]struct{}{}}
	l.dialing, l.hangUp = context.WithCancel(context.Background())
	l.changed = sync.NewCond(&l.mu)
	l.running.Go(l.accept)
	t.Cleanup(l.close)
	return l
}

// Addr is where the line begins, as host:port.
func (l *Line) Addr() string { return l.listener.Addr().String() }

// URL is a database's URL, through the line.
func (l *Line) URL(database string) string {
	u, err := url.Parse(database)
	if err != nil {
		return database // whoever connects says what is wrong with it
	}
	u.Host = l.Addr()
	return u.String()
}

// Cut loses every byte from now on, in both directions, and says so to nobody. New connections get no
// answer. When it returns, nothing passes.
func (l *Line) Cut() { l.set(cut) }

// Hold is as Cut to both sides, but what is sent is kept, and arrives when the line is healed: the late
// write of a node that everybody thought dead.
func (l *Line) Hold() { l.set(held) }

// Heal lets bytes pass again. A connection that lost some is reset, since what follows a gap isn't what
// was sent; one that was silent meanwhile goes on, and those that waited are made.
func (l *Line) Heal() {
	l.set(open)
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		if p.torn {
			p.reset()
		}
	}
}

// set changes the state and returns when no write of the former state goes on. One that is stuck,
// because nobody reads at the other side, is broken off.
func (l *Line) set(to state) {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = to
	l.changed.Broadcast()
	if to == open {
		return
	}
	l.deadline(time.Unix(1, 0))
	for l.writing > 0 {
		l.changed.Wait()
	}
	l.deadline(time.Time{})
}

func (l *Line) deadline(at time.Time) {
	for p := range l.pairs {
		_ = p.client.SetWriteDeadline(at) // a closed connection needs none
		_ = p.server.SetWriteDeadline(at)
	}
}

func (l *Line) close() {
	_ = l.listener.Close() // accept ends with it
	l.hangUp()
	l.set(closed)
	l.mu.Lock()
	for p := range l.pairs {
		p.reset()
	}
	l.mu.Unlock()
	l.running.Wait()
}

func (l *Line) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.carry(client) })
	}
}

// carry takes a connection on once the line is open, and both its directions until they end.
func (l *Line) carry(client net.Conn) {
	defer func() { _ = client.Close() }()
	if !l.await() {
		return
	}
	server, err := (&net.Dialer{}).DialContext(l.dialing, "tcp", l.to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	p := &pair{client: client, server: server}
	l.mu.Lock()
	l.pairs[p] = struct{}{}
	if l.state == closed {
		p.reset()
	}
	l.mu.Unlock()
	var directions sync.WaitGroup
	directions.Go(func() { l.pump(p, client, server) })
	directions.Go(func() { l.pump(p, server, client) })
	directions.Wait()
	l.mu.Lock()
	delete(l.pairs, p)
	l.mu.Unlock()
}

// await returns when the line is open, and says whether it ever will be.
func (l *Line) await() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.state == cut || l.state == held {
		l.changed.Wait()
	}
	return l.state == open
}

func (l *Line) pump(p *pair, from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !l.pass(p, to, buf[:n]) {
			return
		}
		if err != nil {
			l.finish(p, to, err)
			return
		}
	}
}

// pass writes what was read, or loses it. It says whether the connection goes on.
func (l *Line) pass(p *pair, to net.Conn, bytes []byte) bool {
	if !l.enter(p) {
		return true
	}
	n, err := to.Write(bytes)
	for errors.Is(err, os.ErrDeadlineExceeded) {
		// The line changed in the middle of a write.
		l.leave()
		if bytes = bytes[n:]; !l.enter(p) {
			return true
		}
		n, err = to.Write(bytes)
	}
	l.leave()
	if err != nil {
		p.reset()
		return false
	}
	return true
}

// finish carries the end of one direction on: it is as much of the stream as its bytes are.
func (l *Line) finish(p *pair, to net.Conn, err error) {
	if !l.enter(p) {
		return
	}
	defer l.leave()
	if half, ok := to.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
		_ = half.CloseWrite() // the other side may have gone first
		return
	}
	p.reset()
}

// enter waits until a write may begin; it may not on a line that is cut.
func (l *Line) enter(p *pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.state == held {
		l.changed.Wait()
	}
	if l.state != open || p.torn {
		p.torn = true
		return false
	}
	l.writing++
	return true
}

func (l *Line) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing--
	l.changed.Broadcast()
}

// reset ends both connections as a network does that knows nothing of them any more.
func (p *pair) reset() {
	for _, conn := range []net.Conn{p.client, p.server} {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}
