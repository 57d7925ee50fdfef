package sellsy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"relais/internal/step"
)

// rows reads all pages of a list; in is the search, nil for a plain list.
func (c *client) rows(ctx context.Context, method, path string, in any) ([]row, error) {
	var all []row
	offset := ""
	for range maxPages {
		query := url.Values{"limit": {strconv.Itoa(pageSize)}}
		if offset != "" {
			query.Set("offset", offset)
		}
		var page struct {
			Pagination struct {
				Offset json.RawMessage `json:"offset"`
			} `json:"pagination"`
			Data []row `json:"data"`
		}
		if err := c.read(ctx, method, path+"?"+query.Encode(), in, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Data...)
		next := cursor(page.Pagination.Offset)
		if len(page.Data) < pageSize || next == "" || next == offset {
			return all, nil
		}
		offset = next
	}
	return nil, fmt.Errorf("the list has more than %d pages", maxPages)
}

// Changes implements step.Poller: the quotes made since then that are accepted now. Sellsy doesn't tell since
// when they are.
func (c *Connection) Changes(ctx context.Context, since time.Time) ([]step.Change, error) {
	list, err := c.client.rows(ctx, http.MethodPost, "/estimates/search", map[string]any{"filters": map[string]any{
		"status": []string{"accepted"}, "created": map[string]string{"start": since.UTC().Format(time.RFC3339)},
	}})
	if err != nil {
		return nil, system.Explained("look for accepted estimates", err)
	}
	var all []step.Change
	for _, e := range list {
		id := fmt.Sprint(e["id"])
		created, _ := e["created"].(string)
		at, err := time.Parse(time.RFC3339, created)
		if n, bad := strconv.ParseInt(id, 10, 64); bad != nil || n <= 0 || e["status"] != "accepted" || err == nil && at.Before(since) {
			continue
		}
		if err != nil {
			at = since
		}
		body, err := json.Marshal(map[string]any{
			"eventType": "docslog", "event": "step", "timestamp": strconv.FormatInt(at.Unix(), 10),
			"relatedtype": "estimate", "relatedid": id, "relatedobject": e,
		})
		if err != nil {
			return nil, err
		}
		all = append(all, step.Change{Type: "estimate.accepted", Object: id, At: at, Undated: true, Body: body})
	}
	return all, nil
}

// Past implements step.Poller. A quote is known by the day on which it was made, and accepted weeks later.
func (c *Connection) Past() time.Duration { return 60 * 24 * time.Hour }

// ObjectOf implements step.Poller.
func (c *Connection) ObjectOf(data any) string {
	body, _ := data.(map[string]any)
	if body["relatedid"] == nil {
		return ""
	}
	return fmt.Sprint(body["relatedid"])
}

// Events implements step.Hooked: "estimate.step" and the like.
func (c *Connection) Events(ctx context.Context) ([]string, error) {
	var known []struct {
		ID     string            `json:"id"`
		Events map[string]string `json:"events"`
	}
	if err := c.client.read(ctx, http.MethodGet, "/webhooks/events", nil, &known); err != nil {
		return nil, system.Explained("list the events of webhooks", err)
	}
	var all []string
	for _, of := range known {
		for event := range of.Events {
			all = append(all, of.ID+"."+event)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// Install implements step.Hooked. The webhook is known again by the address that it calls.
func (c *Connection) Install(ctx context.Context, want step.Webhook, dry bool) (step.Installed, error) {
	list, err := c.client.rows(ctx, http.MethodGet, "/webhooks", nil)
	if err != nil {
		return step.Installed{}, system.Explained("list the webhooks", err)
	}
	configuration := make([]map[string]any, len(want.Events))
	for i, event := range want.Events {
		configuration[i] = map[string]any{"id": event, "is_enabled": true}
	}
	hook := map[string]any{
		"is_enabled": true, "name": want.Label, "endpoint": want.URL, "object_in_payload": true, "json_content_type": true,
		"sign_key": want.Key, "configuration": configuration,
	}
	for _, o := range list {
		if o["endpoint"] != want.URL {
			continue
		}
		out := step.Installed{Action: "unchanged", ID: fmt.Sprint(o["id"]), Changes: differing(o, hook, want.Events)}
		if len(out.Changes) > 0 {
			out.Action = "updated"
		}
		if dry || out.Action == "unchanged" {
			return out, nil
		}
		var changed row
		return out, system.Explained("change the webhook", c.client.read(ctx, http.MethodPut, "/webhooks/"+url.PathEscape(out.ID), hook, &changed))
	}
	out := step.Installed{Action: "created"}
	if dry {
		return out, nil
	}
	hook["type"] = "http"
	var made row
	err = c.client.read(ctx, http.MethodPost, "/webhooks", hook, &made)
	out.ID = fmt.Sprint(made["id"])
	return out, system.Explained("make the webhook", err)
}

// differing tells what is otherwise. A key that Sellsy doesn't show can't be compared.
func differing(is row, want map[string]any, events []string) []step.Difference {
	var all []step.Difference
	for _, name := range []string{"is_enabled", "object_in_payload", "json_content_type", "sign_key"} {
		if name == "sign_key" && (is[name] == nil || is[name] == "") {
			continue
		}
		switch {
		case is[name] == want[name]:
		case name == "sign_key":
			all = append(all, step.SecretDifference(name))
		default:
			old := ""
			if is[name] != nil {
				old = fmt.Sprint(is[name])
			}
			all = append(all, step.Difference{Name: name, Old: old, New: fmt.Sprint(want[name])})
		}
	}
	var subscribed []string
	list, _ := is["configuration"].([]any)
	for _, v := range list {
		if o, ok := v.(map[string]any); ok && o["is_enabled"] != false {
			subscribed = append(subscribed, fmt.Sprint(o["id"]))
		}
	}
	slices.Sort(subscribed)
	if !slices.Equal(subscribed, events) {
		all = append(all, step.Difference{Name: "configuration", Old: strings.Join(subscribed, ","), New: strings.Join(events, ",")})
	}
	return all
}
