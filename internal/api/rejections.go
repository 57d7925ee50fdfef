package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

type listRejections struct {
	Page
	Source string    `query:"source" doc:"To this source"`
	Reason string    `query:"reason" doc:"Refused for this reason" example:"signature_invalid"`
	Since  time.Time `query:"since" doc:"Not before this time (RFC 3339)"`
}

type rejectionList struct{ Body List[Rejection] }

type oneRejection struct {
	ID       int64 `path:"id" minimum:"1"`
	WithBody bool  `query:"body" doc:"With what is kept of the body"`
}

type rejectionDetail struct{ Body Rejection }

// Retry chooses refused requests to verify again.
type Retry struct {
	IDs    []int64   `json:"ids,omitempty" maxItems:"1000"`
	Source string    `json:"source,omitempty" doc:"All of this source whose whole body is kept"`
	Since  time.Time `json:"since,omitzero"`
	DryRun bool      `json:"dry_run,omitempty" doc:"Only tell how many would be tried"`
}

// Retried says what verifying again gave.
type Retried struct {
	DryRun     bool           `json:"dry_run"`
	Tried      int            `json:"tried"`
	Accepted   int            `json:"accepted"`
	Incomplete int            `json:"incomplete" doc:"Not tried: their whole body isn't kept"`
	Done       int            `json:"done" doc:"Not tried: they became an event before"`
	Results    []RetriedOne   `json:"results" doc:"The first hundred"`
	Refused    map[string]int `json:"refused" doc:"How many are still refused, by what was said"`
}

// RetriedOne is what became of one refused request.
type RetriedOne struct {
	Rejection string `json:"rejection"`
	Event     string `json:"event,omitempty"`
	Message   string `json:"message,omitempty"`
}

type retryRequest struct {
	By
	Body Retry
}

type retryResult struct{ Body Retried }

func (s *server) registerRejections() {
	register(s, operation(http.MethodGet, "/rejections", "list-rejections", "rejections", "List refused requests, newest first", 422), s.listRejections)
	register(s, operation(http.MethodGet, "/rejections/{id}", "get-rejection", "rejections", "One refused request with its headers", 404, 422), s.getRejection)
	register(s, operation(http.MethodPost, "/rejections/retry", "retry-rejections", "rejections",
		"Verify refused requests again, after a wrong secret was mended", 422, 503), s.retryRejections)
}

func (s *server) listRejections(ctx context.Context, in *listRejections) (*rejectionList, error) {
	before, err := in.before()
	if err != nil {
		return nil, err
	}
	rows, err := s.Store.Rejections(ctx, store.RejectionFilter{
		Source: in.Source, Reason: core.RejectReason(in.Reason), Since: in.Since, Before: before, Limit: in.Limit + 1,
	})
	if err != nil {
		return nil, err
	}
	return &rejectionList{listed(rows, in.Limit, viewRejection, func(r *store.Rejection) string { return strconv.FormatInt(r.ID, 10) })}, nil
}

func (s *server) getRejection(ctx context.Context, in *oneRejection) (*rejectionDetail, error) {
	r, err := s.Store.Rejection(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	v := viewRejection(&r)
	v.Query, v.Headers = r.Query, core.DecodeHeader(r.Header)
	if in.WithBody {
		v.Body, v.BodyBase64 = viewBody(r.Body)
	}
	return &rejectionDetail{v}, nil
}

func (s *server) retryRejections(ctx context.Context, in *retryRequest) (*retryResult, error) {
	rows, err := s.chooseRejections(ctx, &in.Body)
	if err != nil {
		return nil, err
	}
	out := Retried{DryRun: in.Body.DryRun, Results: []RetriedOne{}, Refused: map[string]int{}}
	// The oldest first: events come to be in the order in which they were sent.
	for i := len(rows) - 1; i >= 0; i-- {
		r := &rows[i]
		switch {
		case !r.Event.IsZero():
			out.Done++
			continue
		case !r.Complete:
			out.Incomplete++
			continue
		}
		out.Tried++
		if in.Body.DryRun {
			continue
		}
		one, err := s.retryOne(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		if one.Event != "" {
			out.Accepted++
		} else {
			out.Refused[one.Message]++
		}
		if len(out.Results) < shownIDs {
			out.Results = append(out.Results, one)
		}
	}
	if in.Body.DryRun {
		return &retryResult{out}, nil
	}
	s.Changed()
	detail := strconv.Itoa(out.Accepted) + " of " + strconv.Itoa(out.Tried) + " accepted"
	return &retryResult{out}, s.audit(ctx, in.By, "rejections.retry", in.Body.Source, detail)
}

// retryOne reads the whole rejection and verifies it again. What can be told to the caller is part of
// the result; a store that is away ends the whole retry.
func (s *server) retryOne(ctx context.Context, id int64) (RetriedOne, error) {
	one := RetriedOne{Rejection: strconv.FormatInt(id, 10)}
	r, err := s.Store.Rejection(ctx, id)
	if err != nil {
		return one, err
	}
	event, err := s.RetryRejection(ctx, &r)
	switch code := core.CodeOf(err); {
	case err == nil:
		one.Event = event.String()
	case code == core.CodeUnavailable || code == core.CodeFull || code == "":
		return one, err
	default:
		one.Message = err.Error()
	}
	return one, nil
}

// chooseRejections returns what was chosen, newest first, without bodies.
func (s *server) chooseRejections(ctx context.Context, in *Retry) ([]store.Rejection, error) {
	switch {
	case len(in.IDs) == 0 && in.Source == "":
		return nil, at("body.source", core.Errorf(core.CodeInvalid, "say which: a source, or ids"))
	case len(in.IDs) > 0 && in.Source != "":
		return nil, at("body.ids", core.Errorf(core.CodeInvalid, "give ids or a source, not both"))
	case in.Source != "":
		if err := s.checkName("body.source", store.PauseSource, in.Source); err != nil {
			return nil, err
		}
		return s.rejectionsOf(ctx, in)
	}
	rows := make([]store.Rejection, len(in.IDs))
	for i, id := range in.IDs {
		r, err := s.Store.Rejection(ctx, id)
		if err != nil {
			return nil, at("body.ids["+strconv.Itoa(i)+"]", err)
		}
		r.Body = nil
		rows[len(rows)-1-i] = r
	}
	return rows, nil
}

func (s *server) rejectionsOf(ctx context.Context, in *Retry) ([]store.Rejection, error) {
	f := store.RejectionFilter{Source: in.Source, Since: in.Since, Limit: scanPage}
	var rows []store.Rejection
	for {
		page, err := s.Store.Rejections(ctx, f)
		if err != nil {
			return nil, err
		}
		rows = append(rows, page...)
		if len(page) < scanPage {
			return rows, nil
		}
		f.Before = page[len(page)-1].ID
	}
}
