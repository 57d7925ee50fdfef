package once

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// bindSocket makes the kernel give up what it could not deliver within limit, and throw it away when the
// connection is closed, by us or by our death. Without it, bytes that were written during a cut of the
// network could arrive many minutes after the process that wrote them is gone.
func bindSocket(conn *net.TCPConn, limit time.Duration) error {
	if err := conn.SetLinger(0); err != nil {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit/time.Millisecond))
	}); err != nil {
		return err
	}
	return failed
}
