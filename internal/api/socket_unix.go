//go:build unix

package api

import (
	"net"
	"os"
	"path/filepath"
)

// listenPrivate makes the socket in a folder of its own that nobody else can enter, closes it to others,
// and only then moves it to its place: there is no instant at which another user could connect. (A umask
// would do it in one step, and would also change the mode of files that other goroutines make.)
func listenPrivate(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what stays is an empty folder of ours
	made := filepath.Join(dir, "s")
	if len(made) > maxSocketPath {
		made = path
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// The name it is unlinked by at its end is the one that it was made under.
	listener.SetUnlinkOnClose(made == path)
	if err := os.Chmod(made, 0o600); err != nil {
		return nil, closeAfter(listener, err)
	}
	if made == path {
		return listener, nil
	}
	if err := os.Rename(made, path); err != nil {
		return nil, closeAfter(listener, err)
	}
	return unlinking{listener, path}, nil
}

func closeAfter(l net.Listener, err error) error {
	_ = l.Close() // the first error says what went wrong
	return err
}

// unlinking removes the socket when it is closed: a client then sees that no server runs.
type unlinking struct {
	net.Listener
	path string
}

// Addr is where clients find it, not where it was made.
func (u unlinking) Addr() net.Addr { return &net.UnixAddr{Name: u.path, Net: "unix"} }

func (u unlinking) Close() error {
	_ = os.Remove(u.path) // a socket that stays is removed by the next server
	return u.Listener.Close()
}
