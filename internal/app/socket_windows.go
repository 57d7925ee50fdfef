package app

import "net"

// listenPrivately listens on a socket in the data folder, which has the folder's access list.
func listenPrivately(path string) (net.Listener, error) { return net.Listen("unix", path) }
