package main

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"relais/internal/api"
)

// Run lists effects.
func (e *effectsList) Run(p *program) error {
	q := e.query().set("state", e.State).set("prefix", e.Prefix)
	return p.with(func(c *client) error {
		var list api.List[api.Effect]
		if err := c.get("/effects", url.Values(q), &list); err != nil {
			return err
		}
		return show(p, e.output, &list, func(list *api.List[api.Effect]) error {
			if len(list.Items) == 0 {
				p.say("no_effects")
				return nil
			}
			rows := make([][]string, len(list.Items))
			for i, e := range list.Items {
				rows[i] = []string{e.Key, e.State, when(e.OpenedAt), e.Delivery, p.clip(p.effectResult(&e), 80)}
			}
			err := p.table("head_effects", rows)
			p.more(list.NextCursor)
			return err
		})
	})
}

// effectResult is what an effect made, in the words that its result usually has: number, id, state and
// amount; or why it made nothing.
func (p *program) effectResult(e *api.Effect) string {
	if e.Message != "" && e.State != "done" {
		return e.Message
	}
	if e.State == "open" {
		return p.lang.say("effect_open")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(e.Result, &object); err != nil {
		return oneLine(string(e.Result))
	}
	var parts []string
	for _, name := range []string{"number", "id", "status", "invoice_status"} {
		if text := jsonText(object, name); text != "" {
			parts = append(parts, text)
		}
	}
	for _, name := range []string{"total_incl_tax", "total", "amount"} {
		if text := jsonText(object, name); text != "" {
			parts = append(parts, p.amount(text, jsonText(object, "currency")))
			break
		}
	}
	if len(parts) == 0 {
		return oneLine(string(e.Result))
	}
	return strings.Join(parts, ", ")
}

// Run shows one effect.
func (e *effectsShow) Run(p *program) error {
	return p.with(func(c *client) error {
		var effect api.Effect
		if err := c.get("/effects/"+url.PathEscape(e.Key), nil, &effect); err != nil {
			return err
		}
		return show(p, e.output, &effect, p.effect)
	})
}

func (p *program) effect(e *api.Effect) error {
	err := p.fields("f_key", e.Key, "f_kind", e.Kind, "f_state", e.State, "f_delivery", e.Delivery, "f_opened", when(e.OpenedAt),
		"f_sent", when(e.SentAt), "f_done", when(e.DoneAt), "f_result", string(e.Result), "f_message", e.Message, "f_resolved_by", e.ResolvedBy)
	if err == nil && e.State == "open" {
		p.say("hint_open")
	}
	if err == nil && (e.State == "unknown" || e.State == "sent") {
		p.say("hint_unknown", e.Key, e.Key)
	}
	return err
}

// Run resolves an effect.
func (e *effectsResolve) Run(p *program) error {
	in := api.Resolve{Absent: e.Absent}
	if e.Done != "" {
		var id any = e.Done
		if n, err := strconv.ParseInt(e.Done, 10, 64); err == nil {
			id = n
		}
		done, err := json.Marshal(map[string]any{"id": id})
		if err != nil {
			return err
		}
		in.Done = done
	}
	return p.with(func(c *client) error {
		var effect api.Effect
		if err := c.post("/effects/"+url.PathEscape(e.Key)+"/resolve", in, &effect); err != nil {
			return err
		}
		return show(p, e.output, &effect, func(effect *api.Effect) error {
			p.say("resolved", effect.Key, effect.State)
			if effect.Delivery != "" {
				p.say("hint_replay", effect.Delivery)
			}
			return nil
		})
	})
}
