// Package httpreq is the step http/request: one HTTP call to an address that stands in the configuration.
//
// Scheme, host and port are the file's own words, so the call can go nowhere else, whatever an event
// holds; a private address is allowed for exactly that host. Values inserted in the path and the query are
// percent-encoded, and can neither leave their path segment nor add a parameter. The call carries an
// Idempotency-Key that is the same for all attempts of this step of this delivery: a receiver that honours
// it does the thing once, and one that doesn't may do it again after a lost answer.
package httpreq

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
)

// Request is the kind http/request, calling through e.
func Request(e *egress.Egress) step.Kind {
	return step.Kind{
		Name:    "http/request",
		Class:   step.ClassKeyed,
		Timeout: egress.DefaultTimeout,
		// After on_error: continue the status is a text, "failed".
		Result: []string{"status", "headers", "json", "body", "truncated"},
		Doc: "Makes one HTTP call. Its result has `status`, `headers` (lower-case names), and `json` or `body` when they are not too large (then `truncated` is true). " +
			"Redirects are not followed, and the whole call takes at most 30 s.",
		Params: []step.Param{
			{Name: "method", Type: step.TypeString, Literal: true, Default: http.MethodPost, Doc: "The method.",
				Enum: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}},
			{Name: "url", Type: step.TypeString, Required: true, Check: checkURL, Encode: encodeURL,
				Doc: "The address. `${{ }}` may stand in the path and the query, where values are percent-encoded; not in scheme, host and port."},
			{Name: "query", Type: step.TypeMap, Doc: "Parameters added to the address, encoded; a list gives a parameter several times."},
			{Name: "headers", Type: step.TypeMap, Doc: "Headers. `Idempotency-Key` is always sent."},
			{Name: "json", Type: step.TypeAny, Doc: "The body, sent as JSON."},
			{Name: "form", Type: step.TypeMap, Doc: "The body, sent as a form."},
			{Name: "body", Type: step.TypeString, Doc: "The body as it is: values inserted here are not encoded."},
			{Name: "expect_status", Type: step.TypeList, Default: []any{"2xx"}, Check: checkStatuses, Literal: true,
				Doc: "Statuses that are a success, such as `200` or `2xx`."},
		},
		Hosts: hosts,
		Run:   func(ctx context.Context, call *step.Call) (step.Result, error) { return run(ctx, call, e) },
	}
}

func run(ctx context.Context, call *step.Call, e *egress.Egress) (step.Result, error) {
	req, err := build(ctx, call)
	if err != nil {
		return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: err.Error(), Cause: err}
	}
	resp, err := e.Do(req)
	if err != nil {
		return nil, callFailure(req, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or its error is the one to tell
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, callFailure(req, err)
	}
	expected, _ := call.With["expect_status"].([]any)
	if !expects(expected, resp.StatusCode) {
		return nil, statusFailure(req, resp, body, call.Now())
	}
	return result(resp, body), nil
}

// callFailure says what a call without an answer means. A repeat carries the same key, so that what may
// have arrived can be sent again.
func callFailure(req *http.Request, err error) error {
	failure := &step.Failure{
		Disposition: step.Retry,
		Reason:      egress.Classify(err),
		Message:     fmt.Sprintf("%s %s: %s", req.Method, req.URL.Host, egress.Explain(err)),
		Cause:       err,
	}
	switch failure.Reason {
	case core.ReasonAddress, core.ReasonRedirect, core.ReasonTooLarge:
		failure.Disposition = step.Final // the same call would end the same way
	default:
		if egress.MayHaveSent(err) {
			failure.Disposition = step.Unknown
		}
	}
	return failure
}

const maxExcerpt = 200

func statusFailure(req *http.Request, resp *http.Response, body []byte, now time.Time) error {
	failure := &step.Failure{
		Disposition: step.Final,
		Reason:      core.ReasonStatus,
		Message:     fmt.Sprintf("%s %s answered %d", req.Method, req.URL.Host, resp.StatusCode),
	}
	if said := strings.TrimSpace(string(body[:min(len(body), maxExcerpt)])); said != "" {
		failure.Message += ": " + said
	}
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests:
		failure.Disposition, failure.Reason = step.Retry, core.ReasonRateLimited
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code >= 500:
		failure.Disposition = step.Retry
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		failure.Reason = core.ReasonAuth
	}
	if failure.Disposition == step.Retry {
		failure.After = egress.RetryAfter(resp.Header, now)
	}
	return failure
}
