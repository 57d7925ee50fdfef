// Package slack is the step slack/post: a message to a Slack channel through an incoming webhook.
//
// Slack has no key by which it would know a repeated message: after a lost answer the message may stand
// there twice, or on_unknown: stop asks a person instead. The webhook's address is its credential, and
// never appears in a message or a log.
package slack

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
	"unicode/utf8"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/expr"
	"relais/internal/step"
)

// maxText is where Slack cuts a message, in characters.
const maxText = 40_000

// Post is the kind slack/post, calling through e.
func Post(e *egress.Egress) step.Kind {
	return step.Kind{
		Name:       "slack/post",
		Class:      step.ClassAtLeastOnce,
		Connection: "slack",
		Result:     []string{},
		Doc:        "Posts a message. Values inserted in the text can't mention anybody or make links.",
		Params: []step.Param{
			{Name: "text", Type: step.TypeString, Required: true, Encode: escape,
				Doc: "The message, in Slack's own markup; inserted values are escaped."},
			{Name: "channel", Type: step.TypeString,
				Doc: "Another channel than the webhook's own, where the webhook allows it."},
		},
		Run: func(ctx context.Context, call *step.Call) (step.Result, error) { return post(ctx, call, e.Client()) },
	}
}

// Connection is the kind slack: an incoming webhook, called through e.
func Connection(e *egress.Egress) step.ConnectionKind {
	return step.ConnectionKind{
		Name: "slack",
		Doc:  "A Slack incoming webhook.",
		Params: []step.Param{{Name: "webhook_url", Type: step.TypeString, Required: true, Secret: true,
			Doc: "The address that Slack gave for the webhook."}},
		Env: map[string]string{"webhook_url": "SLACK_WEBHOOK_URL"},
		Open: func(settings map[string]any) (any, error) {
			u, err := webhook(settings)
			if err != nil {
				return nil, err
			}
			return &connection{address: config.NewSecret(u.String()), egress: e}, nil
		},
		Hosts: func(settings map[string]any) []string { return step.Hosts(webhook(settings)) },
	}
}

type connection struct {
	address config.Secret
	egress  *egress.Egress
}

// NeedsTo is false: the webhook has its channel.
func (c *connection) NeedsTo() bool { return false }

// Tell posts a notice as text: nothing in it is Slack's markup.
func (c *connection) Tell(ctx context.Context, notice step.Notice) error {
	text := entities.Replace(notice.Text)
	if notice.Title != "" {
		text = "*" + entities.Replace(notice.Title) + "*\n" + text
	}
	return c.send(ctx, c.egress.Client(), map[string]string{"text": cut(text)}, time.Now)
}

func webhook(settings map[string]any) (*url.URL, error) {
	text, _ := settings["webhook_url"].(string)
	if secret, ok := settings["webhook_url"].(config.Secret); ok {
		text = secret.Reveal()
	}
	u := step.Address(text)
	if u == nil {
		return nil, errors.New("webhook_url is not an address such as https://hooks.slack.com/services/…")
	}
	return u, nil
}

func post(ctx context.Context, call *step.Call, client *http.Client) (step.Result, error) {
	c, ok := call.Connection.(*connection)
	if !ok {
		return nil, fmt.Errorf("slack/post got a connection of type %T", call.Connection)
	}
	text, _ := call.With["text"].(string)
	message := map[string]string{"text": cut(text)}
	if channel, ok := call.With["channel"].(string); ok {
		message["channel"] = channel
	}
	if err := c.send(ctx, client, message, call.Now); err != nil {
		return nil, err
	}
	return step.Result{}, nil
}

// send makes the one call.
func (c *connection) send(ctx context.Context, client *http.Client, message map[string]string, now func() time.Time) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode a Slack message: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address.Reveal(), bytes.NewReader(body))
	if err != nil {
		return &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: "Slack: the webhook's address can't be used"}
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return callFailure(err)
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 200))
	if resp.StatusCode == http.StatusOK {
		return nil // its word is "ok"; the status alone decides
	}
	if err != nil {
		said = nil
	}
	failure := &step.Failure{Disposition: step.Final, Reason: core.ReasonStatus,
		Message: strings.TrimSpace(fmt.Sprintf("Slack answered %d %s", resp.StatusCode, said))}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		failure.Disposition, failure.Reason = step.Retry, core.ReasonRateLimited
		failure.After = egress.RetryAfter(resp.Header, now())
	case resp.StatusCode >= 500:
		failure.Disposition = step.Retry
		failure.After = egress.RetryAfter(resp.Header, now())
	}
	return failure
}

func callFailure(err error) error {
	failure := &step.Failure{Disposition: step.Retry, Reason: egress.Classify(err), Message: "Slack: " + egress.Explain(err), Cause: err}
	switch {
	case failure.Reason == core.ReasonAddress || failure.Reason == core.ReasonRedirect:
		failure.Disposition = step.Final
	case egress.MayHaveSent(err):
		failure.Disposition = step.Unknown
	}
	return failure
}

var entities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape writes a message: the file's words may use Slack's markup, and what is inserted is text. Slack
// asks for exactly these three characters.
func escape(pieces []expr.Piece) (string, error) {
	var out strings.Builder
	for _, piece := range pieces {
		if piece.Inserted {
			_, _ = entities.WriteString(&out, piece.Text) // a Builder doesn't fail
		} else {
			out.WriteString(piece.Text)
		}
	}
	return out.String(), nil
}

// cut shortens a message where Slack would, but never inside an entity.
func cut(text string) string {
	if utf8.RuneCountInString(text) <= maxText {
		return text
	}
	text = string([]rune(text)[:maxText-1])
	if at := strings.LastIndexByte(text, '&'); at >= 0 && !strings.Contains(text[at:], ";") && len(text)-at < 5 {
		text = text[:at]
	}
	return text + "…"
}
