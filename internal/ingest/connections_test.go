package ingest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// bounded starts a server that keeps so many connections, and returns its address.
func bounded(t *testing.T, most, mostIdle int) (string, *connections) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := newConnections(most, mostIdle)
	server := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }),
		ConnState: c.changed, ReadHeaderTimeout: time.Minute,
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String(), c
}

// ask sends a request on a new connection, and tells whether the answer came and whether the connection
// stays open after it.
func ask(t *testing.T, address string) (answered bool, conn net.Conn, text *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")) // whether it was read shows in the answer
	text = bufio.NewReader(conn)
	resp, err := http.ReadResponse(text, nil)
	if err != nil {
		return false, conn, text
	}
	_ = resp.Body.Close()
	return true, conn, text
}

func TestOneAddressGetsHalfOfTheConnections(t *testing.T) {
	address, c := bounded(t, 8, 8)
	var kept []net.Conn
	for i := range 6 {
		answered, conn, _ := ask(t, address)
		if answered != (i < 4) {
			t.Errorf("connection %d: answered is %v", i, answered)
		}
		kept = append(kept, conn)
	}
	for _, conn := range kept {
		_ = conn.Close()
	}
	// What is closed counts no more, however it ended.
	for {
		c.mu.Lock()
		left := len(c.open) + len(c.byAddr) + c.idle
		c.mu.Unlock()
		if left == 0 {
			break
		}
		if answered, conn, _ := ask(t, address); answered {
			_ = conn.Close()
		}
	}
}

func TestConnectionsPastTheIdleOnesEndAfterTheirAnswer(t *testing.T) {
	address, c := bounded(t, 100, 2)
	for i := range 4 {
		answered, _, text := ask(t, address)
		if !answered {
			t.Fatalf("connection %d was not answered", i)
		}
		if i < 2 {
			// The server notes that it is idle after its answer has left.
			for idle := -1; idle <= i; <-time.After(time.Millisecond) {
				c.mu.Lock()
				idle = c.idle
				c.mu.Unlock()
			}
			continue
		}
		if _, err := text.ReadByte(); err != io.EOF {
			t.Errorf("connection %d: %v, want it closed after its answer", i, err)
		}
	}
}
