package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

const (
	// MaxMessage is how much of what a system says is kept.
	MaxMessage = 600
	// LongestRetryAfter bounds what a system may ask to be left alone for.
	LongestRetryAfter = 6 * time.Hour
)

// Error is an answer that is no success.
type Error struct {
	System  string
	Status  int
	Message string // the system's own
	After   time.Duration
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s answered %d: %s", e.System, e.Status, e.Message)
}

// Refused tells that the system said no: nothing was done. A timeout (408), a conflict (409) and its own
// faults (5xx) say nothing about what was done.
func (e *Error) Refused() bool {
	return e.Status/100 == 4 && e.Status != http.StatusRequestTimeout && e.Status != http.StatusConflict
}

// UnreadError is a call without an answer, or with one that can't be read.
type UnreadError struct {
	Cause  error
	Status int // 0 without an answer
}

func (e *UnreadError) Error() string { return e.Cause.Error() }
func (e *UnreadError) Unwrap() error { return e.Cause }

// Unreadable is a success whose content isn't what was asked for.
func Unreadable(format string, args ...any) error {
	return &UnreadError{Cause: fmt.Errorf(format, args...), Status: http.StatusOK}
}

// AuthError says that nothing can be called, since the system gives no token.
type AuthError struct{ Message string }

func (e *AuthError) Error() string { return e.Message }

// NewError reads an answer that is no success.
func (a *API) NewError(response *http.Response, body []byte) *Error {
	message := a.Said(body)
	if message == "" {
		message = http.StatusText(response.StatusCode)
	}
	return &Error{System: a.Name, Status: response.StatusCode, Message: a.readable(message), After: a.retryAfter(response)}
}

// readable makes what came from outside fit for a message: short, on one line, without our secrets.
func (a *API) readable(text string) string {
	for _, secret := range a.Secrets {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)
	if len(text) > MaxMessage {
		text = strings.ToValidUTF8(text[:MaxMessage], "") + "…"
	}
	return text
}

// retryAfter is when the system may be called again.
func (a *API) retryAfter(response *http.Response) time.Duration {
	if text := response.Header.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds >= 0 {
			return time.Duration(min(seconds, int64(LongestRetryAfter/time.Second))) * time.Second
		}
		if at, err := http.ParseTime(text); err == nil {
			return min(max(time.Until(at), 0), LongestRetryAfter)
		}
	}
	if a.After == nil {
		return 0
	}
	return a.After(response)
}

// Failure says what a failed call means for the delivery. doing names the call: "read estimate 52437688". What
// isn't a call's error is returned as it is.
func (s *System) Failure(doing string, err error) error {
	var (
		failed *Error
		unread *UnreadError
		auth   *AuthError
		done   *step.Failure
	)
	switch {
	case err == nil, errors.As(err, &done), errors.Is(err, store.ErrLostClaim), errors.Is(err, store.ErrUnavailable):
		return err
	case errors.As(err, &auth):
		return &step.Failure{Disposition: step.Retry, Reason: core.ReasonAuth, Message: doing + ": " + auth.Message, Cause: err}
	case errors.As(err, &failed):
		return s.meaning(doing, failed)
	case errors.Is(err, once.ErrStalled):
		return &step.Failure{Disposition: step.Retry, Reason: core.ReasonInterrupted, Message: doing + ": " + once.ErrStalled.Error(), Cause: err}
	case errors.As(err, &unread) && unread.Status != 0:
		return &step.Failure{Disposition: step.Retry, Reason: core.ReasonInvalidData,
			Message: fmt.Sprintf("%s: %s answered %d, and the answer can't be read", doing, s.Name, unread.Status), Cause: err}
	case errors.As(err, &unread), errors.Is(err, context.DeadlineExceeded):
		return &step.Failure{Disposition: step.Retry, Reason: egress.Classify(err), Message: doing + ": " + egress.Explain(err), Cause: err}
	}
	return err
}

// Explained gives a failed call the words of a failed step, for somebody who asked for the call.
func (s *System) Explained(doing string, err error) error {
	var f *step.Failure
	if errors.As(s.Failure(doing, err), &f) {
		return errors.New(f.Message)
	}
	return err
}

// meaning is that of an answer that is no success.
func (s *System) meaning(doing string, e *Error) *step.Failure {
	f := &step.Failure{Disposition: step.Final, Reason: core.ReasonStatus, Message: doing + ": " + e.Error(), Cause: e, After: e.After}
	switch {
	case e.Status == http.StatusUnauthorized:
		f.Disposition, f.Reason = step.Retry, core.ReasonAuth
	case e.Status == http.StatusForbidden:
		f.Reason = core.ReasonAuth
	case e.Status == http.StatusTooManyRequests:
		f.Disposition, f.Reason = step.Retry, core.ReasonRateLimited
	case e.Status == http.StatusServiceUnavailable:
		f.Disposition, f.Reason = step.Retry, core.ReasonMaintenance
	case !e.Refused():
		f.Disposition = step.Retry
	}
	s.Hint(e, f)
	return f
}
