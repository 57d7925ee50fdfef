package api

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"relais/internal/core"
	"relais/internal/store"
)

// replayPlan gathers the deliveries that a replay is to make, the oldest event first: an order that
// destinations rely on is kept.
type replayPlan struct {
	server *server
	routes Routes
	in     *Replay
	only   *core.Destination
	made   []store.NewReplay
	// chosen keeps an event from going twice to one destination in one replay.
	chosen map[place]bool
	holds  Predicate // nil takes all
	out    Replayed
}

type place struct {
	event core.EventID
	to    core.Destination
}

func (p *replayPlan) choose(ctx context.Context) error {
	in := p.in
	if err := p.numbered(ctx); err != nil {
		return err
	}
	filter := in.Source != "" || in.Type != "" || in.State != "" || in.Destination != "" || in.Where != "" || in.Reason != "" ||
		!in.Since.IsZero() || !in.Until.IsZero()
	switch {
	case in.Reason != "" && in.State != "" && in.State != string(core.StateDead):
		return at("body.reason", core.Errorf(core.CodeInvalid, "a reason is what a delivery is dead for: leave the state out, or say dead"))
	case in.After != "" && !in.Oldest:
		return at("body.after", core.Errorf(core.CodeInvalid, "after goes with oldest"))
	case len(in.Events) > 0 && len(in.Deliveries) > 0:
		return at("body.deliveries", core.Errorf(core.CodeInvalid, "give events or deliveries, not both"))
	case len(in.Deliveries) > 0 && filter:
		return at("body.deliveries", core.Errorf(core.CodeInvalid, "named deliveries take no filter: each goes to its own destination"))
	case len(in.Events) == 0 && len(in.Deliveries) == 0 && !filter:
		return at("body", core.Errorf(core.CodeInvalid, "say what to replay: events, deliveries, or a filter (source, type, since, until, state, reason, where, destination)"))
	}
	if err := p.checkDestination(); err != nil {
		return err
	}
	if in.Where != "" {
		var err error
		if p.holds, err = p.server.condition("body.where", in.Where); err != nil {
			return err
		}
	}
	switch {
	case len(in.Events) > 0:
		return p.namedEvents(ctx)
	case len(in.Deliveries) > 0:
		return p.namedDeliveries(ctx)
	case in.State != "" || in.Reason != "":
		return p.filteredDeliveries(ctx)
	default:
		return p.filteredEvents(ctx)
	}
}

// checkDestination refuses a destination that doesn't exist, and a step that the destination named, or
// every destination, doesn't have.
func (p *replayPlan) checkDestination() error {
	among := p.routes.Destinations()
	if p.in.Destination != "" {
		to, err := destination("body.destination", p.in.Destination)
		if err != nil {
			return err
		}
		if !isDestination(p.routes, to) {
			return at("body.destination", noSuch("destination", to.String(), names(among)))
		}
		p.only, among = &to, []core.Destination{to}
	}
	if p.in.FromStep == "" {
		return nil
	}
	var steps []string
	for _, to := range among {
		steps = append(steps, p.routes.Steps(to)...)
	}
	if !slices.Contains(steps, p.in.FromStep) {
		return at("body.from_step", noSuch("step", p.in.FromStep, steps))
	}
	return nil
}

func names(among []core.Destination) []string {
	out := make([]string, len(among))
	for i, d := range among {
		out[i] = d.String()
	}
	return out
}

// noSuch says that a name isn't one of those that there are, and which was probably meant.
func noSuch(what, name string, among []string) error {
	if near := core.Nearest(name, among); near != "" {
		return core.Errorf(core.CodeInvalid, "there is no %s %q; did you mean %q?", what, name, near)
	}
	if len(among) == 0 {
		return core.Errorf(core.CodeInvalid, "there is no %s %q, nor any other", what, name)
	}
	shown := among[:min(len(among), 20)]
	return core.Errorf(core.CodeInvalid, "there is no %s %q; there are: %s", what, name, strings.Join(shown, ", "))
}

func (p *replayPlan) namedEvents(ctx context.Context) error {
	if p.in.State != "" || p.in.Reason != "" || p.in.Where != "" || p.in.Source != "" || p.in.Type != "" || !p.in.Since.IsZero() || !p.in.Until.IsZero() {
		return at("body.events", core.Errorf(core.CodeInvalid, "named events take no filter but a destination"))
	}
	for i, text := range p.in.Events {
		field := fmt.Sprintf("body.events[%d]", i)
		id, err := core.ParseEventID(text)
		if err != nil {
			return at(field, err)
		}
		event, err := p.server.Store.Event(ctx, id)
		if err != nil {
			return at(field, err)
		}
		if err := p.noteRepeat(ctx, &event); err != nil {
			return err
		}
		if err := p.addEvent(ctx, &event); err != nil {
			return err
		}
	}
	return nil
}

// noteRepeat tells of an event that repeats another one: no route took it when it came, so that whoever replays
// it has what was done before done again, perhaps without meaning to.
func (p *replayPlan) noteRepeat(ctx context.Context, event *core.Event) error {
	if event.RepeatOf.IsZero() || len(p.out.Repeats) >= shownIDs {
		return nil
	}
	repeat := Repeated{Request: event.Seq, Event: event.ID.String(), Of: event.RepeatOf.String()}
	first, err := p.server.Store.Event(ctx, event.RepeatOf)
	switch {
	case err == nil:
		repeat.OfRequest = first.Seq
	case core.CodeOf(err) != core.CodeNotFound: // retention takes the older one first
		return err
	}
	p.out.Repeats = append(p.out.Repeats, repeat)
	return nil
}

func (p *replayPlan) namedDeliveries(ctx context.Context) error {
	ids, err := deliveryIDs("body.deliveries", p.in.Deliveries)
	if err != nil {
		return err
	}
	for i, id := range ids {
		d, err := p.server.Store.Delivery(ctx, id)
		if err != nil {
			return at(fmt.Sprintf("body.deliveries[%d]", i), err)
		}
		if err := p.addDelivery(ctx, &d); err != nil {
			return err
		}
	}
	return nil
}

// filteredDeliveries takes the deliveries in the state that are the newest of their event and
// destination: what was replayed since is settled by that replay, so that "replay what is dead" said
// twice does nothing twice.
func (p *replayPlan) filteredDeliveries(ctx context.Context) error {
	types, err := pattern("body.type", p.in.Type)
	if err != nil {
		return err
	}
	var after core.DeliveryID
	if p.in.After != "" {
		if after, err = core.ParseDeliveryID(p.in.After); err != nil {
			return at("body.after", err)
		}
	}
	state := core.State(p.in.State)
	if p.in.Reason != "" {
		state = core.StateDead
	}
	f := store.DeliveryFilter{State: state, Source: p.in.Source, Since: p.in.Since, Until: p.in.Until, Limit: scanPage}
	if p.only != nil {
		f.Destination = p.only.String()
	}
	var chosen []core.Delivery
	for ended := false; !ended; {
		page, err := p.server.Store.Deliveries(ctx, f)
		if err != nil {
			return err
		}
		for i := 0; i < len(page) && !ended; i++ {
			if page[i].ID <= after {
				ended = true
				break
			}
			take, err := p.takes(ctx, &page[i], types)
			if err != nil {
				return err
			}
			if take {
				chosen, ended = choose(p, chosen, page[i])
			}
		}
		if ended = ended || len(page) < scanPage; ended {
			break
		}
		f.Before = int64(page[len(page)-1].ID)
	}
	if chosen = within(p, chosen); p.out.Truncated && p.in.Oldest {
		p.out.Next = chosen[0].ID.String()
	}
	slices.Reverse(chosen)
	for i := range chosen {
		if err := p.addDelivery(ctx, &chosen[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *replayPlan) takes(ctx context.Context, d *core.Delivery, types core.Pattern) (bool, error) {
	if p.in.Reason != "" && d.Reason != core.Reason(p.in.Reason) {
		return false, nil
	}
	newest, err := p.newest(ctx, d.Event, d.Destination)
	if err != nil || newest != d.ID {
		return false, err
	}
	if p.in.Type == "" && p.holds == nil {
		return true, nil
	}
	event, err := p.server.Store.Event(ctx, d.Event)
	if err != nil || !types.Match(event.Type) {
		return false, err
	}
	return p.satisfies(ctx, &event)
}

// newest is the newest delivery of an event to a destination; 0 where there is none.
func (p *replayPlan) newest(ctx context.Context, event core.EventID, to core.Destination) (core.DeliveryID, error) {
	rows, err := p.server.Store.Deliveries(ctx, store.DeliveryFilter{Event: event, Destination: to.String(), Limit: 1})
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].ID, nil
}

func (p *replayPlan) filteredEvents(ctx context.Context) error {
	types, err := pattern("body.type", p.in.Type)
	if err != nil {
		return err
	}
	after, err := p.afterEvent(ctx)
	if err != nil {
		return err
	}
	f := store.EventFilter{Source: p.in.Source, Type: types, Since: p.in.Since, Until: p.in.Until, Body: p.holds != nil}
	var chosen []core.EventID
	err = p.server.scan(ctx, f, func(event *core.Event) (enough bool, err error) {
		if event.Seq <= after {
			return true, nil
		}
		take, err := p.satisfies(ctx, event)
		if take {
			chosen, enough = choose(p, chosen, event.ID)
		}
		return enough, err
	})
	if err != nil {
		return err
	}
	if chosen = within(p, chosen); p.out.Truncated && p.in.Oldest {
		p.out.Next = chosen[0].String()
	}
	slices.Reverse(chosen)
	for _, id := range chosen {
		event, err := p.server.Store.Event(ctx, id)
		if err != nil {
			return err
		}
		if err := p.addEvent(ctx, &event); err != nil {
			return err
		}
	}
	return nil
}

// addEvent adds the deliveries of an event to what it matches today, or to the one destination.
func (p *replayPlan) addEvent(ctx context.Context, event *core.Event) error {
	deliveries, _ := p.routes.MatchAfter(event, "", math.MaxInt)
	if p.only != nil {
		// A person who names the destination means it, also for an event that it doesn't match.
		d, err := p.routes.Delivery(event, *p.only)
		if err != nil {
			return err
		}
		deliveries = []store.NewDelivery{d}
	}
	if len(deliveries) == 0 {
		p.skip(event.ID, "", "no route takes it by today's configuration")
		return nil
	}
	for i := range deliveries {
		of, err := p.newest(ctx, event.ID, deliveries[i].Destination)
		if err != nil {
			return err
		}
		if err := p.add(ctx, event, &deliveries[i], of); err != nil {
			return err
		}
	}
	return nil
}

func (p *replayPlan) addDelivery(ctx context.Context, d *core.Delivery) error {
	event, err := p.server.Store.Event(ctx, d.Event)
	if err != nil {
		return err
	}
	again, err := p.routes.Delivery(&event, d.Destination)
	if core.CodeOf(err) == core.CodeConflict {
		p.skip(d.Event, d.Destination.String(), "its destination is not in the configuration any more")
		return nil
	}
	if err != nil {
		return err
	}
	return p.add(ctx, &event, &again, d.ID)
}

// add plans one delivery, unless the one that it would do again is still to run by itself.
func (p *replayPlan) add(ctx context.Context, event *core.Event, d *store.NewDelivery, of core.DeliveryID) error {
	here := place{event.ID, d.Destination}
	if p.chosen[here] {
		p.skip(event.ID, d.Destination.String(), "it was chosen twice")
		return nil
	}
	p.chosen[here] = true
	if of != 0 {
		before, err := p.server.Store.Delivery(ctx, of)
		if err != nil {
			return err
		}
		if before.State == core.StatePending || before.State == core.StateRunning {
			p.skipLive(event.ID, &before)
			return nil
		}
	}
	if p.in.FromStep != "" && !slices.Contains(p.routes.Steps(d.Destination), p.in.FromStep) {
		p.skip(event.ID, d.Destination.String(), "its route has no step "+p.in.FromStep)
		return nil
	}
	p.made = append(p.made, store.NewReplay{
		Event: event.ID, Destination: d.Destination, Priority: d.Priority, FromStep: p.in.FromStep, Of: of,
		Ordered: d.Ordered, OrderKey: d.OrderKey, RouteSet: p.routes.Hash(),
	})
	p.out.ByDestination[d.Destination.String()]++
	if len(p.out.Deliveries) < shownIDs {
		one := ReplayedOne{Event: event.ID.String(), Source: event.Source, Type: event.Type, Destination: d.Destination.String()}
		if of != 0 {
			one.Of = of.String()
		}
		p.out.Deliveries = append(p.out.Deliveries, one)
	}
	return nil
}

// skipLive leaves out what a delivery that is still to end will do.
func (p *replayPlan) skipLive(event core.EventID, d *core.Delivery) {
	one := NotReplayed{
		Event: event.String(), Destination: d.Destination.String(), Reason: "its delivery is still " + string(d.State) + " and will end by itself",
	}
	if d.State == core.StatePending {
		one.Pending, one.DueAt = d.ID.String(), d.DueAt.UTC()
	}
	p.skipped(one)
}

func (p *replayPlan) skip(event core.EventID, destination, reason string) {
	p.skipped(NotReplayed{Event: event.String(), Destination: destination, Reason: reason})
}

func (p *replayPlan) skipped(one NotReplayed) {
	p.out.Skipped++
	p.out.SkippedBy[one.Reason]++
	if len(p.out.SkippedItems) < shownIDs {
		p.out.SkippedItems = append(p.out.SkippedItems, one)
	}
}
