package doli

import (
	_ "embed" // the codes
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

//go:embed triggers.tsv
var triggers string

var targetMembers = []string{"label", "url", "trigger_codes", "type", "status", "description", "note_public", "note_private"}

func (d *Dolibarr) webhookRoutes() {
	const kind = "webhook"
	d.handle("GET /webhook/triggers", nil, func(*call) (any, *failed) {
		out := Object{}
		for line := range strings.Lines(triggers) {
			code, label, _ := strings.Cut(strings.TrimSpace(line), "\t")
			out[code] = label
		}
		return out, nil
	})
	d.handle("GET /webhook", listParameters, func(c *call) (any, *failed) {
		list, no := d.list(kind, c)
		if targets, _ := list.([]Object); no == nil && len(targets) == 0 {
			return nil, fail(http.StatusNotFound, "Not Found: Targets not found")
		}
		return list, no
	})
	d.handle("GET /webhook/{id}", nil, func(c *call) (any, *failed) { return d.get(kind, "Target", c.id()) })
	d.handle("POST /webhook", nil, func(c *call) (any, *failed) {
		for _, name := range []string{"url", "trigger_codes"} {
			if c.body[name] == nil {
				return nil, fail(http.StatusBadRequest, "Bad Request: %s field missing", name)
			}
		}
		if no := checkTarget(c.body); no != nil {
			return nil, no
		}
		o := Object{"status": "1", "type": "0", "label": nil}
		maps.Copy(o, loose(c.body))
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.keep(kind, o, 0), nil
	})
	d.handle("PUT /webhook/{id}", nil, func(c *call) (any, *failed) {
		if no := checkTarget(c.body); no != nil {
			return nil, no
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		found := d.seen(kind, c.id())
		if found == nil {
			return nil, fail(http.StatusNotFound, "Not Found: Target not found")
		}
		o := maps.Clone(found.object)
		maps.Copy(o, loose(c.body))
		d.keep(kind, o, 0)
		return o, nil
	})
	d.handle("DELETE /webhook/{id}", nil, func(c *call) (any, *failed) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.seen(kind, c.id()) == nil {
			return nil, fail(http.StatusNotFound, "Not Found: Target not found")
		}
		delete(d.kept[kind], c.id())
		return Object{"success": Object{"code": 200, "message": "Target deleted"}}, nil
	})
}

func checkTarget(o Object) *failed {
	for name, v := range o {
		if !slices.Contains(targetMembers, name) {
			return fail(http.StatusBadRequest, "Bad Request: a target has no %s", name)
		}
		if text, ok := v.(string); ok && name == "trigger_codes" && strings.ContainsAny(text, " ;*") {
			return fail(http.StatusBadRequest, "Bad Request: trigger_codes is a list with commas and no spaces")
		}
	}
	return nil
}

// loose writes numbers as texts, as the database gives them back.
func loose(o Object) Object {
	out := Object{}
	for name, v := range o {
		out[name] = fmt.Sprint(v)
	}
	return out
}
