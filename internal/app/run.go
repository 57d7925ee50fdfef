package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"relais/internal/api"
	"relais/internal/core"
	"relais/internal/ingest"
)

// listeners are what a running relais answers on.
type listeners struct {
	public, admin, socket net.Listener
}

// Run answers requests and works until ctx ends; then it stops in order: /ready says 503, the listener
// closes after a moment for load balancers to look, what came in is committed, attempts get their time
// to end, and the rest is handed back to the store.
func (a *App) Run(ctx context.Context) error {
	l, err := a.listen(ctx)
	if err != nil {
		return errors.Join(err, a.closeStores())
	}
	public := a.publicServer()
	admin := a.adminServer(a.adminMux())
	control := a.adminServer(a.control())
	failed := make(chan error, 4)
	serve := func(s *http.Server, listener net.Listener) {
		if err := s.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}
	go serve(public, l.public)
	if l.admin != nil {
		go serve(admin, l.admin)
	}
	go serve(control, l.socket)

	// The work goes on while the listener closes: its context isn't the caller's.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var background sync.WaitGroup
	background.Go(func() {
		if a.options.role() == RoleIngest {
			return
		}
		if err := a.lanes.Run(work); err != nil && work.Err() == nil {
			failed <- err
		}
	})
	background.Go(func() {
		if err := a.ingest.Run(work); err != nil && work.Err() == nil {
			failed <- err
		}
	})
	for _, keep := range a.keepers() {
		background.Go(func() { keep(work) })
	}
	a.setNotReady()
	where := Addresses{Listen: l.public.Addr().String(), Socket: l.socket.Addr().String()}
	if l.admin != nil {
		where.Admin = l.admin.Addr().String()
	}
	a.log.InfoContext(ctx, "relais is ready", "listen", where.Listen, "admin", where.Admin, "data", a.options.Data,
		"version", a.options.Version, "took", time.Since(a.started).Truncate(time.Millisecond))
	if a.options.Ready != nil {
		a.options.Ready(where)
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
		a.log.ErrorContext(ctx, "relais stops", "error", err)
	}
	err = errors.Join(err, a.stop(public))
	stopWork()
	background.Wait()
	a.current.Load().connections.Retire()
	err = errors.Join(err, admin.Close(), control.Close(), a.closeStores())
	a.log.InfoContext(ctx, "relais has stopped")
	return err
}

// keepers is the housekeeping of this node.
func (a *App) keepers() []func(context.Context) {
	keepers := []func(context.Context){tuneCollector, a.tell, a.desk.Run}
	if a.options.role() == RoleIngest {
		keepers = append(keepers, a.beat)
	} else {
		keepers = append(keepers, a.retain, a.recount, a.fanOut, a.forget, a.reconcileDue)
	}
	if shared(a.begun) {
		keepers = append(keepers, a.follow)
	}
	if a.spool != nil {
		keepers = append(keepers, a.spool.Run)
	}
	return keepers
}

func (a *App) listen(ctx context.Context) (*listeners, error) {
	var config net.ListenConfig
	cfg := a.current.Load().config
	l := &listeners{}
	var err error
	if l.public, err = config.Listen(ctx, "tcp", cfg.Listen); err != nil {
		return nil, listenError("listen", cfg.Listen, err)
	}
	if cfg.AdminListen != "" { // off leaves the socket
		if l.admin, err = config.Listen(ctx, "tcp", cfg.AdminListen); err != nil {
			return nil, errors.Join(listenError("admin_listen", cfg.AdminListen, err), l.public.Close())
		}
	}
	if l.socket, err = api.Listen(a.options.Data); err == nil {
		return l, nil
	}
	err = errors.Join(err, l.public.Close())
	if l.admin != nil {
		err = errors.Join(err, l.admin.Close())
	}
	return nil, err
}

// listenError says what to do about an address that can't be listened on.
func listenError(key, address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return core.Errorf(core.CodeConflict, "%s %s: another program listens there; stop it, or give another address in the file or as --%s",
			key, address, strings.ReplaceAll(key, "_", "-"))
	}
	if errors.Is(err, syscall.EACCES) {
		return core.Errorf(core.CodeUnavailable, "%s %s: this user may not listen there; give a port above 1023, or the user the right to (CAP_NET_BIND_SERVICE)", key, address)
	}
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return core.Errorf(core.CodeUnavailable, "%s %s: this machine has no such address; :PORT listens on all of its own", key, address)
	}
	return fmt.Errorf("%s: %w", key, err)
}

func (a *App) publicServer() *http.Server {
	health := api.Health(a.options.Version, a.state, time.Now)
	// Not a ServeMux: it would redirect paths such as //in/sellsy, past the limits and unseen, and a sender
	// that follows the redirect of a POST may follow it without the body.
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			health.ServeHTTP(w, r)
			return
		}
		if a.options.role() == RoleWorker {
			http.Error(w, "this node takes no webhooks in: it was started as a worker", http.StatusNotFound)
			return
		}
		a.ingest.ServeHTTP(w, r)
	})
	s := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug)} //nolint:gosec // Bound sets its timeouts
	ingest.Bound(s, a.current.Load().config.Ingest)
	return s
}

func (a *App) adminMux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /health", api.Health(a.options.Version, a.state, time.Now))
	mux.Handle("GET /ready", api.Ready(a.state))
	mux.Handle("GET /metrics", a.metrics.Handler())
	mux.HandleFunc("GET /asyncapi.yaml", a.asyncAPIPage)
	return mux
}

func (a *App) adminServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
}

// stop ends what comes in and what runs, in this order.
func (a *App) stop(public *http.Server) error {
	cfg := a.current.Load().config.Lanes
	a.setNotReady("stopping")
	delay := cfg.ReadyDelay
	if a.options.ReadyDelay != 0 {
		delay = a.options.ReadyDelay
	}
	a.log.Info("relais is stopping", "ready_delay", delay, "stop_timeout", cfg.StopTimeout)
	wait(context.Background(), delay)
	ctx, cancel := context.WithTimeout(context.Background(), cfg.StopTimeout)
	defer cancel()
	// Shutdown waits for the requests that are being answered, whose commits therefore happen.
	err := public.Shutdown(ctx)
	a.lanes.Stop(ctx)
	return err
}
