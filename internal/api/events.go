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
}

type eventList struct{ Body List[Event] }

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
	rows, err := s.Store.Events(ctx, store.EventFilter{
		Source: in.Source, Type: types, Since: in.Since, Until: in.Until, Repeats: in.Repeats, Before: before, Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	return &eventList{listed(rows, in.Limit, func(e *core.Event) Event { return viewEvent(e) },
		func(e *core.Event) string { return strconv.FormatInt(e.Seq, 10) })}, nil
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
