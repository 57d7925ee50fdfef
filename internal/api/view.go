package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"relais/internal/core"
	"relais/internal/store"
)

// Event is an event as the API shows it. Headers and body are given with one event, not in lists.
type Event struct {
	ID         string      `json:"id" doc:"evt_ and 32 hexadecimal digits"`
	Seq        int64       `json:"seq" doc:"Order of arrival, and its id in the view ic_postback"`
	Tenant     string      `json:"tenant"`
	Source     string      `json:"source"`
	Type       string      `json:"type"`
	NativeType string      `json:"native_type,omitempty" doc:"The type as the provider wrote it"`
	ReceivedAt time.Time   `json:"received_at"`
	Format     string      `json:"format" doc:"How event.data is read from the body"`
	Test       bool        `json:"test,omitempty"`
	Redacted   bool        `json:"redacted,omitempty" doc:"Parts of the body were removed before it was stored"`
	RepeatOf   string      `json:"repeat_of,omitempty" doc:"The event that this one repeats"`
	Path       string      `json:"path,omitempty" doc:"Named parts of the path, as a query string"`
	Query      string      `json:"query,omitempty"`
	Headers    http.Header `json:"headers,omitempty" doc:"Without credentials"`
	BodyBytes  int         `json:"body_bytes,omitempty"`
	Body       string      `json:"body,omitempty" doc:"As received, where it is UTF-8"`
	BodyBase64 string      `json:"body_base64,omitempty" doc:"As received, where it isn't UTF-8"`
}

func viewEvent(e *core.Event) Event {
	v := Event{
		ID: e.ID.String(), Seq: e.Seq, Tenant: e.Tenant, Source: e.Source, Type: e.Type, NativeType: e.NativeType,
		ReceivedAt: e.ReceivedAt.UTC(), Format: string(e.Format), Test: e.Test, Redacted: e.Redacted,
	}
	if !e.RepeatOf.IsZero() {
		v.RepeatOf = e.RepeatOf.String()
	}
	return v
}

// viewWholeEvent adds what is shown of one event; the body only when it was asked for.
func viewWholeEvent(e *core.Event, body bool) Event {
	v := viewEvent(e)
	v.Path, v.Query, v.Headers, v.BodyBytes = e.Path, e.Query, core.DecodeHeader(e.Header), len(e.Body)
	if body {
		v.Body, v.BodyBase64 = viewBody(e.Body)
	}
	return v
}

func viewBody(body []byte) (text, encoded string) {
	if utf8.Valid(body) {
		return string(body), ""
	}
	return "", base64.StdEncoding.EncodeToString(body)
}

// Delivery is a delivery as the API shows it.
type Delivery struct {
	ID            string    `json:"id" doc:"dlv_ and a number"`
	Event         string    `json:"event"`
	Destination   string    `json:"destination" example:"route:facture"`
	State         string    `json:"state" enum:"pending,running,succeeded,dead,cancelled"`
	Skipped       bool      `json:"skipped,omitempty" doc:"It succeeded by having nothing to do"`
	Orphaned      bool      `json:"orphaned,omitempty" doc:"Its destination is not in the configuration any more"`
	Priority      string    `json:"priority"`
	Attempts      int       `json:"attempts"`
	Interruptions int       `json:"interruptions,omitempty"`
	Replay        int64     `json:"replay,omitempty" doc:"The number of the replay that made it"`
	FromStep      string    `json:"from_step,omitempty"`
	OrderKey      string    `json:"order_key,omitempty"`
	Reason        string    `json:"reason,omitempty" doc:"Why it isn't done, or ended as it did"`
	Message       string    `json:"message,omitempty"`
	CreatedAt     time.Time `json:"created_at"`
	DueAt         time.Time `json:"due_at,omitzero"`
	FinishedAt    time.Time `json:"finished_at,omitzero"`
}

func viewDelivery(d *core.Delivery, routes Routes) Delivery {
	v := Delivery{
		ID: d.ID.String(), Event: d.Event.String(), Destination: d.Destination.String(), State: string(d.State),
		Skipped: d.Skipped, Priority: d.Priority.String(), Attempts: d.Attempts, Interruptions: d.Interruptions,
		Replay: d.Replay, FromStep: d.FromStep, OrderKey: printable(d.OrderKey), Reason: string(d.Reason), Message: d.Message,
		CreatedAt: d.CreatedAt.UTC(), FinishedAt: d.FinishedAt.UTC(),
	}
	if d.State == core.StatePending {
		v.DueAt = d.DueAt.UTC()
		v.Orphaned = !isDestination(routes, d.Destination)
	}
	if d.FinishedAt.IsZero() {
		v.FinishedAt = time.Time{}
	}
	return v
}

func isDestination(routes Routes, d core.Destination) bool {
	for _, known := range routes.Destinations() {
		if known == d {
			return true
		}
	}
	return false
}

// printable drops the control characters that relais itself puts into order keys.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, s)
}

// Attempt is one try of a delivery.
type Attempt struct {
	ID         int64           `json:"id"`
	StartedAt  time.Time       `json:"started_at"`
	DurationMS float64         `json:"duration_ms"`
	Verdict    string          `json:"verdict" doc:"succeeded, skipped, retry, defer, dead or return"`
	Reason     string          `json:"reason,omitempty"`
	Message    string          `json:"message,omitempty"`
	Node       string          `json:"node,omitempty"`
	Trace      json.RawMessage `json:"trace,omitempty" doc:"What was done, without secrets"`
}

func viewAttempt(a *store.Attempt) Attempt {
	return Attempt{
		ID: a.ID, StartedAt: a.Started.UTC(), DurationMS: float64(a.Duration.Microseconds()) / 1000,
		Verdict: string(a.Verdict), Reason: string(a.Reason), Message: a.Message, Node: a.Node, Trace: validJSON(a.Trace),
	}
}

// Step is a finished step of a delivery.
type Step struct {
	Step   string          `json:"step"`
	Result json.RawMessage `json:"result,omitempty"`
}

// Rejection is a refused request.
type Rejection struct {
	ID         string      `json:"id"`
	Request    int64       `json:"request" doc:"Its id among all requests, in the view ic_postback"`
	Source     string      `json:"source"`
	At         time.Time   `json:"at"`
	Reason     string      `json:"reason"`
	Detail     string      `json:"detail,omitempty"`
	Status     int         `json:"status" doc:"What was answered"`
	Address    string      `json:"address"`
	Method     string      `json:"method"`
	Path       string      `json:"path"`
	Query      string      `json:"query,omitempty"`
	Headers    http.Header `json:"headers,omitempty" doc:"Without credentials"`
	BodyBytes  int64       `json:"body_bytes" doc:"Size of what was sent"`
	Complete   bool        `json:"complete" doc:"The whole body is kept, so it can be verified again"`
	Event      string      `json:"event,omitempty" doc:"What it became when it was verified again"`
	Body       string      `json:"body,omitempty"`
	BodyBase64 string      `json:"body_base64,omitempty"`
}

func viewRejection(r *store.Rejection) Rejection {
	v := Rejection{
		ID: strconv.FormatInt(r.ID, 10), Request: core.RejectionNumber(r.ID), Source: r.Source, At: r.At.UTC(), Reason: string(r.Reason), Detail: r.Detail,
		Status: r.Status, Address: r.Address, Method: r.Method, Path: r.Path, BodyBytes: r.BodySize, Complete: r.Complete,
	}
	if !r.Event.IsZero() {
		v.Event = r.Event.String()
	}
	return v
}

// Effect is an entry of the ledger.
type Effect struct {
	Key        string          `json:"key" example:"default/compta/invoice/estimate/52437688"`
	Kind       string          `json:"kind"`
	State      string          `json:"state" enum:"open,sent,done,unknown"`
	Delivery   string          `json:"delivery,omitempty" doc:"The delivery that holds it, or held it last"`
	OpenedAt   time.Time       `json:"opened_at"`
	SentAt     time.Time       `json:"sent_at,omitzero"`
	DoneAt     time.Time       `json:"done_at,omitzero"`
	Result     json.RawMessage `json:"result,omitempty"`
	Message    string          `json:"message,omitempty"`
	ResolvedBy string          `json:"resolved_by,omitempty" doc:"Who ended it by hand"`
}

func viewEffect(e *store.Effect) Effect {
	v := Effect{
		Key: e.Key, Kind: e.Kind, State: string(e.State), OpenedAt: e.OpenedAt.UTC(),
		Result: validJSON(e.Result), Message: e.Message, ResolvedBy: e.ResolvedBy,
	}
	if e.Holder.Delivery > 0 {
		v.Delivery = e.Holder.Delivery.String()
	}
	if !e.SentAt.IsZero() {
		v.SentAt = e.SentAt.UTC()
	}
	if !e.DoneAt.IsZero() {
		v.DoneAt = e.DoneAt.UTC()
	}
	return v
}

// validJSON keeps a stored text that isn't JSON from breaking the whole answer.
func validJSON(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || json.Valid(raw) {
		return raw
	}
	quoted, err := json.Marshal(string(raw))
	if err != nil {
		return nil
	}
	return quoted
}
