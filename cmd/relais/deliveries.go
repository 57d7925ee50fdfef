package main

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"relais/internal/api"
)

// Run lists deliveries.
func (d *deliveriesList) Run(p *program) error {
	q := d.query().set("state", d.State).set("source", d.Source).set("event", d.Event).set("destination", d.Destination).
		time("since", d.Since).time("until", d.Until)
	return p.with(func(c *client) error {
		var list api.List[api.Delivery]
		if err := c.get("/deliveries", url.Values(q), &list); err != nil {
			return err
		}
		return show(p, d.output, &list, p.deliveryTable)
	})
}

func (p *program) deliveryTable(list *api.List[api.Delivery]) error {
	if len(list.Items) == 0 {
		p.say("no_deliveries")
		return nil
	}
	rows := make([][]string, len(list.Items))
	for i, d := range list.Items {
		rows[i] = []string{d.ID, d.Event, d.Destination, p.state(&d), strconv.Itoa(d.Attempts), when(d.CreatedAt), p.outcome(&d)}
	}
	err := p.table("head_deliveries", rows)
	p.more(list.NextCursor)
	return err
}

// state is a delivery's state with what qualifies it.
func (p *program) state(d *api.Delivery) string {
	switch {
	case d.Skipped:
		return d.State + " (" + p.lang.say("state_skipped") + ")"
	case d.Orphaned:
		return d.State + " (" + p.lang.say("state_orphaned") + ")"
	default:
		return d.State
	}
}

// outcome is why a delivery stands where it stands, and when it goes on: that is said first, so that no narrow
// window loses it.
func (p *program) outcome(d *api.Delivery) string {
	var parts []string
	if d.State == "pending" && d.DueAt.After(p.now()) {
		parts = append(parts, p.lang.say("due", p.ago(d.DueAt)))
	}
	if d.Reason != "" {
		parts = append(parts, d.Reason)
	}
	if d.Message != "" {
		parts = append(parts, d.Message)
	}
	return p.clip(strings.Join(parts, p.lang.of(text{": ", " : "})), 80)
}

// shownDelivery is a delivery with its attempts.
type shownDelivery struct {
	api.DeliveryDetail
	AttemptList []api.Attempt `json:"attempt_list"`
}

// Run shows one delivery.
func (d *deliveriesShow) Run(p *program) error {
	return p.with(func(c *client) error {
		var shown shownDelivery
		if err := c.get("/deliveries/"+url.PathEscape(d.ID), nil, &shown.DeliveryDetail); err != nil {
			return err
		}
		var attempts api.List[api.Attempt]
		if err := c.get("/deliveries/"+url.PathEscape(d.ID)+"/attempts", nil, &attempts); err != nil {
			return err
		}
		shown.AttemptList = attempts.Items
		return show(p, d.output, &shown, p.delivery)
	})
}

func (p *program) delivery(d *shownDelivery) error {
	replay := ""
	if d.Replay != 0 {
		replay = strconv.FormatInt(d.Replay, 10)
	}
	err := p.fields("f_delivery", d.ID, "f_event", d.Event, "f_destination", d.Destination, "f_state", p.state(&d.Delivery),
		"f_reason", d.Reason, "f_message", d.Message, "f_priority", d.Priority, "f_attempts", strconv.Itoa(d.Delivery.Attempts),
		"f_created", when(d.CreatedAt), "f_due", when(d.DueAt), "f_finished", when(d.FinishedAt),
		"f_replay", replay, "f_from_step", d.FromStep, "f_order_key", d.OrderKey)
	if err != nil {
		return err
	}
	for _, s := range d.Steps {
		p.say("step_result", s.Step, oneLine(string(s.Result)))
	}
	if len(d.AttemptList) == 0 {
		return nil
	}
	p.printf("\n")
	rows := make([][]string, len(d.AttemptList))
	for i, a := range d.AttemptList {
		rows[i] = []string{when(a.StartedAt), p.lang.short(time.Duration(a.DurationMS * float64(time.Millisecond))), a.Verdict, a.Reason, p.clip(a.Message, 100)}
	}
	if err := p.table("head_attempts", rows); err != nil {
		return err
	}
	if d.State == "dead" {
		p.say("hint_dead", d.ID)
	}
	return nil
}

// Run cancels deliveries.
func (d *deliveriesCancel) Run(p *program) error {
	return p.with(func(c *client) error {
		var out api.Cancelled
		var err error
		if len(d.IDs) == 1 {
			// Alone, one that can't be cancelled is an error that says why.
			err = c.post("/deliveries/"+url.PathEscape(d.IDs[0])+"/cancel", struct{}{}, &out)
		} else {
			err = c.post("/deliveries/cancel", api.Cancel{Deliveries: d.IDs}, &out)
		}
		if err != nil {
			return err
		}
		return show(p, d.output, &out, func(r *api.Cancelled) error {
			p.say("cancelled", r.Cancelled, len(d.IDs))
			return nil
		})
	})
}

// jsonText is a value of a JSON object as people read it, "" where there is none.
func jsonText(object map[string]json.RawMessage, name string) string {
	raw := object[name]
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	if s := string(raw); s != "null" {
		return s
	}
	return ""
}
