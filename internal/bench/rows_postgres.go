package bench

import (
	"context"
	"fmt"
)

// nodes is how many relais share a PostgreSQL where several do.
const nodes = 3

// ingestPostgres compares one relais on PostgreSQL, and several that share one, with the handler that stores
// nothing, all as busy as 64 connections make them.
func (r *run) ingestPostgres(ctx context.Context) error {
	bare, err := r.serveNoStore(ctx)
	if err != nil {
		return err
	}
	defer bare.kill()
	alone, err := r.place(ctx, onPostgres, "one")
	if err != nil {
		return err
	}
	defer r.remove(alone)
	one, err := r.serveOn(ctx, alone, settings{})
	if err != nil {
		return err
	}
	defer one.kill()
	shared, err := r.place(ctx, onPostgres, "several")
	if err != nil {
		return err
	}
	defer r.remove(shared)
	several, err := r.several(ctx, shared)
	defer func() {
		for _, c := range several {
			c.kill()
		}
	}()
	if err != nil {
		return err
	}
	busy := load{connections: connections}
	var bares []*turn
	ones, threes, err := r.alternate(ctx,
		func(ctx context.Context) (*turn, error) {
			t, err := r.turn(ctx, bare, busy)
			if err != nil {
				return nil, err
			}
			bares = append(bares, t)
			return r.turn(ctx, one, busy)
		},
		func(ctx context.Context) (*turn, error) { return r.turnOver(ctx, several, busy) })
	if err != nil {
		return err
	}
	r.report.add("no-store handler", "64 connections", bares)
	r.report.add("ingest, PostgreSQL, one node", "64 connections", ones)
	r.report.add(fmt.Sprintf("ingest, PostgreSQL, %d nodes", nodes), "64 connections", threes)
	note := "the processor time is that of relais and of PostgreSQL's processes"
	if !shared.on.counts() {
		note = "the processor time is that of relais without the PostgreSQL that was given"
	}
	r.report.judge(Target{Name: "throughput at 64 connections, PostgreSQL : no-store", Unit: "×", Limit: 0.4, AtLeast: true,
		Turns: ratios(ones, bares, (*turn).perSecond), Note: note})
	for _, c := range append(several, one) {
		if err := c.stop(); err != nil {
			return err
		}
	}
	return nil
}

// several starts the nodes that share a place, and returns those that did start.
func (r *run) several(ctx context.Context, shared place) ([]*child, error) {
	var started []*child
	for i := range nodes {
		c, err := r.node(ctx, shared, fmt.Sprintf("-%d", i+1), settings{})
		if err != nil {
			return started, err
		}
		started = append(started, c)
	}
	return started, nil
}
