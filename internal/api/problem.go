package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"relais/internal/core"
	"relais/internal/store"
)

// statusOf is the one place where codes become HTTP's.
func statusOf(code core.Code) int {
	switch code {
	case core.CodeInvalid:
		return http.StatusUnprocessableEntity
	case core.CodeNotFound:
		return http.StatusNotFound
	case core.CodeConflict:
		return http.StatusConflict
	case core.CodeForbidden:
		return http.StatusForbidden
	case core.CodeUnavailable, core.CodeFull:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// problem turns an operation's error into what the caller may read.
func (s *server) problem(ctx context.Context, operation string, err error) error {
	var ready huma.StatusError
	if errors.As(err, &ready) {
		return err
	}
	var e *core.Error
	if !errors.As(err, &e) {
		if errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
			s.Log.WarnContext(ctx, "the store did not answer", "operation", operation, "err", err)
			e = core.Errorf(core.CodeUnavailable, "the store can't be read or written now: try again")
		} else {
			if ctx.Err() == nil {
				s.Log.ErrorContext(ctx, "an operation failed", "operation", operation, "err", err)
			}
			return huma.NewError(http.StatusInternalServerError, "relais failed here; its log says why")
		}
	}
	status := statusOf(e.Code)
	var details []error
	if e.Field != "" {
		details = append(details, &huma.ErrorDetail{Message: e.Message, Location: e.Field})
	}
	message := e.Message
	if status == http.StatusServiceUnavailable && errors.Is(err, store.ErrUnavailable) && s.State != nil {
		if accepts := s.State().Accepts; accepts != "" {
			message += "; " + accepts
		}
	}
	problem := huma.NewError(status, message, details...)
	if status == http.StatusServiceUnavailable {
		return huma.ErrorWithHeaders(problem, http.Header{"Retry-After": {"5"}})
	}
	return problem
}

// at names the field that an error is about.
func at(field string, err error) error {
	var e *core.Error
	if !errors.As(err, &e) {
		return err
	}
	named := *e
	named.Field = field
	return &named
}

// writeProblem answers with a problem outside of any operation.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	var body bytes.Buffer
	// A struct of strings and numbers always encodes.
	_ = json.NewEncoder(&body).Encode(&huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail})
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// problems gives requests to no operation a problem too, where the mux would answer in plain text.
func problems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refusal, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		answer := &silent{header: http.Header{}}
		refusal.ServeHTTP(answer, r)
		if answer.status == http.StatusMethodNotAllowed {
			allow := answer.header.Get("Allow")
			w.Header().Set("Allow", allow)
			writeProblem(w, answer.status, r.Method+" is not allowed here; allowed: "+allow)
			return
		}
		writeProblem(w, http.StatusNotFound, "there is nothing at "+r.URL.Path+"; /openapi.json lists what there is")
	})
}

// silent keeps an answer's status and header, and drops its body.
type silent struct {
	header http.Header
	status int
}

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) Write(b []byte) (int, error) { return len(b), nil }
func (s *silent) WriteHeader(status int)      { s.status = status }

// recovered answers 500 to a request whose handling panics, and logs it: one request's fault must not
// end the process that holds everybody's deliveries.
func (s *server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if fault := recover(); fault != nil {
				s.Log.ErrorContext(r.Context(), "an operation panicked", "method", r.Method, "path", r.URL.Path, "fault", fault)
				writeProblem(w, http.StatusInternalServerError, "relais failed here; its log says why")
			}
		}()
		next.ServeHTTP(w, r)
	})
}
