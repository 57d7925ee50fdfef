package ingest

import (
	"net/http"
	"time"

	"relais/internal/config"
)

// commitBound ends the wait for one transaction: past it its outcome is unknown and the answer is 503.
const commitBound = 15 * time.Second

// Bound sets a server's timeouts, header size and number of connections so that nobody holds a
// connection by being slow, or all of them: a request, body included, is received within the body
// timeout, or answered with 408.
func Bound(server *http.Server, bounds config.Ingest) {
	bounds = withDefaults(bounds)
	server.ReadHeaderTimeout = min(5*time.Second, bounds.BodyTimeout)
	server.ReadTimeout = bounds.BodyTimeout
	// From the header's end: the body, two commits (one that runs and one that takes this event), the answer.
	server.WriteTimeout = bounds.BodyTimeout + 2*commitBound + 10*time.Second
	server.IdleTimeout = 2 * time.Minute
	// 16 KiB with the 4 that net/http adds, as many servers take no more. Short lines of a header take up
	// sixteen times their bytes, before anything is known of who sends them.
	server.MaxHeaderBytes = 12 << 10
	server.ConnState = newConnections(maxConns, maxIdleConns).changed
}
