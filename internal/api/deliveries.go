package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"relais/internal/core"
	"relais/internal/store"
)

type listDeliveries struct {
	Page
	Span
	Event       string `query:"event" doc:"Of this event"`
	Destination string `query:"destination" doc:"To this destination" example:"route:facture"`
	State       string `query:"state" enum:"pending,running,succeeded,dead,cancelled"`
	Source      string `query:"source" doc:"Of events of this source"`
}

type deliveryList struct{ Body List[Delivery] }

type oneDelivery struct {
	ID string `path:"id" example:"dlv_42"`
}

// DeliveryDetail is a delivery with what it has done so far.
type DeliveryDetail struct {
	Delivery
	Steps []Step `json:"steps" doc:"Finished steps with their results"`
}

type deliveryDetail struct{ Body DeliveryDetail }

type attemptList struct{ Body List[Attempt] }

// Cancel names the deliveries to cancel.
type Cancel struct {
	Deliveries []string `json:"deliveries" minItems:"1" maxItems:"1000" doc:"Pending deliveries, or dead ones that keep others waiting"`
}

type cancelRequest struct {
	By
	Body Cancel
}

type cancelOne struct {
	By
	ID string `path:"id" example:"dlv_42"`
}

// Cancelled says how many deliveries were cancelled; those that didn't wait are left as they are.
type Cancelled struct {
	Cancelled int `json:"cancelled"`
}

type cancelResult struct{ Body Cancelled }

func (s *server) registerDeliveries() {
	register(s, operation(http.MethodGet, "/deliveries", "list-deliveries", "deliveries", "List deliveries, newest first", 422), s.listDeliveries)
	register(s, operation(http.MethodGet, "/deliveries/{id}", "get-delivery", "deliveries", "One delivery with its finished steps", 404, 422), s.getDelivery)
	register(s, operation(http.MethodGet, "/deliveries/{id}/attempts", "list-attempts", "deliveries", "A delivery's attempts", 404, 422), s.listAttempts)
	register(s, operation(http.MethodPost, "/deliveries/{id}/cancel", "cancel-delivery", "deliveries", "End a delivery that waits", 404, 409, 422), s.cancelOne)
	register(s, operation(http.MethodPost, "/deliveries/cancel", "cancel-deliveries", "deliveries", "End deliveries that wait", 422), s.cancel)
}

func (s *server) listDeliveries(ctx context.Context, in *listDeliveries) (*deliveryList, error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	f := store.DeliveryFilter{
		State: core.State(in.State), Source: in.Source, Since: in.Since, Until: in.Until, Before: before, Limit: in.Limit + 1,
	}
	if in.Destination != "" {
		to, err := destination("query.destination", in.Destination)
		if err != nil {
			return nil, err
		}
		f.Destination = to.String()
	}
	if in.Event != "" {
		if f.Event, err = core.ParseEventID(in.Event); err != nil {
			return nil, at("query.event", err)
		}
	}
	rows, err := s.Store.Deliveries(ctx, f)
	if err != nil {
		return nil, err
	}
	routes := s.Routes()
	return &deliveryList{listed(rows, in.Limit, func(d *core.Delivery) Delivery { return viewDelivery(d, routes) },
		func(d *core.Delivery) string { return strconv.FormatInt(int64(d.ID), 10) })}, nil
}

func (s *server) delivery(ctx context.Context, text string) (core.Delivery, error) {
	id, err := core.ParseDeliveryID(text)
	if err != nil {
		return core.Delivery{}, at("path.id", err)
	}
	return s.Store.Delivery(ctx, id)
}

func (s *server) getDelivery(ctx context.Context, in *oneDelivery) (*deliveryDetail, error) {
	d, err := s.delivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	results, err := s.Store.Steps(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	out := DeliveryDetail{Delivery: viewDelivery(&d, s.Routes()), Steps: make([]Step, len(results))}
	for i, r := range results {
		out.Steps[i] = Step{Step: r.Step, Result: validJSON(r.Result)}
	}
	return &deliveryDetail{out}, nil
}

func (s *server) listAttempts(ctx context.Context, in *oneDelivery) (*attemptList, error) {
	d, err := s.delivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	attempts, err := s.Store.Attempts(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	return &attemptList{listed(attempts, len(attempts), viewAttempt, nil)}, nil
}

func (s *server) cancelOne(ctx context.Context, in *cancelOne) (*cancelResult, error) {
	d, err := s.delivery(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	n, err := s.Store.Cancel(ctx, []core.DeliveryID{d.ID}, in.by())
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, core.Errorf(core.CodeConflict, "%s is %s: only a delivery that waits, or a dead one that keeps others waiting, can be cancelled", d.ID, d.State)
	}
	s.Changed()
	return &cancelResult{Cancelled{n}}, nil
}

func (s *server) cancel(ctx context.Context, in *cancelRequest) (*cancelResult, error) {
	ids, err := deliveryIDs("body.deliveries", in.Body.Deliveries)
	if err != nil {
		return nil, err
	}
	n, err := s.Store.Cancel(ctx, ids, in.by())
	if err != nil {
		return nil, err
	}
	s.Changed()
	return &cancelResult{Cancelled{n}}, nil
}

func deliveryIDs(field string, texts []string) ([]core.DeliveryID, error) {
	ids := make([]core.DeliveryID, len(texts))
	for i, text := range texts {
		id, err := core.ParseDeliveryID(text)
		if err != nil {
			return nil, at(field+"["+strconv.Itoa(i)+"]", err)
		}
		ids[i] = id
	}
	return ids, nil
}

// destination reads "route:facture"; a name alone is a route's.
func destination(field, text string) (core.Destination, error) {
	kind, name, ok := strings.Cut(text, ":")
	if !ok {
		kind, name = string(core.DestinationRoute), text
	}
	to := core.Destination{Tenant: core.DefaultTenant, Kind: core.DestinationKind(kind), Name: name}
	if name == "" || to.Kind != core.DestinationRoute && to.Kind != core.DestinationEndpoint {
		return to, at(field, core.Errorf(core.CodeInvalid, "%q is not a destination: write route:NAME or endpoint:NAME", text))
	}
	return to, nil
}
