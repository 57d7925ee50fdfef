// Package n8n is the step n8n/trigger: it starts a workflow of an n8n by its webhook.
//
// n8n itself knows no key by which it would tell a repeated call. The call carries an Idempotency-Key that
// is the same for all attempts of this step of this delivery: a workflow that looks at it starts its work
// once, and one that doesn't may start it again after a lost answer. A workflow that is switched off is
// answered by n8n with 404, as one that isn't there: the call is retried, since people switch workflows on
// again. n8n's errors carry its stack and its paths; nothing but their message is kept.
package n8n

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/expr"
	"relais/internal/step"
)

// What of an answer is kept for later steps, and of an error's message.
const (
	maxKept = 32 << 10
	maxSaid = 200
)

// Trigger is the kind n8n/trigger, calling through e.
func Trigger(e *egress.Egress) step.Kind {
	return step.Kind{
		Name:       "n8n/trigger",
		Class:      step.ClassKeyed,
		Connection: "n8n",
		Result:     []string{"code", "json", "truncated"},
		Doc: "Starts a workflow by its webhook: a POST of `json` to `/webhook/` and `path`. Its result has `code` (n8n's status) and `json`, where the workflow answers with JSON of at most 32 KiB. " +
			"A 404 is retried: the workflow may be switched off. n8n doesn't look at the `Idempotency-Key`; a workflow that must not work twice has to.",
		Params: []step.Param{
			{Name: "path", Type: step.TypeString, Required: true, Check: checkPath, Encode: encodePath,
				Doc: "The webhook's path, as its node shows it after `/webhook/`. A value inserted in it is percent-encoded, and stays within its part of the path."},
			{Name: "json", Type: step.TypeAny, Required: true, Doc: "What the workflow gets."},
		},
		Run: func(ctx context.Context, call *step.Call) (step.Result, error) { return trigger(ctx, call, e.Client()) },
	}
}

func trigger(ctx context.Context, call *step.Call, client *http.Client) (step.Result, error) {
	c, ok := call.Connection.(*connection)
	if !ok {
		return nil, fmt.Errorf("n8n/trigger got a connection of type %T", call.Connection)
	}
	path, _ := call.With["path"].(string)
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(call.With["json"]); err != nil {
		return nil, parameter(errors.New("json: the value can't be written as JSON"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/webhook/"+path, bytes.NewReader(bytes.TrimSuffix(body.Bytes(), []byte("\n"))))
	if err != nil {
		return nil, parameter(errors.New("path: it makes no address"))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "relais")
	req.Header.Set("Idempotency-Key", call.IdempotencyKey)
	c.authenticate(req)
	resp, err := client.Do(req)
	if err != nil {
		return nil, callFailure(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or its error is the one to tell
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode >= 300 {
		return nil, statusFailure(resp, answer, call.Now()) // what could be read of it says enough
	}
	if err != nil {
		return nil, callFailure(err)
	}
	return result(resp, answer), nil
}

func parameter(err error) error {
	return &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: err.Error(), Cause: err}
}

func result(resp *http.Response, body []byte) step.Result {
	out := step.Result{"code": int64(resp.StatusCode)}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // "" is not JSON
	if kind != "application/json" {
		return out
	}
	if len(body) > maxKept {
		out["truncated"] = true
	} else if value, err := expr.DecodeJSON(body); err == nil {
		out["json"] = value
	}
	return out
}

// callFailure says what a call without an answer means. A repeat carries the same key.
func callFailure(err error) error {
	failure := &step.Failure{Disposition: step.Retry, Reason: egress.Classify(err), Message: "n8n: " + egress.Explain(err), Cause: err}
	switch {
	case failure.Reason == core.ReasonAddress, failure.Reason == core.ReasonRedirect, failure.Reason == core.ReasonTooLarge:
		failure.Disposition = step.Final // the same call would end the same way
	case egress.MayHaveSent(err):
		failure.Disposition = step.Unknown
	}
	return failure
}

func statusFailure(resp *http.Response, body []byte, now time.Time) error {
	failure := &step.Failure{Disposition: step.Final, Reason: core.ReasonStatus, Message: fmt.Sprintf("n8n answered %d", resp.StatusCode)}
	if said := messageOf(body); said != "" {
		failure.Message += ": " + said
	}
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound:
		failure.Disposition = step.Retry
		failure.Message += " (the workflow may be switched off, or its webhook has another path or method than POST)"
	case code == http.StatusTooManyRequests:
		failure.Disposition, failure.Reason = step.Retry, core.ReasonRateLimited
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code >= 500:
		failure.Disposition = step.Retry
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		failure.Reason = core.ReasonAuth
		failure.Message += " (the webhook's credentials are not those of the connection)"
	}
	if failure.Disposition == step.Retry {
		failure.After = egress.RetryAfter(resp.Header, now)
	}
	return failure
}

// messageOf is the one member of n8n's errors that is for readers; beside it stand the stack and the
// server's paths. What isn't such an error is told by its status alone.
func messageOf(body []byte) string {
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(said.Message), "\n")
	if len(line) > maxSaid {
		line = strings.ToValidUTF8(line[:maxSaid], "") + "…"
	}
	return line
}

// checkPath refuses what the file alone shows to be wrong.
func checkPath(value any) error {
	text, ok := value.(string)
	if !ok {
		return errors.New("it must be a text")
	}
	literal := expr.LiteralPrefix(text)
	switch {
	case text == "":
		return errors.New("it is empty: write what stands after /webhook/ in the webhook's address")
	case strings.HasPrefix(literal, "/"), strings.Contains(literal, "://"), strings.HasPrefix(literal, "webhook/"):
		return errors.New("write only what stands after /webhook/ in the webhook's address")
	case strings.ContainsAny(literal, "?#\\"):
		return errors.New(`it may hold no ?, # and \: what the workflow needs goes into json`)
	}
	_, err := encodePath([]expr.Piece{{Text: strings.TrimSuffix(literal, "/")}})
	if literal == "" {
		err = nil
	}
	return err
}

const maxPath = 2 << 10

// encodePath writes the path: the file's slashes part it, and what is inserted is within one part.
func encodePath(pieces []expr.Piece) (string, error) {
	var out strings.Builder
	for _, piece := range pieces {
		text := piece.Text
		if piece.Inserted {
			if text == "" || strings.ContainsAny(text, `/\`) || strings.Contains(text, "..") {
				return "", errors.New(`a value in a path may not be empty, nor hold a slash, a backslash or two dots`)
			}
			for i := range len(text) {
				if text[i] < ' ' || text[i] == 0x7f {
					return "", errors.New("a value in a path may not hold control characters")
				}
			}
		}
		for i, part := range strings.Split(text, "/") {
			if i > 0 {
				out.WriteByte('/')
			}
			out.WriteString(url.PathEscape(part))
		}
		if out.Len() > maxPath {
			return "", errors.New("the path is longer than 2 KiB")
		}
	}
	for part := range strings.SplitSeq(out.String(), "/") {
		if part == "" || part == "." || part == ".." {
			return "", errors.New("a path may not have an empty part, nor . or .. as a part")
		}
	}
	return out.String(), nil
}
