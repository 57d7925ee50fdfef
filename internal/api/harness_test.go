package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"relais/internal/api"
	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/route"
	"relais/internal/store"
	"relais/internal/store/sqlite"
)

// world is a control API on a real store, reached over a real socket.
type world struct {
	t      *testing.T
	store  *sqlite.Store
	client *http.Client
	routes *route.Set
	dir    string

	retry    func(*store.Rejection) (core.EventID, error)
	problems []api.Problem
	reloads  int
	changed  int
	reasons  []string
	log      bytes.Buffer
}

var began = time.Now().Add(-90 * time.Second)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	var err error
	w.store, err = sqlite.Open(t.Context(), sqlite.Options{Dir: w.dir, Sync: sqlite.SyncOff})
	w.must(err)
	w.setRoutes("facture", "mail")
	listener, err := api.Listen(w.dir)
	w.must(err)
	server := api.NewServer(api.New(api.Deps{
		Store:          w.store,
		Routes:         func() api.Routes { return w.routes },
		Sources:        func() []string { return []string{"sellsy", "boutique"} },
		Where:          where,
		RetryRejection: func(_ context.Context, r *store.Rejection) (core.EventID, error) { return w.retry(r) },
		Config:         w,
		State:          func() api.State { return api.State{StartedAt: began, Reasons: w.reasons} },
		Changed:        func() { w.changed++ },
		Version:        "1.2.3",
		Now:            time.Now,
		Log:            slog.New(slog.NewTextHandler(&w.log, nil)),
	}))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	transport, err := api.Dial(w.dir)
	w.must(err)
	w.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func where(expression string) (api.Predicate, error) {
	compiler, err := expr.NewCompiler()
	if err != nil {
		return nil, err
	}
	condition, err := compiler.Condition(expression)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, e *core.Event) (bool, error) {
		vars, err := expr.EventVars(e, nil)
		if err != nil {
			return false, err
		}
		return condition.Eval(ctx, expr.Vars{"event": vars})
	}, nil
}

// State, Check and Reload make the world its own configuration.
func (w *world) State() api.ConfigState {
	return api.ConfigState{File: "relais.yaml", Hash: w.routes.Hash(), LoadedAt: began, Sources: []string{"sellsy"}, Routes: []string{"facture"}}
}

func (w *world) Check(context.Context) ([]api.Problem, error) { return w.problems, nil }

func (w *world) Reload(context.Context) ([]api.Problem, error) {
	w.reloads++
	return w.problems, nil
}

// setRoutes puts routes of these names in force, all on the source's events, with the steps 1 and 2.
func (w *world) setRoutes(names ...string) {
	w.t.Helper()
	routes := make([]config.Route, len(names))
	for i, name := range names {
		routes[i] = config.Route{Name: name, On: []string{"sellsy/estimate.*"}, Priority: core.PriorityNormal, Steps: []config.Step{{ID: "1"}, {ID: "2"}}}
	}
	set, err := route.Compile(routes, "hash-"+time.Now().String())
	w.must(err)
	w.routes = set
	w.must(w.store.Activate(w.t.Context(), store.RouteSet{Hash: set.Hash(), Node: "n", Destinations: set.Destinations()}))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// event stores an event with its deliveries by the routes in force.
func (w *world) event(typ, body string) core.EventID {
	w.t.Helper()
	e := core.Event{
		ID: core.NewEventID(), Tenant: core.DefaultTenant, Source: "sellsy", Type: typ, NativeType: typ, ReceivedAt: time.Now(),
		Format: core.FormatJSON, Header: []byte("Content-Type: application/json\r\n"), Body: []byte(body),
	}
	deliveries, _ := w.routes.Match(&e)
	accepted := store.Accepted{Event: e, Deliveries: deliveries, RouteSet: w.routes.Hash(), DedupWindow: time.Hour}
	sum := sha256.Sum256([]byte(body))
	copy(accepted.DedupKey[:], sum[:])
	_, err := w.store.Append(w.t.Context(), []store.Accepted{accepted})
	w.must(err)
	return e.ID
}

// finish claims everything that is due and ends it so.
func (w *world) finish(verdict store.Verdict, reason core.Reason) {
	w.t.Helper()
	for _, c := range w.claim() {
		errs, err := w.store.Finish(w.t.Context(), []store.Outcome{{
			Holder:  store.Holder{Delivery: c.Delivery.ID, Claim: c.Delivery.Claim, Node: "n"},
			Verdict: verdict, Reason: reason, Message: "as the test says",
			Steps:   []store.StepResult{{Step: "1", Definition: "d", Result: json.RawMessage(`{"id":7}`)}},
			Attempt: store.Attempt{Node: "n", Started: time.Now(), Duration: 12 * time.Millisecond, Verdict: verdict, Reason: reason, Trace: json.RawMessage(`{"steps":[]}`)},
		}})
		w.must(err)
		w.must(errs[0])
	}
}

func (w *world) claim() []store.Claimed {
	w.t.Helper()
	work, err := w.store.Work(w.t.Context(), 0, 100)
	w.must(err)
	p := store.ClaimParams{Node: "n", Lease: time.Minute, Max: 1000}
	for _, l := range work {
		p.Lanes = append(p.Lanes, store.LaneRoom{Lane: l.Lane, Max: 100, Window: 100})
	}
	claimed, err := w.store.Claim(w.t.Context(), p)
	w.must(err)
	return claimed
}

// call asks and returns the status, the answer as a tree, and its header.
func (w *world) call(method, path, body string) (int, map[string]any, http.Header) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://relais"+path, bytes.NewReader([]byte(body)))
	w.must(err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set(api.UserHeader, "anne")
	answer, err := w.client.Do(req)
	w.must(err)
	text, err := io.ReadAll(answer.Body)
	w.must(err)
	w.must(answer.Body.Close())
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		w.t.Fatalf("%s %s: %d %q: %v", method, path, answer.StatusCode, text, err)
	}
	return answer.StatusCode, tree, answer.Header
}

// ok asks what must work.
func (w *world) ok(method, path, body string) map[string]any {
	w.t.Helper()
	status, tree, _ := w.call(method, path, body)
	if status != http.StatusOK {
		w.t.Fatalf("%s %s: %d %v", method, path, status, tree)
	}
	return tree
}

// items are those of a list.
func (w *world) items(tree map[string]any) []map[string]any {
	w.t.Helper()
	list, ok := tree["items"].([]any)
	if !ok {
		w.t.Fatalf("no list in %v", tree)
	}
	out := make([]map[string]any, len(list))
	for i, item := range list {
		out[i], _ = item.(map[string]any)
	}
	return out
}
