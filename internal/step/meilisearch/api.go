package meilisearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
)

// Connection is the kind meilisearch: a server and a key.
func Connection() step.ConnectionKind {
	return step.ConnectionKind{
		Name: "meilisearch",
		Doc:  "A Meilisearch server.",
		Params: []step.Param{
			{Name: "url", Type: step.TypeString, Required: true, Doc: "Where it is, such as `https://search.example.fr`."},
			{Name: "api_key", Type: step.TypeString, Secret: true,
				Doc: "A key that may `documents.add` and `documents.delete`, and for `wait` also `tasks.get`; none for a server without a master key."},
		},
		Env: map[string]string{"url": "MEILISEARCH_URL", "api_key": "MEILISEARCH_API_KEY"},
		Open: func(settings map[string]any) (any, error) {
			u, err := base(settings)
			if err != nil {
				return nil, err
			}
			key, _ := settings["api_key"].(config.Secret)
			if strings.ContainsFunc(key.Reveal(), func(r rune) bool { return r <= ' ' || r == 0x7f }) {
				return nil, errors.New("api_key may not hold blanks, line breaks or control characters")
			}
			return &connection{base: u.String(), key: key}, nil
		},
		Hosts: func(settings map[string]any) []string { return step.Hosts(base(settings)) },
	}
}

type connection struct {
	base string
	key  config.Secret
}

func base(settings map[string]any) (*url.URL, error) {
	return step.BaseURL(settings, "https://search.example.fr")
}

// api is the server as one step sees it.
type api struct {
	*connection
	client *http.Client
	now    func() time.Time
}

// call makes one request and reads its answer. A repeat ends the same, so that no failure is unknown.
func (a *api) call(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("a request to Meilisearch: %w", err)
	}
	req.Header.Set("User-Agent", "relais")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !a.key.IsZero() {
		req.Header.Set("Authorization", "Bearer "+a.key.Reveal())
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return callFailure(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or its error is the one to tell
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return callFailure(err)
	}
	if resp.StatusCode >= 300 {
		return statusFailure(resp, answer, a.now())
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return &step.Failure{Disposition: step.Final, Reason: core.ReasonInvalidData, Cause: err,
			Message: "Meilisearch's answer is not its JSON: is the connection's url that of a Meilisearch?"}
	}
	return nil
}

func callFailure(err error) error {
	failure := &step.Failure{Disposition: step.Retry, Reason: egress.Classify(err), Message: "Meilisearch: " + egress.Explain(err), Cause: err}
	switch failure.Reason {
	case core.ReasonAddress, core.ReasonRedirect, core.ReasonTooLarge:
		failure.Disposition = step.Final // the same call would end the same way
	}
	return failure
}

// fault is an error as Meilisearch writes it, in answers and in tasks.
type fault struct {
	Message string `json:"message"`
	Code    string `json:"code"`
	Type    string `json:"type"`
}

// passes tells that it is about the server, and not about what was sent: a full disk is told with a 422.
func (f *fault) passes() bool { return f.Type == "internal" || f.Type == "system" }

const maxSaid = 300

func (f *fault) text() string {
	message := f.Message
	if len(message) > maxSaid {
		message = strings.ToValidUTF8(message[:maxSaid], "") + "…"
	}
	if f.Code == "" {
		return message
	}
	return strings.TrimSuffix(f.Code+": "+message, ": ")
}

func statusFailure(resp *http.Response, body []byte, now time.Time) error {
	failure := &step.Failure{Disposition: step.Final, Reason: core.ReasonStatus, Message: fmt.Sprintf("Meilisearch answered %d", resp.StatusCode)}
	var said fault
	if json.Unmarshal(body, &said) == nil && said.text() != "" {
		failure.Message += ": " + said.text()
	}
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests:
		failure.Disposition, failure.Reason = step.Retry, core.ReasonRateLimited
	case code == http.StatusRequestTimeout, code >= 500, said.passes():
		failure.Disposition = step.Retry
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		failure.Reason = core.ReasonAuth
	}
	if failure.Disposition == step.Retry {
		failure.After = egress.RetryAfter(resp.Header, now)
	}
	return failure
}

// The pauses between looks at a task: most are done at once, and none is hurried by being asked about.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// wait returns when a task has ended.
func (a *api) wait(ctx context.Context, uid int64) error {
	pause := firstPause
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		var task struct {
			Status string `json:"status"`
			Error  *fault `json:"error"`
		}
		err := a.call(ctx, http.MethodGet, fmt.Sprintf("/tasks/%d", uid), nil, &task)
		if ctx.Err() != nil {
			return tooLate(ctx, uid)
		}
		if err != nil {
			return err
		}
		switch task.Status {
		case "succeeded":
			return nil
		case "failed":
			return taskFailure(uid, task.Error)
		case "canceled":
			return &step.Failure{Disposition: step.Final, Reason: core.ReasonCancelled, Message: fmt.Sprintf("Meilisearch's task %d was cancelled by somebody", uid)}
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return tooLate(ctx, uid)
		}
		pause = min(2*pause, maxPause)
	}
}

func tooLate(ctx context.Context, uid int64) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return &step.Failure{Disposition: step.Retry, Reason: core.ReasonTimeout, Cause: ctx.Err(),
		Message: fmt.Sprintf("Meilisearch has not done task %d within the step's timeout; the next attempt sends it again, which changes nothing", uid)}
}

// taskFailure is final where the documents are wrong. What is wrong with the server (its disk, its memory)
// passes, and the same task done later succeeds.
func taskFailure(uid int64, why *fault) error {
	if why == nil {
		why = &fault{}
	}
	failure := &step.Failure{Disposition: step.Final, Reason: core.ReasonInvalidData, Message: fmt.Sprintf("Meilisearch's task %d failed: %s", uid, why.text())}
	if why.passes() {
		failure.Disposition, failure.Reason = step.Retry, core.ReasonStatus
	}
	return failure
}
