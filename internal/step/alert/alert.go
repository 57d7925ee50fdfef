// Package alert is the step alert: it tells the operators that something needs them, once.
//
// Alerts with one key are one: the first is sent, those that come within `every` are counted, and their
// number is sent when that time is over. Ten thousand failures of one kind are two messages. Each alert is
// also a line of the log and counted by a metric, whether or not it was sent.
//
// What was sent is remembered in memory, by each node for itself: after a restart, and from each further
// node, the first alert of a key is sent again, and counts that nobody was told of are in the log only.
package alert

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/step"
)

const (
	maxMessage = 8 << 10
	maxTitle   = 200
)

var levels = []string{"info", "warning", "error", "critical"}

// Alert is the kind alert. The desk may be nil where the kind is only asked what it takes.
func Alert(desk *Desk) step.Kind {
	return step.Kind{
		Name:   "alert",
		Class:  step.ClassAtLeastOnce,
		Result: []string{"count", "failed"},
		Doc: "Tells the operators, by Slack or mail, and once: alerts with the same `key` within `every` are counted, and their number is sent when that time is over. " +
			"Every alert is a line of the log and counted by the metric `relais_alerts_total`, also without `via`. Its result has `status` (`sent`, `counted` or `logged`), `count` (how many are waiting to be told of) " +
			"and `failed` (the connections that didn't take it, where another did). Each node counts for itself, and forgets at a restart. It is made for `on_dead`.",
		Params: []step.Param{
			{Name: "message", Type: step.TypeString, Required: true, Doc: "What is the matter, as text."},
			{Name: "title", Type: step.TypeString, Doc: "One line that says it; the route's name when left out."},
			{Name: "level", Type: step.TypeString, Literal: true, Enum: levels, Default: "error", Doc: "How bad it is."},
			{Name: "via", Type: step.TypeList, Literal: true, Doc: "The connections that tell it: names of connections of the kinds `slack` and `smtp`. The only one of kind `slack` when left out, or nobody where there is none."},
			{Name: "to", Type: step.TypeList, Literal: true, Check: checkTo, Doc: "Who gets the mail, where `via` has a connection of kind `smtp`."},
			{Name: "key", Type: step.TypeString, Doc: "What makes alerts the same; the route and the step when left out."},
			{Name: "every", Type: step.TypeDuration, Literal: true, Default: 10 * time.Minute, Doc: "How long alerts are only counted after one was sent; 0s sends them all."},
		},
		Choose: choose,
		Run: func(ctx context.Context, call *step.Call) (step.Result, error) {
			return run(ctx, call, desk)
		},
	}
}

// channel is a way to tell.
type channel struct {
	name   string
	teller step.Teller
}

// choose finds the ways that a step names.
func choose(with map[string]any, all step.Connections) (any, error) {
	var channels []channel
	for _, name := range viaOf(with, all) {
		connected, ok := all[name]
		teller, tells := connected.Value.(step.Teller)
		switch {
		case !ok:
			return nil, fmt.Errorf("via: there is no connection %q", name)
		case !tells:
			return nil, fmt.Errorf("via: %s is of the kind %s, by which nobody can be told; slack and smtp can", name, connected.Kind)
		case teller.NeedsTo() && len(textsOf(with["to"])) == 0:
			return nil, fmt.Errorf("to is missing: %s is a mail server, and has to know whom to tell", name)
		}
		channels = append(channels, channel{name: name, teller: teller})
	}
	return channels, nil
}

func viaOf(with map[string]any, all step.Connections) []string {
	if _, given := with["via"]; given {
		return textsOf(with["via"])
	}
	var only []string
	for name, one := range all {
		if one.Kind == "slack" {
			only = append(only, name)
		}
	}
	if len(only) != 1 {
		return nil
	}
	return only
}

func textsOf(value any) []string {
	items, ok := value.([]any)
	if !ok && value != nil {
		items = []any{value}
	}
	out := make([]string, 0, len(items))
	for _, item := range items {
		if text, ok := item.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

func checkTo(value any) error {
	for _, text := range textsOf(value) {
		if _, err := mail.ParseAddress(text); err != nil {
			return fmt.Errorf("%q is not a mail address", text)
		}
	}
	return nil
}

func run(ctx context.Context, call *step.Call, desk *Desk) (step.Result, error) {
	if desk == nil {
		return nil, errors.New("alert has nobody to keep its counts")
	}
	a := alarm{to: textsOf(call.With["to"])}
	a.level, _ = call.With["level"].(string)
	a.every, _ = call.With["every"].(time.Duration)
	a.channels, _ = call.Connection.([]channel)
	message, _ := call.With["message"].(string)
	a.message = cut(message, maxMessage)
	title, _ := call.With["title"].(string)
	if title == "" {
		title = "relais: " + call.Delivery.Destination.Name
	}
	a.title = cut(oneLine(title), maxTitle)
	key, given := call.With["key"].(string)
	if !given {
		key = call.Delivery.Destination.String() + " " + call.StepID
	}
	// Two keys that differ where nobody would look must not be one: it is kept by its digest.
	a.key = digest(call.Delivery.Destination.Tenant, key)
	return desk.raise(ctx, a)
}

func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// failureOf is what it means that nobody took an alert: it is tried again where one of them may take it later.
func failureOf(errs []error) error {
	at := slices.IndexFunc(errs, func(err error) bool {
		var failure *step.Failure
		return errors.As(err, &failure) && failure.Disposition != step.Final
	})
	if at < 0 {
		at = 0
	}
	var failure *step.Failure
	if errors.As(errs[at], &failure) {
		return failure
	}
	return &step.Failure{Disposition: step.Retry, Reason: core.ReasonInternal, Message: "nobody could be told", Cause: errs[at]}
}
