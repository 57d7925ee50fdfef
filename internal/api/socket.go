package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"relais/internal/core"
)

// SocketName is the socket's name in the data folder.
const SocketName = "relais.sock"

// maxSocketPath is what every system takes: macOS 104 bytes with the final zero, Linux 108.
const maxSocketPath = 103

// Listen opens the data folder's socket, which only the user who runs relais can reach. The caller
// holds the folder's lock: a socket that is there was left by a process that is gone.
func Listen(dataDir string) (net.Listener, error) {
	path, err := socketPath(dataDir)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing the socket that an earlier process left: %w", err)
	}
	listener, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("opening the socket %s: %w", path, err)
	}
	return listener, nil
}

// socketPath is the socket's path, relative to the working directory where the whole path is too long
// for a socket.
func socketPath(dataDir string) (string, error) {
	path := filepath.Join(dataDir, SocketName)
	if len(path) <= maxSocketPath {
		return path, nil
	}
	if dir, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(dir, path); err == nil && len(short) <= maxSocketPath {
			return short, nil
		}
	}
	return "", core.Errorf(core.CodeInvalid, "the path %s is too long for a socket (%d bytes, at most %d): use a shorter data folder", path, len(path), maxSocketPath)
}

// Dial returns a transport that speaks to the server of that data folder, whatever host the request
// names.
func Dial(dataDir string) (*http.Transport, error) {
	path, err := socketPath(dataDir)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
		MaxIdleConns: 2, IdleConnTimeout: time.Minute,
	}, nil
}

// NewServer returns the server for the socket. Its answers have no deadline: a purge reads all events.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
}
