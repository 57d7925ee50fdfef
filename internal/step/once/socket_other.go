//go:build !linux

package once

import (
	"net"
	"time"
)

// bindSocket throws away what wasn't delivered when the connection is closed. How long the kernel tries
// before that can't be told to it here.
func bindSocket(conn *net.TCPConn, _ time.Duration) error { return conn.SetLinger(0) }
