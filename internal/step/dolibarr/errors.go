package dolibarr

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

// apiError is an answer of Dolibarr that is no success.
type apiError struct {
	Status  int
	Message string
	After   time.Duration
}

func (e *apiError) Error() string {
	return fmt.Sprintf("Dolibarr answered %d: %s", e.Status, e.Message)
}

// refused tells that Dolibarr said no: nothing was done. A timeout, a conflict and its own faults (an
// error in the middle of a creation is a 500) say nothing about what was done.
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

const (
	maxMessage        = 600
	longestRetryAfter = 6 * time.Hour
)

// isAbsent tells an object, or a list, that isn't there: its message goes on after "Not Found".
func isAbsent(err error) bool {
	var failed *apiError
	return errors.As(err, &failed) && failed.Status == http.StatusNotFound && !failed.noCall()
}

// noCall tells that there is no such call at all: the module is off, or the version older.
func (e *apiError) noCall() bool {
	return e.Status == http.StatusNotImplemented || e.Status == http.StatusNotFound && e.Message == http.StatusText(http.StatusNotFound)
}

// newAPIError reads {"error": {"code": 404, "message": "Not Found: …", "0": "more"}, "debug": {…}}. What is
// under debug tells of files and lines of the server, and is left out.
func (c *Connection) newAPIError(response *http.Response, data []byte) *apiError {
	var body struct {
		Error map[string]json.RawMessage `json:"error"`
	}
	var said []string
	if json.Unmarshal(data, &body) == nil {
		for _, name := range slices.Sorted(maps.Keys(body.Error)) {
			var text string
			_, number := strconv.Atoi(name)
			if (name == "message" || number == nil) && json.Unmarshal(body.Error[name], &text) == nil && text != "" {
				said = append(said, text)
			}
		}
	}
	if len(said) == 0 {
		said = []string{http.StatusText(response.StatusCode)}
	}
	return &apiError{Status: response.StatusCode, Message: c.readable(strings.Join(said, "; ")), After: retryAfter(response)}
}

// readable makes what came from outside fit for a message: short, on one line, without the key.
func (c *Connection) readable(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ReplaceAll(text, c.key, "[secret]"))
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.ParseInt(response.Header.Get("Retry-After"), 10, 64)
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, int64(longestRetryAfter/time.Second))) * time.Second
}

// failure says what a failed call means for the delivery. doing names the call: "read proposal 123".
func failure(doing string, err error) error {
	var (
		api  *apiError
		net  *netError
		done *step.Failure
	)
	switch {
	case err == nil, errors.As(err, &done), errors.Is(err, store.ErrLostClaim), errors.Is(err, store.ErrUnavailable):
		return err
	case errors.As(err, &api):
		return apiFailure(doing, api)
	case errors.Is(err, once.ErrStalled):
		return &step.Failure{Disposition: step.Retry, Reason: core.ReasonInterrupted, Message: doing + ": " + once.ErrStalled.Error(), Cause: err}
	case errors.As(err, &net) && net.status != 0:
		return &step.Failure{Disposition: step.Retry, Reason: core.ReasonInvalidData,
			Message: fmt.Sprintf("%s: Dolibarr answered %d, and the answer can't be read", doing, net.status), Cause: err}
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
		f.Message += "; the connection's api_key is refused, or its user lacks the right (before version 19 both are said so)"
	case e.Status == http.StatusForbidden:
		f.Reason = core.ReasonAuth
		f.Message += "; the user of the api_key lacks the right for this"
	case e.noCall():
		f.Message += "; Dolibarr doesn't know this call: turn the module API/REST on in Dolibarr, and the module of the object"
	case e.Status == http.StatusTooManyRequests:
		f.Disposition, f.Reason = step.Retry, core.ReasonRateLimited
	case e.Status == http.StatusServiceUnavailable:
		f.Disposition, f.Reason = step.Retry, core.ReasonMaintenance
	case !e.refused():
		f.Disposition = step.Retry
	}
	return f
}
