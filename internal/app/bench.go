package app

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"relais/internal/ingest"
	"relais/internal/route"
	"relais/internal/store"
)

// NoStore is a handler that verifies and answers by the configuration and stores nothing: what the rest
// costs is told by comparing with it.
func NoStore(o Options) (http.Handler, error) {
	cfg, err := load(o)
	if err != nil {
		return nil, err
	}
	g, err := build(cfg, quietSteps(o.Data), time.Now())
	if err != nil {
		return nil, err
	}
	return ingest.NoStore(ingest.Options{Match: g.match, Settings: ingestSettings(g)})
}

// OpenStore opens a data folder's store with the routes of the configuration in force, for a benchmark to
// fill. The folder is locked until the store is closed.
func OpenStore(ctx context.Context, o Options) (store.Store, error) {
	cfg, err := load(o)
	if err != nil {
		return nil, err
	}
	routes, err := route.Compile(cfg.Routes, cfg.Hash)
	if err != nil {
		return nil, err
	}
	s, err := openStore(ctx, cfg, o, slog.New(slog.DiscardHandler), false)
	if err != nil {
		return nil, err
	}
	return s, s.Activate(ctx, store.RouteSet{Hash: cfg.Hash, Node: nodeName(shared(cfg)), Destinations: routes.Destinations(), Text: cfg.Redacted})
}
