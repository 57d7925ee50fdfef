package ingest

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Bounds of connections. What a connection costs is there before its first request is, and so before
// any other limit looks at it.
const (
	maxConns = 8192
	// maxIdleConns may wait for another request: keeping one open is a courtesy, which ends first.
	maxIdleConns = 2048
)

// connections bounds a server's connections, and each address's to half of them.
type connections struct {
	most, mostIdle int

	mu     sync.Mutex
	open   map[net.Conn]*connection
	idle   int
	byAddr map[netip.Addr]int
}

type connection struct {
	key  netip.Addr
	idle bool
}

func newConnections(most, mostIdle int) *connections {
	return &connections{most: most, mostIdle: mostIdle, open: map[net.Conn]*connection{}, byAddr: map[netip.Addr]int{}}
}

// changed is a server's ConnState: it closes what is too much.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	var keep bool
	if state == http.StateNew {
		keep = c.opened(conn, connKey(conn))
	} else {
		keep = c.went(conn, state)
	}
	if !keep {
		_ = conn.Close() // its server meets the closed connection, and lets go of it
	}
}

func (c *connections) opened(conn net.Conn, key netip.Addr) (keep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most || c.byAddr[key] >= max(1, c.most/2) {
		return false
	}
	c.open[conn] = &connection{key: key}
	c.byAddr[key]++
	return true
}

func (c *connections) went(conn net.Conn, state http.ConnState) (keep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.open[conn]
	if known == nil {
		return true // it was refused, and is on its way out
	}
	if known.idle {
		known.idle = false
		c.idle--
	}
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
		if c.byAddr[known.key]--; c.byAddr[known.key] == 0 {
			delete(c.byAddr, known.key)
		}
	case http.StateIdle:
		known.idle = true
		c.idle++
		return c.idle <= c.mostIdle
	}
	return true
}

func connKey(conn net.Conn) netip.Addr {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return limitKey(peer.Addr().Unmap())
}
