package api

import (
	"context"
	"net/http"
	"strconv"

	"relais/internal/core"
	"relais/internal/store"
)

type listEvents struct {
	Page
	Span
	Source  string `query:"source" doc:"Of this source"`
	Type    string `query:"type" doc:"Of types that match: * is one segment, ** any number" example:"estimate.*"`
	Repeats bool   `query:"repeats" doc:"Repeats of events that were stored before, too"`
	Where   string `query:"where" maxLength:"65536" doc:"Those for which this CEL condition on event holds; then a page can be short, or empty, and have a next one" example:"event.data.amount > 1000"`
	Read    int    `query:"read" minimum:"1" maximum:"10000" default:"10000" doc:"With where: how many events are looked at for one page, at most"`
}

// Events is a page of events.
type Events struct {
	List[Event]
	Read             int    `json:"read,omitempty" doc:"With where: events that were looked at"`
	Undecided        int    `json:"undecided,omitempty" doc:"With where: left out because the condition could not be evaluated on them, a missing key for instance"`
	UndecidedExample string `json:"undecided_example,omitempty"`
}

type eventList struct{ Body Events }

type oneEvent struct {
	ID       string `path:"id" example:"evt_0192f0c1a2b37c5d8e9f001122334455"`
	WithBody bool   `query:"body" doc:"With the body"`
}

type eventDetail struct{ Body Event }

func (s *server) registerEvents() {
	register(s, operation(http.MethodGet, "/events", "list-events", "events", "List events, newest first", 422), s.listEvents)
	register(s, operation(http.MethodGet, "/events/{id}", "get-event", "events", "One event with its headers", 404, 422), s.getEvent)
	register(s, operation(http.MethodPost, "/events/purge", "purge-events", "events",
		"Delete events for good, with their deliveries and attempts", 422, 503), s.purge)
}

func (s *server) listEvents(ctx context.Context, in *listEvents) (*eventList, error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	types, err := pattern("query.type", in.Type)
	if err != nil {
		return nil, err
	}
	filter := store.EventFilter{Source: in.Source, Type: types, Since: in.Since, Until: in.Until, Repeats: in.Repeats, Before: before}
	if in.Where != "" {
		filter.Body = true
		return s.searchEvents(ctx, in, filter)
	}
	filter.Limit = in.Limit + 1
	rows, err := s.Store.Events(ctx, filter)
	if err != nil {
		return nil, err
	}
	return &eventList{Events{List: listed(rows, in.Limit, viewEvent, func(e *core.Event) string { return strconv.FormatInt(e.Seq, 10) })}}, nil
}

// searchEvents looks for a page of events at as many as one request may read: who asks sees how far it is, and can go
// on from there or stop.
func (s *server) searchEvents(ctx context.Context, in *listEvents, filter store.EventFilter) (*eventList, error) {
	holds, err := s.condition("query.where", in.Where)
	if err != nil {
		return nil, err
	}
	out := Events{List: List[Event]{Items: []Event{}}}
	var without undecided
	var last int64
	err = s.scan(ctx, filter, func(event *core.Event) (bool, error) {
		if out.Read == in.Read || len(out.Items) == in.Limit {
			out.NextCursor = strconv.FormatInt(last, 10)
			return true, nil
		}
		out.Read++
		last = event.Seq
		ok, err := without.chosen(ctx, holds, event)
		if ok {
			out.Items = append(out.Items, viewEvent(event))
		}
		return false, err
	})
	out.Undecided, out.UndecidedExample = without.count, without.example
	return &eventList{out}, err
}

func (s *server) getEvent(ctx context.Context, in *oneEvent) (*eventDetail, error) {
	id, err := core.ParseEventID(in.ID)
	if err != nil {
		return nil, at("path.id", err)
	}
	e, err := s.Store.Event(ctx, id)
	if err != nil {
		return nil, err
	}
	return &eventDetail{viewWholeEvent(&e, in.WithBody)}, nil
}
