package app

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"relais/internal/api"
	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/ingest"
	"relais/internal/source"
	"relais/internal/step"
	"relais/internal/store"
)

const (
	// onTheWay is how old something must be before its webhook counts as lost.
	onTheWay = 2 * time.Minute
	// clocksApart is how much earlier than the provider says its webhook may have come.
	clocksApart    = time.Hour
	reconcileLook  = 30 * time.Second
	reconcileScan  = 500
	reconcileShown = 100
)

// reconciler makes the events that a provider should have sent and didn't.
type reconciler struct {
	store   store.Store
	inForce func() *generation
	match   func(*core.Event) ingest.Matched
	wake    func([]store.Accepted, []store.Appended) // may be nil
	now     func() time.Time
	first   *firstSeen
}

// firstSeen is since when something has been seen without its event, by source and by what it is. It is kept in
// memory: who starts anew waits once more.
type firstSeen struct {
	mu sync.Mutex
	at map[string]map[string]time.Time
}

// since tells since when each of the keys has been looked at, and forgets the source's other ones.
func (f *firstSeen) since(source string, keys []string, now time.Time) map[string]time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := make(map[string]time.Time, len(keys))
	for _, key := range keys {
		known[key] = now
		if before, ok := f.at[source][key]; ok {
			known[key] = before
		}
	}
	if f.at == nil {
		f.at = map[string]map[string]time.Time{}
	}
	f.at[source] = known
	return known
}

// reconcile asks the provider what happened, and makes the event of each thing that some route waits for and
// that no stored event tells of. Made twice, an event is a repeat: running it again makes nothing.
func (r *reconciler) reconcile(ctx context.Context, in api.Reconcile) (api.Reconciled, error) {
	out := api.Reconciled{DryRun: in.DryRun, Missing: []api.MissingEvent{}}
	g := r.inForce()
	p, err := pick(g, in.Kind, in.Source, in.Connection)
	if err != nil {
		return out, err
	}
	asked, err := p.poller()
	if err != nil {
		return out, err
	}
	now := r.now()
	if in.Since.IsZero() {
		in.Since = now.Add(-asked.Past())
	}
	changes, err := asked.Changes(ctx, in.Since)
	if err != nil {
		return out, core.Errorf(core.CodeUnavailable, "%w", p.explained(err))
	}
	seen := map[string]bool{}
	filter := store.EventFilter{Source: p.source.Name, Since: in.Since.Add(-clocksApart)}
	looked := map[string]bool{}
	var list []missing
	for _, c := range changes {
		if c.At.After(now.Add(-onTheWay)) || c.Touched.After(now.Add(-onTheWay)) {
			continue
		}
		out.Looked++
		made, err := ingest.Made(ingest.RetryParams{Source: p.source, Match: r.match}, request(c, now), c.Type+"\x00"+c.Object)
		if err != nil {
			return out, err
		}
		if typ := made.Event.Type; !looked[typ] { // the events of other types are left unread
			looked[typ] = true
			if err := r.seenOf(ctx, typ, filter, asked, seen); err != nil {
				return out, err
			}
		}
		switch wanted := len(made.Deliveries) > 0 || made.FanOut; {
		case seen[made.Event.Type+"\x00"+c.Object]:
		case !wanted:
			out.Unwanted++
		default:
			list = append(list, missing{change: c, made: made})
		}
	}
	if err := r.toldBefore(ctx, filter, asked, list, seen); err != nil {
		return out, err
	}
	list = slices.DeleteFunc(list, func(m missing) bool { return seen[m.key()] })
	if !in.DryRun {
		list = r.ripe(&out, p.source.Name, list, now)
	}
	for _, m := range list {
		if err := r.make(ctx, &out, m.change, m.made); err != nil {
			return out, err
		}
	}
	return out, nil
}

// ripe leaves out what has no time and wasn't missing yet when it was looked for before: its webhook may be on its
// way, and would come as another event.
func (r *reconciler) ripe(out *api.Reconciled, source string, list []missing, now time.Time) []missing {
	var undated []string
	for _, m := range list {
		if m.change.Undated {
			undated = append(undated, m.key())
		}
	}
	first := r.first.since(source, undated, now)
	return slices.DeleteFunc(list, func(m missing) bool {
		left := onTheWay - now.Sub(first[m.key()])
		if !m.change.Undated || left <= 0 {
			return false
		}
		out.Waiting++
		out.Wait = max(out.Wait, int(math.Ceil(left.Seconds())))
		return true
	})
}

// missing is something that happened, and the event that is made of it.
type missing struct {
	change step.Change
	made   store.Accepted
}

// key is what stored events are compared by.
func (m missing) key() string { return m.made.Event.Type + "\x00" + m.change.Object }

// toldBefore looks for the events of what may have happened before the time that was asked for, of which the
// provider only knows when its object changed last: an invoice that was paid a month ago, and noted on today,
// isn't paid again.
func (r *reconciler) toldBefore(ctx context.Context, f store.EventFilter, asked step.Poller, list []missing, seen map[string]bool) error {
	from := map[string]time.Time{}
	for _, m := range list {
		early, typ := m.change.Earliest.Add(-clocksApart), m.made.Event.Type
		if known, ok := from[typ]; !m.change.Earliest.IsZero() && early.Before(f.Since) && (!ok || early.Before(known)) {
			from[typ] = early
		}
	}
	until := f.Since
	for typ, since := range from {
		f.Since, f.Until = since, until
		if err := r.seenOf(ctx, typ, f, asked, seen); err != nil {
			return err
		}
	}
	return nil
}

func (r *reconciler) make(ctx context.Context, out *api.Reconciled, c step.Change, made store.Accepted) error {
	one := api.MissingEvent{Type: made.Event.Type, Object: c.Object, At: c.At}
	if !out.DryRun {
		batch := []store.Accepted{made}
		appended, err := r.store.Append(ctx, batch)
		if err != nil {
			return err
		}
		if r.wake != nil {
			r.wake(batch, appended)
		}
		if !appended[0].RepeatOf.IsZero() {
			return nil // made before, and its event isn't kept any more
		}
		one.Event = made.Event.ID.String()
	}
	out.Made++
	if len(out.Missing) < reconcileShown {
		out.Missing = append(out.Missing, one)
	}
	return nil
}

// request is what the provider would have sent.
func request(c step.Change, now time.Time) *source.Request {
	header := http.Header{"Content-Type": {"application/json"}, "X-Event-Type": {c.Type}}
	return &source.Request{Method: http.MethodPost, Header: header, Body: c.Body, Now: now}
}

// seenOf adds the objects of stored events of a type.
func (r *reconciler) seenOf(ctx context.Context, typ string, filter store.EventFilter, asked step.Poller, found map[string]bool) error {
	pattern, err := core.ParsePattern(typ)
	if err != nil {
		return err
	}
	filter.Type, filter.Limit, filter.Body = pattern, reconcileScan, true
	for {
		page, err := r.store.Events(ctx, filter)
		if err != nil {
			return err
		}
		for i := range page {
			e := &page[i]
			vars, err := expr.EventVars(e, nil)
			if err != nil {
				continue // it says nothing of any object
			}
			found[e.Type+"\x00"+asked.ObjectOf(vars["data"])] = true
		}
		if len(page) < reconcileScan {
			return nil
		}
		filter.Before = page[len(page)-1].Seq
	}
}

func (a *App) reconciler() *reconciler {
	return &reconciler{store: a.store, inForce: a.current.Load, match: a.match, wake: a.stored, now: time.Now, first: &a.firstSeen}
}

// reconcileDue asks the providers of the sources that say how often.
func (a *App) reconcileDue(ctx context.Context) {
	sources := func() []config.Source { return a.current.Load().config.Sources }
	reconcileEach(ctx, cmp.Or(a.options.look, reconcileLook), sources, a.reconcileOne)
}

// reconcileEach calls ask for each source whose time has come, first at the first look and from then on as often
// as the source says now. One whose provider could not be asked waits as long as one that could: whoever is down
// isn't helped by being asked more often.
func reconcileEach(ctx context.Context, look time.Duration, sources func() []config.Source, ask func(context.Context, config.Source)) {
	last := map[string]time.Time{}
	for wait(ctx, look) {
		for _, s := range sources() {
			if s.Reconcile <= 0 || time.Since(last[s.Name]) < s.Reconcile {
				continue
			}
			last[s.Name] = time.Now()
			ask(ctx, s)
		}
	}
}

func (a *App) reconcileOne(ctx context.Context, s config.Source) {
	out, err := a.reconciler().reconcile(ctx, api.Reconcile{Kind: s.Preset, Source: s.Name})
	switch {
	case err != nil && ctx.Err() == nil:
		a.log.WarnContext(ctx, "reconciliation failed; it is tried again", "source", s.Name, "error", err)
	case out.Made > 0:
		a.log.WarnContext(ctx, "events were lost on the way, and are made now", "source", s.Name, "events", out.Made)
	}
}
