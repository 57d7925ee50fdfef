package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// conn is a persistent HTTP/1.1 connection that understands only what a webhook's answer is made of: a
// status and a body of known length. Anything more would be paid for on the cores that the server under
// test needs.
type conn struct {
	address string
	from    netip.Addr // the local address; zero lets the system choose
	until   time.Time  // a hang of the server must not hang the run
	net     net.Conn
	forget  func() bool // stops the watch on the context
	buffer  []byte
}

var errAnswer = errors.New("the answer is not understood")

func (c *conn) dial(ctx context.Context) error {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	if c.from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 0))
	}
	dialed, err := dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return fmt.Errorf("connect to the server under test: %w", err)
	}
	c.net = dialed
	c.forget = context.AfterFunc(ctx, func() { _ = dialed.Close() }) // a cancelled run waits for no answer
	if c.buffer == nil {
		c.buffer = make([]byte, 8192)
	}
	return c.net.SetDeadline(c.until)
}

func (c *conn) close() {
	if c.net != nil {
		c.forget()
		_ = c.net.Close() // nothing is unsent
		c.net = nil
	}
}

// exchange sends a request and returns the answer's status. After an error, or when the server asked
// for it, the next exchange dials again.
func (c *conn) exchange(ctx context.Context, request []byte) (int, error) {
	if c.net == nil {
		if err := c.dial(ctx); err != nil {
			return 0, err
		}
	}
	status, last, err := c.talk(request)
	if err != nil || last {
		c.close()
	}
	return status, err
}

func (c *conn) talk(request []byte) (status int, last bool, err error) {
	if _, err := c.net.Write(request); err != nil {
		return 0, true, fmt.Errorf("send: %w", err)
	}
	have := 0
	for {
		n, err := c.net.Read(c.buffer[have:])
		if err != nil {
			return 0, true, fmt.Errorf("receive: %w", err)
		}
		have += n
		head, _, found := bytes.Cut(c.buffer[:have], []byte("\r\n\r\n"))
		if !found {
			if have == len(c.buffer) {
				return 0, true, errAnswer
			}
			continue
		}
		status, length, last, err := readHead(head)
		if err != nil {
			return 0, true, err
		}
		for have < len(head)+4+length {
			n, err := c.net.Read(c.buffer) // the body isn't looked at
			if err != nil {
				return 0, true, fmt.Errorf("receive: %w", err)
			}
			have += n
		}
		return status, last, nil
	}
}

// readHead reads the status, the body's length, and whether the connection ends with it.
func readHead(head []byte) (status, length int, last bool, err error) {
	line, fields, _ := bytes.Cut(head, []byte("\r\n"))
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, 0, false, errAnswer
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, false, errAnswer
	}
	known := status == 204 || status == 304
	for len(fields) > 0 {
		var field []byte
		field, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(field, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, 0, false, errAnswer
			}
			known = true
		case bytes.EqualFold(name, []byte("Connection")):
			last = bytes.EqualFold(value, []byte("close"))
		}
	}
	if !known {
		return 0, 0, false, errAnswer
	}
	return status, length, last, nil
}
