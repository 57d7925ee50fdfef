package lane

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"relais/internal/core"
	"relais/internal/store"
)

// act is one thing that happens to the lanes from outside.
type act struct {
	what string
	lane int
	n    int
}

var acts = []string{
	"send", "send", "send", "send without a wake", "send ordered", "send later", "pass", "pass", "pass",
	"fails", "hangs", "panics", "defers", "works", "breaks Beat", "breaks Claim", "breaks Finish", "breaks Work",
	"mends", "pauses", "goes on", "reloads",
}

func drawActs(t *rapid.T) []act {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
		return act{
			rapid.SampledFrom(acts).Draw(t, "what"), rapid.IntRange(0, 4).Draw(t, "lane"), rapid.IntRange(1, 30).Draw(t, "n"),
		}
	}), 1, 60).Draw(t, "acts")
}

// Whatever happens, once everything works again every delivery ends, none is forgotten, nothing is held,
// and the bounds were kept all along (the model store checks windows).
func TestEverythingEndsOnceEverythingWorks(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		script := drawActs(r)
		running := rapid.SampledFrom([]int{1, 2, 3, 8, 64}).Draw(r, "running")
		window := rapid.IntRange(1, 5).Draw(r, "window")
		var wrong string
		var now, most atomic.Int64
		o := Options{Alone: true, Bounds: Bounds{Running: running, Window: window, Timeout: 20 * time.Second, Scan: time.Minute, Lease: time.Minute}}
		inBubble(t, o, func(b *bench) {
			for n := range 5 {
				b.set(route(fmt.Sprint(n)), Settings{}, succeed)
			}
		}, func(b *bench) {
			count := func(next runnerFunc) runnerFunc {
				return func(ctx context.Context, c *store.Claimed) store.Outcome {
					most.Store(max(most.Load(), now.Add(1)))
					defer now.Add(-1)
					return next(ctx, c)
				}
			}
			for _, a := range script {
				b.act(a, count)
			}
			for n := range 5 {
				b.act(act{"goes on", n, 0}, count)
				b.act(act{"works", n, 0}, count)
			}
			b.act(act{what: "mends"}, count)
			pass(30 * time.Hour) // longer than the schedule's longest delay
			states := b.store.states()
			if left := states[core.StatePending] + states[core.StateRunning]; left > 0 || b.lanes.Running() > 0 {
				wrong = fmt.Sprintf("%d deliveries never ended, %d are held: %v", left, b.lanes.Running(), states)
			}
		})
		if wrong != "" {
			r.Fatal(wrong)
		}
		if most.Load() > int64(running) {
			r.Fatalf("%d attempts at once, the bound is %d", most.Load(), running)
		}
	})
}

func (b *bench) act(a act, count func(runnerFunc) runnerFunc) {
	dest := route(fmt.Sprint(a.lane))
	behave := map[string]runnerFunc{
		"fails": failing(core.ReasonRefused), "hangs": hang, "works": takes(time.Millisecond),
		"panics": func(context.Context, *store.Claimed) store.Outcome { panic("boom") },
		"defers": func(context.Context, *store.Claimed) store.Outcome {
			return store.Outcome{Verdict: store.VerdictDefer, Delay: time.Second}
		},
	}
	switch a.what {
	case "send":
		b.send(dest, a.n)
	case "send without a wake":
		b.store.add(dest, 0)
	case "send ordered":
		b.send(dest, a.n, func(d *modelDelivery) { d.Ordered, d.OrderKey = true, "k" })
	case "send later":
		b.store.add(dest, time.Duration(a.n)*time.Second)
		b.lanes.Wake(dest)
	case "pass":
		pass(time.Duration(a.n*a.n) * 50 * time.Millisecond)
	case "breaks Beat", "breaks Claim", "breaks Finish", "breaks Work":
		b.store.setFail(a.what[len("breaks "):], errAway)
	case "mends":
		for _, method := range []string{"Beat", "Claim", "Finish", "Work"} {
			b.store.setFail(method, nil)
		}
	case "pauses", "goes on":
		b.store.mu.Lock()
		for _, l := range b.store.lanes {
			if l.dest == dest {
				l.paused = a.what == "pauses"
			}
		}
		b.store.mu.Unlock()
	case "reloads":
		b.lanes.Wake()
	default:
		b.set(dest, Settings{}, count(behave[a.what]))
	}
}
