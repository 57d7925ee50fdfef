package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// drainLanes is how many destinations the drained deliveries are for, drainBody the size of their bodies.
	drainLanes = 64
	drainBody  = 500
	// drainEach is about how many deliveries a second of a turn is given: enough for the turn to last.
	drainEach = 4000
)

// drain compares deliveries that a store holds and relais posts with a bare client that posts the same to
// the same receiver.
func (r *run) drain(ctx context.Context) error {
	other, err := newReceiver(ctx)
	if err != nil {
		return err
	}
	defer other.close()
	stores := []string{onSQLite, onPostgres}
	places := make([]place, len(stores))
	for i, store := range stores {
		if places[i], err = r.place(ctx, store, "drain"); err != nil {
			return err
		}
		defer r.remove(places[i])
	}
	var bares []*turn
	drained := make([][]*turn, len(stores))
	for i := range r.opts.Rounds {
		r.progress("  turn %d of %d", i+1, r.opts.Rounds)
		t, err := r.barePosts(ctx, other)
		if err != nil {
			return err
		}
		bares = append(bares, t)
		for i := range stores {
			if t, err = r.drainOnce(ctx, other, places[i]); err != nil {
				return err
			}
			drained[i] = append(drained[i], t)
		}
	}
	r.report.add("bare Go client", "64 connections", bares)
	for i, store := range stores {
		r.report.add("deliveries drained, "+store, "64 lanes", drained[i])
		r.report.judge(Target{Name: "deliveries drained, " + store + " : bare client", Unit: "×", Limit: 0.3, AtLeast: true,
			Turns: ratios(drained[i], bares, (*turn).perSecond),
			Note:  "from a fifth of the deliveries' having arrived until none is pending or running; bodies of 500 bytes, attempts kept"})
	}
	return nil
}

func (r *run) barePosts(ctx context.Context, other *receiver) (*turn, error) {
	var posted Posted
	if err := r.part(ctx, &posted, CommandPost, "--url", other.url("/count"),
		"--body", strconv.Itoa(drainBody), "--for", r.opts.Turn.String()); err != nil {
		return nil, err
	}
	return counted(posted.Requests, time.Duration(posted.Seconds*float64(time.Second))), nil
}

// counted is a turn of which only a number and a time are known.
func counted(n int64, elapsed time.Duration) *turn {
	m := newMeasured()
	m.answered[200], m.elapsed = n, elapsed
	return &turn{measured: m}
}

// drainOnce stores deliveries while no relais runs, and measures the one that is started then.
func (r *run) drainOnce(ctx context.Context, other *receiver, p place) (*turn, error) {
	all := max(int64(r.opts.Turn.Seconds()*drainEach), 10*drainLanes)
	if err := r.fillPlace(ctx, p, PrefillParams{Waiting: int(all), Lanes: drainLanes, Body: drainBody}); err != nil {
		return nil, err
	}
	count := other.countTo(all/5, all)
	c, err := r.serveOn(ctx, p, settings{lanes: drainLanes, laneURL: func(int) string { return other.url("/count") }})
	if err != nil {
		return nil, err
	}
	defer c.kill()
	if err := c.awaitClosed(ctx, count.begun); err != nil {
		return nil, err
	}
	watch := watchMemory([]*child{c})
	begin, before := time.Now(), count.n.Load()
	used, err := familiesTime([]*child{c})
	if err != nil {
		return nil, err
	}
	if err := c.awaitClosed(ctx, count.ended); err != nil {
		return nil, err
	}
	if err := c.awaitIdle(ctx); err != nil {
		return nil, err
	}
	t := counted(all-before, time.Since(begin))
	t.resident = watch()
	after, err := familiesTime([]*child{c})
	if err != nil {
		return nil, err
	}
	t.processor = after - used
	return t, c.stop()
}

// awaitClosed waits for a signal of the receiver, or for the server's end.
func (c *child) awaitClosed(ctx context.Context, signal <-chan struct{}) error {
	select {
	case <-signal:
		return nil
	case <-c.ended:
		return c.failure("ended while it was measured")
	case <-time.After(drainWithin):
		return c.failure("delivers too little: nothing more is waited for after " + drainWithin.String())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitIdle waits until no delivery is pending or running.
func (c *child) awaitIdle(ctx context.Context) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	late := time.After(readyWithin)
	for {
		var live float64
		for _, state := range []string{"pending", "running"} {
			n, err := c.metric(ctx, `relais_deliveries{state="`+state+`"}`)
			if err != nil {
				return err
			}
			live += n
		}
		if live == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-late:
			return c.failure(fmt.Sprintf("still has %g deliveries after all have arrived", live))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const (
	// claimLarge lanes hold Options.Events in the large store; claimSmall hold a hundredth in the small one,
	// so that a lane is as deep in both, and a claim takes as many deliveries.
	claimLarge = 10_000
	claimSmall = 100
)

// claim compares claims and the drain of a store in which very many deliveries wait for very many
// destinations with those of one in which few wait.
func (r *run) claim(ctx context.Context) error {
	for _, store := range []string{onSQLite, onPostgres} {
		if err := r.claimOn(ctx, store); err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
	}
	return nil
}

func (r *run) claimOn(ctx context.Context, store string) error {
	few := max(r.opts.Events/100, 10*claimSmall)
	drained := few * 8 / 10
	small, err := r.place(ctx, store, "claim-small")
	if err != nil {
		return err
	}
	defer r.remove(small)
	large, err := r.place(ctx, store, "claim-large")
	if err != nil {
		return err
	}
	defer r.remove(large)
	r.progress("  storing %d deliveries over %d lanes, %s", r.opts.Events, claimLarge, store)
	if err := r.fillPlace(ctx, large, PrefillParams{Waiting: r.opts.Events, Lanes: claimLarge}); err != nil {
		return err
	}
	if err := r.fillPlace(ctx, small, PrefillParams{Waiting: few - drained, Lanes: claimSmall}); err != nil {
		return err
	}
	smalls, larges, err := r.alternateFor(ctx, 2*r.opts.Rounds-1,
		func(ctx context.Context) (*turn, error) {
			// What the last turn took comes back; what the first leaves is a part of the lanes' depth.
			if err := r.fillPlace(ctx, small, PrefillParams{Waiting: drained, Lanes: claimSmall}); err != nil {
				return nil, err
			}
			return r.drainStore(ctx, small, drained)
		},
		func(ctx context.Context) (*turn, error) { return r.drainStore(ctx, large, drained) })
	if err != nil {
		return err
	}
	r.report.add("claims, "+store, fmt.Sprintf("%d waiting", few), smalls)
	r.report.add("claims, "+store, fmt.Sprintf("%d waiting, %d lanes", r.opts.Events, claimLarge), larges)
	name := fmt.Sprintf("%s, %d waiting : %d", store, r.opts.Events, few)
	r.report.judge(Target{Name: "claim p99, " + name, Unit: "×", Limit: 1.5, Turns: ratios(larges, smalls, (*turn).p99),
		Note: fmt.Sprintf("of claims that take up to 128, as relais' lanes make them, once all lanes with work are known; the few wait in %d lanes, as deep", claimSmall)})
	r.report.judge(Target{Name: "drain rate, " + name, Unit: "×", Limit: 1 / 1.5, AtLeast: true,
		Turns: ratios(larges, smalls, (*turn).perSecond),
		Note:  "the lanes' deliveries succeed at once: the rate is the store's. Its rows count deliveries, their latencies are claims'"})
	return nil
}

// drainStore lets a process of its own work deliveries off.
func (r *run) drainStore(ctx context.Context, p place, n int) (*turn, error) {
	config, err := r.configure("drain-"+filepath.Base(p.dir), settings{store: p.url})
	if err != nil {
		return nil, err
	}
	var d Drained
	if err := r.part(ctx, &d, CommandDrain, "--config", config, "--data", p.dir, "--deliveries", strconv.Itoa(n)); err != nil {
		return nil, err
	}
	t := counted(d.Deliveries, time.Duration(d.Seconds*float64(time.Second)))
	t.latency = hdrhistogram.Import(d.Claims)
	return t, nil
}
