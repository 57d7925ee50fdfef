package api

import "net"

// listenPrivate relies on the data folder's own access list: Windows has no mode for a socket.
func listenPrivate(path string) (net.Listener, error) {
	return net.Listen("unix", path)
}
