package sellsy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
	"relais/internal/step/once"
	"relais/internal/store"
)

// apiError is an answer of Sellsy that is no success.
type apiError struct {
	Status  int
	Message string // Sellsy's own, with its details
	After   time.Duration
}

func (e *apiError) Error() string { return fmt.Sprintf("Sellsy answered %d: %s", e.Status, e.Message) }

// refused tells that Sellsy said no: nothing was done. A timeout (408), a conflict (409) and its own
// faults (5xx) say nothing about what was done.
func (e *apiError) refused() bool {
	return e.Status/100 == 4 && e.Status != http.StatusRequestTimeout && e.Status != http.StatusConflict
}

// netError is a call without an answer, or with one that can't be read.
type netError struct {
	cause  error
	status int // 0 without an answer
}

func (e *netError) Error() string { return e.cause.Error() }
func (e *netError) Unwrap() error { return e.cause }

// authError says that no token can be had.
type authError struct{ message string }

func (e *authError) Error() string { return e.message }

const (
	maxMessage        = 600
	maintenance       = 30 * time.Minute
	longestRetryAfter = 6 * time.Hour
)

// newAPIError reads {"error": {"code", "message", "context", "details": {field: message}}}.
func (c *client) newAPIError(response *http.Response, data []byte) *apiError {
	var body struct {
		Error json.RawMessage `json:"error"`
	}
	var failure struct {
		Message string                     `json:"message"`
		Details map[string]json.RawMessage `json:"details"`
	}
	message := ""
	if json.Unmarshal(data, &body) == nil && json.Unmarshal(body.Error, &failure) == nil {
		message = failure.Message
		for _, field := range slices.Sorted(maps.Keys(failure.Details)) {
			said := string(failure.Details[field])
			var text string
			if json.Unmarshal(failure.Details[field], &text) == nil {
				said = text
			}
			message += "; " + field + ": " + said
		}
	}
	if message == "" {
		message = http.StatusText(response.StatusCode)
	}
	return &apiError{Status: response.StatusCode, Message: c.readable(message), After: retryAfter(response)}
}

// readable makes what came from outside fit for a message: short, on one line, without our secrets.
func (c *client) readable(text string) string {
	for _, secret := range c.secrets {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// retryAfter is when Sellsy may be called again: as it says, or as the quota that is used up tells.
func retryAfter(response *http.Response) time.Duration {
	if text := response.Header.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds >= 0 {
			return time.Duration(min(seconds, int64(longestRetryAfter/time.Second))) * time.Second
		}
		if at, err := http.ParseTime(text); err == nil {
			return min(max(time.Until(at), 0), longestRetryAfter)
		}
	}
	if response.StatusCode != http.StatusTooManyRequests {
		return 0
	}
	for _, quota := range []struct {
		header string
		wait   time.Duration
	}{
		{"X-Quota-Remaining-By-Month", longestRetryAfter}, {"X-Quota-Remaining-By-Day", time.Hour},
		{"X-Quota-Remaining-By-Minute", time.Minute}, {"X-Quota-Remaining-By-Second", time.Second},
	} {
		if response.Header.Get(quota.header) == "0" {
			return quota.wait
		}
	}
	return time.Minute
}

// failure says what a failed call means for the delivery. doing names the call: "read estimate 52437688".
func failure(doing string, err error) error {
	var (
		api  *apiError
		auth *authError
		net  *netError
		done *step.Failure
	)
	switch {
	case errors.As(err, &done), errors.Is(err, store.ErrLostClaim), errors.Is(err, store.ErrUnavailable):
		return err
	case errors.As(err, &auth):
		return &step.Failure{Disposition: step.Retry, Reason: core.ReasonAuth, Message: doing + ": " + auth.message, Cause: err}
	case errors.As(err, &api):
		return apiFailure(doing, api)
	case errors.Is(err, once.ErrStalled):
		return &step.Failure{Disposition: step.Retry, Reason: core.ReasonInterrupted, Message: doing + ": " + once.ErrStalled.Error(), Cause: err}
	case errors.As(err, &net) && net.status != 0:
		return &step.Failure{Disposition: step.Retry, Reason: core.ReasonInvalidData,
			Message: fmt.Sprintf("%s: Sellsy answered %d, and the answer can't be read", doing, net.status), Cause: err}
	case errors.As(err, &net), errors.Is(err, context.DeadlineExceeded):
		return &step.Failure{Disposition: step.Retry, Reason: egress.Classify(err), Message: doing + ": " + egress.Explain(err), Cause: err}
	}
	return err
}

func apiFailure(doing string, e *apiError) *step.Failure {
	f := &step.Failure{Disposition: step.Final, Reason: core.ReasonStatus, Message: doing + ": " + e.Error(), Cause: e, After: e.After}
	switch {
	case e.Status == http.StatusUnauthorized:
		f.Disposition, f.Reason = step.Retry, core.ReasonAuth
		f.Message += "; the connection's token is refused, and so is a new one where one could be had: mend the connection's secrets"
	case e.Status == http.StatusForbidden:
		f.Reason = core.ReasonAuth
		f.Message += "; the client needs the scopes estimates.read, invoices.read and invoices.write, and its owner the rights on these documents"
	case e.Status == http.StatusTooManyRequests:
		f.Disposition, f.Reason = step.Retry, core.ReasonRateLimited
	case e.Status == http.StatusServiceUnavailable:
		f.Disposition, f.Reason = step.Retry, core.ReasonMaintenance
		if f.After == 0 {
			f.After = maintenance
		}
	case !e.refused():
		f.Disposition = step.Retry
	}
	return f
}
