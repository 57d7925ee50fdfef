//go:build linux

package cluster

import (
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestStalledNodesOutcomeIsRefused stops a node's process within an attempt, for longer than its lease, lets
// another node end the delivery, and wakes the first: its outcome, a refusal that would end the delivery as
// dead, must change nothing.
func TestStalledNodesOutcomeIsRefused(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	reached, answer := make(chan struct{}), make(chan struct{})
	r := receive(t, func(call) int {
		if calls.Add(1) > 1 {
			return http.StatusOK
		}
		close(reached)
		<-answer
		return http.StatusBadRequest
	})
	c := newCluster(t)
	routes := "routes:\n" + r.route("stock", "shop/stock", "")
	stalled := c.node("stalled", routes).start()
	stalled.accept(message{Type: "stock", Key: "a", N: 1})
	<-reached
	other := c.node("other", routes).start()
	stalled.signal(syscall.SIGSTOP)
	close(answer)
	c.drained()
	stalled.signal(syscall.SIGCONT)
	stalled.logged("an outcome came too late")

	ends := items[struct {
		ID, State string
		Attempts  int
	}](other, "deliveries", "list")
	if len(ends) != 1 || ends[0].State != "succeeded" {
		t.Errorf("the delivery ended as %+v", ends)
	}
	if n := c.one("SELECT count(*) FROM every_attempt WHERE verdict = 'succeeded' AND node LIKE $1", other.like()); n != 1 {
		t.Errorf("%d attempts of the other node succeeded", n)
	}
	if n := c.one("SELECT count(*) FROM every_attempt WHERE verdict = 'dead'"); n != 0 {
		t.Errorf("the stalled node's outcome was written")
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("the receiver was called %d times", n)
	}

	// The one that was stalled works on as any other.
	other.stop()
	stalled.accept(message{Type: "stock", Key: "a", N: 2})
	c.drained()
	if n := c.one("SELECT count(*) FROM every_attempt WHERE verdict = 'succeeded' AND node LIKE $1", stalled.like()); n != 1 {
		t.Errorf("%d attempts of the node that was stalled succeeded", n)
	}
}
