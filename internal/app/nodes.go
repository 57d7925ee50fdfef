package app

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"relais/internal/api"
	"relais/internal/store"
)

const (
	tellEvery = 3 * time.Second
	// forgetAfter is how long a node that is gone stays listed, and forgetEvery how often such are looked for.
	forgetAfter = 7 * 24 * time.Hour
	forgetEvery = 10 * time.Minute
)

// tell keeps what this node says of itself in the store.
func (a *App) tell(ctx context.Context) {
	for {
		if err := a.tellOnce(ctx); err != nil && !errors.Is(err, store.ErrUnavailable) {
			a.complain(ctx, "telling of this node", err)
		}
		if !wait(ctx, tellEvery) {
			return
		}
	}
}

func (a *App) tellOnce(ctx context.Context) error {
	told := api.Told{
		Version: a.options.Version, Role: string(a.options.role()), Routes: a.current.Load().routes.Hash(), Active: a.activeHash(),
	}
	if err := a.unread(); err != nil {
		told.Unread = err.Error()
	}
	if a.spool != nil {
		s := a.spool.Status()
		told.Spool = &api.Spool{ID: s.ID, State: string(s.State), Events: s.Events, Bytes: s.Bytes, Oldest: s.Oldest, Aside: s.Aside}
	}
	text, err := json.Marshal(told)
	if err != nil {
		return err
	}
	return a.store.Tell(ctx, a.node, text)
}

// forget removes nodes of which nothing was heard for long: each start makes another one.
func (a *App) forget(ctx context.Context) {
	for wait(ctx, forgetEvery) {
		if err := a.forgetOnce(ctx); err != nil {
			a.complain(ctx, "forgetting nodes that are long gone", err)
		}
	}
}

// forgetOnce keeps a node that said last that its spool holds something: that is on its machine's disk, and the
// list of nodes is where somebody sees it.
func (a *App) forgetOnce(ctx context.Context) error {
	known, err := a.store.Nodes(ctx)
	if err != nil {
		return err
	}
	nodes, err := api.Nodes(known)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.State == "alive" || n.Name == a.node || n.Spool != nil && n.Spool.Events+n.Spool.Aside > 0 {
			continue
		}
		forgotten, err := a.store.Forget(ctx, n.Name, forgetAfter)
		if err != nil {
			return err
		}
		if forgotten {
			a.log.InfoContext(ctx, "a node that is long gone is forgotten", "node", n.Name, "last_beat", n.BeatAt)
		}
	}
	return nil
}

// emptied corrects what nodes that are gone said last of a spool that was drained without them.
func emptied(ctx context.Context, s store.Store, spool string) error {
	nodes, err := s.Nodes(ctx)
	if err != nil || spool == "" {
		return err
	}
	for _, n := range nodes {
		var told api.Told
		if n.Alive || len(n.Told) == 0 || json.Unmarshal(n.Told, &told) != nil || told.Spool == nil || told.Spool.ID != spool {
			continue
		}
		told.Spool = &api.Spool{ID: spool, State: told.Spool.State}
		text, err := json.Marshal(told)
		if err == nil {
			err = s.Tell(ctx, n.Name, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
