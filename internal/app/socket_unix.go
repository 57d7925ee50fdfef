//go:build unix

package app

import (
	"net"
	"os"
)

// listenPrivately listens on a socket that only this user can open. The data folder itself is 0700, so
// there is no moment at which another user could.
func listenPrivately(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}
