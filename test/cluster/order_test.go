//go:build linux

package cluster

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	orderedKeys    = 1000
	orderedUpdates = 5 // of each key
	queued         = 300
	orderSenders   = 24
)

// TestLastUpdateWinsThroughRetriesAndATakeOver sends updates of many keys, each key's in order, to two nodes
// of which one is killed in the middle, to a receiver that is slow and fails at random; and a queue that is
// strictly ordered beside them.
func TestLastUpdateWinsThroughRetriesAndATakeOver(t *testing.T) {
	t.Parallel()
	r := receive(t, func(call) int {
		<-time.After(time.Duration(rand.Int64N(int64(8 * time.Millisecond))))
		if rand.IntN(10) == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	c := newCluster(t)
	routes := "routes:\n" + r.route("stock", "shop/stock", "    order_by: \"${{ event.data.key }}\"\n    window: 48\n") +
		r.route("queue", "shop/queue", "    fifo: true\n")
	kept, killed := c.node("kept", routes).start(), c.node("killed", routes).start()
	s := &ordered{kept: kept, killed: killed}
	s.run(t)
	c.drained()

	if len(r.overlap) > 0 {
		t.Errorf("%d calls ran beside another of their order, such as %v", len(r.overlap), r.overlap[:min(5, len(r.overlap))])
	}
	if dead := c.one("SELECT count(*) FROM delivery_done WHERE state <> 2"); dead > 0 {
		t.Errorf("%d deliveries did not succeed", dead)
	}
	stock, queue := r.took("stock"), r.took("queue")
	repeated := inOrder(t, stock, orderedKeys, orderedUpdates) + inOrder(t, queue, 1, queued)
	if repeated > s.takenOver {
		t.Errorf("%d updates were taken twice, and only %d ran where the node was killed", repeated, s.takenOver)
	}
	t.Logf("%d attempts, %d taken over, %d taken twice", r.begunCount(), s.takenOver, repeated)
}

// ordered sends each key's updates one after the other.
type ordered struct {
	kept, killed *node
	gone         atomic.Bool
	sent         atomic.Int64
	takenOver    int
}

func (s *ordered) run(t *testing.T) {
	t.Helper()
	var senders sync.WaitGroup
	for i := range orderSenders {
		senders.Go(func() {
			for key := i; key < orderedKeys; key += orderSenders {
				s.sendAll(t, "stock", fmt.Sprintf("key-%d", key), orderedUpdates)
			}
		})
	}
	senders.Go(func() { s.sendAll(t, "queue", "queue", queued) })
	until(t, "half of the updates were sent", func() bool { return s.sent.Load() >= orderedKeys*orderedUpdates/2 })
	s.killWithinAttempts()
	senders.Wait()
}

func (s *ordered) sendAll(t *testing.T, kind, key string, updates int) {
	for n := 1; n <= updates; n++ {
		to := s.kept
		if n%2 == 0 && !s.gone.Load() {
			to = s.killed
		}
		status, _ := to.send(message{Type: kind, Key: key, N: n})
		if status == 0 && to == s.killed {
			// Perhaps stored and perhaps not: the same message again is a repeat, or the first.
			status, _ = s.kept.send(message{Type: kind, Key: key, N: n})
		}
		if status != http.StatusOK {
			t.Errorf("update %d of %s was answered with %d", n, key, status)
			return
		}
		s.sent.Add(1)
	}
}

// killWithinAttempts kills the node while deliveries run there.
func (s *ordered) killWithinAttempts() {
	c := s.kept.c
	for {
		s.killed.signal(syscall.SIGSTOP)
		s.takenOver = c.one("SELECT count(*) FROM delivery WHERE state = 1 AND node LIKE $1", s.killed.like())
		if s.takenOver >= 3 {
			break
		}
		s.killed.signal(syscall.SIGCONT)
		<-time.After(pollEach)
	}
	s.gone.Store(true)
	s.killed.kill()
}

// inOrder checks that each key's updates were taken in their order, the newest last, and returns how many
// were taken again.
func inOrder(t *testing.T, calls []call, keys, updates int) (repeated int) {
	t.Helper()
	last := map[string]int{}
	for _, c := range calls {
		switch before := last[c.Key]; {
		case c.N == before:
			repeated++
		case c.N != before+1:
			t.Errorf("%s: update %d of %s was taken after update %d", c.route, c.N, c.Key, before)
		}
		last[c.Key] = c.N
	}
	if len(last) != keys {
		t.Errorf("%d of %d keys were updated", len(last), keys)
	}
	for key, n := range last {
		if n != updates {
			t.Errorf("the last update of %s is %d of %d", key, n, updates)
		}
	}
	return repeated
}
