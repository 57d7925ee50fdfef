package lane

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// gauge counts what runs at once.
type gauge struct {
	mu       sync.Mutex
	now, max int
}

func (g *gauge) around(r runnerFunc) runnerFunc {
	return func(ctx context.Context, c *store.Claimed) store.Outcome {
		g.add(1)
		defer g.add(-1)
		return r(ctx, c)
	}
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.max = max(g.max, g.now)
}

func (g *gauge) highest() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.max
}

func (g *gauge) current() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func hangers(b *bench, n, each int, g *gauge) {
	for i := range n {
		dest := route(fmt.Sprintf("hangs-%d", i))
		b.set(dest, Settings{}, g.around(hang))
		for range each {
			b.store.add(dest, 0)
		}
	}
}

func TestDeadDestinationsDelayNobodyElse(t *testing.T) {
	for _, c := range []struct {
		name    string
		running int
		hanging int
	}{
		{"with room for all windows", 2048, 50},
		{"with room for one each", 64, 40},
		{"with more of them than room", 64, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			var hung gauge
			healthy := route("healthy")
			inBubble(t, Options{Alone: true, Bounds: Bounds{Running: c.running}}, func(b *bench) {
				b.set(healthy, Settings{}, takes(time.Millisecond))
				b.store.add(healthy, 0)
			}, func(b *bench) {
				pass(time.Second) // it has shown that it answers
				b.expect(core.StateSucceeded, 1)
				hangers(b, c.hanging, 40, &hung)
				b.lanes.Wake()
				pass(time.Second)
				if hung.current() == 0 {
					t.Fatal("nothing hangs: the test shows nothing")
				}
				for range 20 {
					b.send(healthy, 50)
					pass(time.Second)
				}
				// 1,000 deliveries in 21 s, of attempts that hang for 5 min.
				b.expect(core.StateSucceeded, 1001)
				if hung.highest() > c.running {
					t.Errorf("%d attempts at once, of %d", hung.highest(), c.running)
				}
			})
		})
	}
}

// A claim that went around all lanes that have no room would cost a healthy destination dearly.
func TestClaimsPassOverLanesWithoutRoom(t *testing.T) {
	const hanging, deliveries = 500, 50
	var hung gauge
	healthy := route("healthy")
	inBubble(t, Options{Alone: true, Bounds: Bounds{Running: 64, Timeout: time.Minute}}, func(b *bench) {
		b.set(healthy, Settings{}, takes(time.Millisecond))
		b.store.add(healthy, 0)
	}, func(b *bench) {
		pass(time.Second)
		hangers(b, hanging, 4, &hung)
		b.lanes.Wake()
		pass(3 * time.Minute) // some have timed out, others wait for their first attempt
		before := b.asked
		for range deliveries {
			b.send(healthy, 1)
			pass(time.Millisecond)
		}
		pass(time.Millisecond)
		b.expect(core.StateSucceeded, 1+deliveries)
		if n := b.asked - before; n > 20*deliveries {
			t.Errorf("%d lanes were visited for %d deliveries beside %d that hang", n, deliveries, hanging)
		}
	})
}

func TestVerySlowDestinationsThatSucceedDelayNobodyElse(t *testing.T) {
	var slow gauge
	healthy := route("healthy")
	inBubble(t, Options{Alone: true, Bounds: Bounds{Running: 64}}, func(b *bench) {
		b.set(healthy, Settings{}, takes(time.Millisecond))
		b.store.add(healthy, 0)
	}, func(b *bench) {
		pass(time.Second)
		for i := range 200 {
			dest := route(fmt.Sprintf("slow-%d", i))
			b.set(dest, Settings{}, slow.around(takes(30*time.Second)))
			for range 40 {
				b.store.add(dest, 0)
			}
		}
		b.lanes.Wake()
		pass(45 * time.Second) // the first of them have succeeded, and stand for their windows
		sent := b.send(healthy, 200)
		pass(2 * time.Second)
		b.store.mu.Lock()
		defer b.store.mu.Unlock()
		for _, d := range sent {
			if d.State != core.StateSucceeded {
				t.Fatalf("a healthy destination waits for slow ones, of which %d run", slow.current())
			}
		}
	})
}

func TestNewDestinationIsTriedWhileOthersHang(t *testing.T) {
	var hung gauge
	inBubble(t, Options{Alone: true, Bounds: Bounds{Running: 64, Timeout: time.Minute}}, func(b *bench) {
		hangers(b, 200, 40, &hung)
	}, func(b *bench) {
		pass(6 * time.Minute) // each of them has timed out once
		fresh := route("fresh")
		b.set(fresh, Settings{}, succeed)
		b.send(fresh, 100)
		pass(time.Second)
		b.expect(core.StateSucceeded, 100)
	})
}

func TestLanesThatTimeOutShareAQuarterPastHalf(t *testing.T) {
	var hung, slow gauge
	inBubble(t, Options{Alone: true, Bounds: Bounds{Running: 64, Timeout: time.Minute, Breaker: core.BreakerRule{After: -1}}}, func(b *bench) {
		hangers(b, 30, 100, &hung)
	}, func(b *bench) {
		pass(10 * time.Minute)
		// Busy lanes that answer hold more than half of the node.
		for i := range 4 {
			dest := route(fmt.Sprintf("busy-%d", i))
			b.set(dest, Settings{Window: 12}, slow.around(func(ctx context.Context, c *store.Claimed) store.Outcome {
				// Not all end at once.
				return takes(5*time.Second+time.Duration(c.Delivery.ID%97)*7*time.Millisecond)(ctx, c)
			}))
			b.send(dest, 2000)
		}
		pass(5 * time.Minute)
		for range 60 {
			pass(time.Second)
			if hung.current() > 16 {
				t.Fatalf("%d hanging attempts of 64 while %d of busy lanes run", hung.current(), slow.current())
			}
			if slow.current() < 46 {
				t.Fatalf("busy lanes run %d of their 48", slow.current())
			}
		}
	})
}

func TestBacklogOfOneLaneTakesItsWindowOnly(t *testing.T) {
	var big, small gauge
	inBubble(t, Options{Alone: true, Bounds: Bounds{Window: 4}}, func(b *bench) {
		b.set(route("big"), Settings{}, big.around(takes(time.Second)))
		b.set(route("small"), Settings{Window: 2}, small.around(takes(time.Second)))
		for range 1000 {
			b.store.add(route("big"), 0)
		}
	}, func(b *bench) {
		pass(10 * time.Second)
		b.send(route("small"), 2)
		pass(1100 * time.Millisecond)
		if big.highest() != 4 || small.highest() != 2 {
			t.Errorf("%d and %d at once, want the windows 4 and 2", big.highest(), small.highest())
		}
		if small.current() != 0 {
			t.Error("the small lane waited for the big one")
		}
	})
}

func TestBytesAreBounded(t *testing.T) {
	var held gauge
	const size = 1 << 20
	body := func(d *modelDelivery) { d.body = make([]byte, size) }
	inBubble(t, Options{Alone: true, Bounds: Bounds{Bytes: 8 * size}}, func(b *bench) {
		for i := range 20 {
			b.set(route(fmt.Sprint(i)), Settings{}, held.around(takes(time.Second)))
		}
		b.store.add(route("0"), 0, body) // its size teaches what to expect
	}, func(b *bench) {
		pass(2 * time.Second)
		for i := range 20 {
			for range 5 {
				b.store.add(route(fmt.Sprint(i)), 0, body)
			}
		}
		b.lanes.Wake()
		pass(time.Minute)
		b.expect(core.StateSucceeded, 101)
		if held.highest() > 8 || held.highest() < 6 {
			t.Errorf("%d MiB were held at once, the bound is 8", held.highest())
		}
	})
}

func TestIdleLanesAskForNothing(t *testing.T) {
	inBubble(t, Options{Alone: true}, func(b *bench) {
		b.set(route("a"), Settings{}, succeed)
	}, func(b *bench) {
		b.send(route("a"), 1)
		pass(time.Minute)
		b.expect(core.StateSucceeded, 1)
		claims, works := b.store.count("Claim"), b.store.count("Work")
		pass(time.Hour)
		if n := b.store.count("Claim") - claims; n != 0 {
			t.Errorf("%d claims in an idle hour", n)
		}
		if n := b.store.count("Work") - works; n > 720 {
			t.Errorf("%d looks for work in an idle hour, want one every 5 s", n)
		}
	})
}

func TestFullLaneIsNotAskedFor(t *testing.T) {
	inBubble(t, Options{Alone: true, Bounds: Bounds{Timeout: time.Hour}}, func(b *bench) {
		b.set(route("full"), Settings{}, hang)
		for range 100 {
			b.store.add(route("full"), 0)
		}
	}, func(b *bench) {
		pass(time.Second)
		claims := b.store.count("Claim")
		for range 100 {
			b.lanes.Wake(route("full"))
			synctest.Wait()
		}
		pass(30 * time.Minute)
		if n := b.store.count("Claim") - claims; n != 0 {
			t.Errorf("%d claims for a lane whose window is full", n)
		}
	})
}

func TestWokenLaneDoesNotWaitForTheTurnsOfABacklog(t *testing.T) {
	const lanes, each = 600, 20
	quiet := route("quiet")
	inBubble(t, Options{Alone: true, Bounds: Bounds{Running: 64}}, func(b *bench) {
		b.set(quiet, Settings{}, takes(time.Millisecond))
		b.store.add(quiet, 0)
	}, func(b *bench) {
		pass(time.Second)
		for i := range lanes {
			dest := route(fmt.Sprintf("busy-%d", i))
			b.set(dest, Settings{}, takes(100*time.Millisecond))
			for range each {
				b.store.add(dest, 0)
			}
		}
		b.lanes.Wake()
		pass(time.Second) // a turn of all lanes takes about a second
		for range 10 {
			sent := b.send(quiet, 1)[0]
			pass(250 * time.Millisecond)
			if sent.State != core.StateSucceeded {
				t.Fatal("a quiet lane's delivery waits for the lanes with a backlog")
			}
		}
		b.lanes.board.mu.Lock()
		left := b.lanes.board.queued() + b.lanes.board.asides()
		b.lanes.board.mu.Unlock()
		if left < lanes/2 {
			t.Fatalf("%d lanes have a backlog: the test shows nothing", left)
		}
	})
}

// What was never tried before others that hang or are slow doesn't wait until each of them had its turn.
func TestNewDestinationDoesNotWaitForThoseThatStandAside(t *testing.T) {
	for _, c := range []struct {
		name   string
		runner runnerFunc
		each   int
		sends  int
		every  time.Duration
		within time.Duration // after the last was sent
	}{
		{"beside many that hang", hang, 4, 100, 100 * time.Millisecond, time.Minute},
		{"beside many that take long", takes(15 * time.Second), 40, 60, time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var others gauge
			inBubble(t, Options{Alone: true, Bounds: Bounds{Running: 64, Timeout: time.Minute}}, nil, func(b *bench) {
				for i := range 400 {
					dest := route(fmt.Sprintf("other-%d", i))
					b.set(dest, Settings{}, others.around(c.runner))
					for range c.each {
						b.store.add(dest, 0)
					}
				}
				b.lanes.Wake()
				pass(20 * time.Second)
				fresh := route("fresh")
				b.set(fresh, Settings{}, takes(time.Millisecond))
				var sent []*modelDelivery
				for range c.sends {
					sent = append(sent, b.send(fresh, 1)...)
					pass(c.every)
				}
				pass(c.within)
				late := 0
				b.store.mu.Lock()
				for _, d := range sent {
					if d.State != core.StateSucceeded {
						late++
					}
				}
				b.store.mu.Unlock()
				if late > 0 {
					t.Errorf("%d of %d deliveries to a destination that answers wait beside %d attempts of others", late, c.sends, others.current())
				}
			})
		})
	}
}

// A delivery that this process lost and was given again is held once.
func TestDeliveryHeldTwiceIsCountedOnce(t *testing.T) {
	b := newBoard()
	l := b.learn(store.LaneWork{Lane: 1, Destination: route("a")})
	now := time.Now()
	for range 2 {
		b.start(l, 7, 1000, now)
	}
	for range 2 {
		b.end(l, 7)
	}
	if l.running != 0 || len(b.held) != 0 || b.unproven != 0 || b.bytes != 0 {
		t.Errorf("%d run, %d are held, %d of them unproven, %d bytes", l.running, len(b.held), b.unproven, b.bytes)
	}
}
