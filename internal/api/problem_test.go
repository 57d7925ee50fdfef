package api_test

import (
	"net/http"
	"strings"
	"testing"

	"relais/internal/core"
	"relais/internal/store"
)

// location is the field that a problem names first.
func location(problem map[string]any) string {
	if list, ok := problem["errors"].([]any); ok && len(list) > 0 {
		at, _ := list[0].(map[string]any)["location"].(string)
		return at
	}
	return ""
}

func TestBadInputNamesTheFieldAndIsNever500(t *testing.T) {
	w := newWorld(t)
	const missing = "evt_00000000000070008000000000000000"
	for _, c := range []struct {
		method, path, body string
		status             int
		field              string
	}{
		{"GET", "/api/v1/events?limit=0", "", 422, "query.limit"},
		{"GET", "/api/v1/events?limit=many", "", 422, "query.limit"},
		{"GET", "/api/v1/events?limit=100000000000000000000", "", 422, "query.limit"},
		{"GET", "/api/v1/events?cursor=x", "", 422, "query.cursor"},
		{"GET", "/api/v1/events?cursor=-1", "", 422, "query.cursor"},
		{"GET", "/api/v1/events?type=a..b", "", 422, "query.type"},
		{"GET", "/api/v1/events?since=yesterday", "", 422, "query.since"},
		{"GET", "/api/v1/events?sorce=sellsy", "", 422, "query.sorce"},
		{"GET", "/api/v1/events/evt_1", "", 422, "path.id"},
		{"GET", "/api/v1/events/" + missing, "", 404, ""},
		{"GET", "/api/v1/events/%00", "", 422, "path.id"},
		{"GET", "/api/v1/deliveries?state=done", "", 422, "query.state"},
		{"GET", "/api/v1/deliveries?event=1", "", 422, "query.event"},
		{"GET", "/api/v1/deliveries?destination=facture:", "", 422, "query.destination"},
		{"GET", "/api/v1/deliveries/1", "", 422, "path.id"},
		{"GET", "/api/v1/deliveries/dlv_9", "", 404, ""},
		{"GET", "/api/v1/deliveries/dlv_9/attempts", "", 404, ""},
		{"POST", "/api/v1/deliveries/dlv_9/cancel", "", 404, ""},
		{"POST", "/api/v1/deliveries/cancel", `{"deliveries":["1"]}`, 422, "body.deliveries[0]"},
		{"POST", "/api/v1/deliveries/cancel", `{"deliveries":[]}`, 422, "body.deliveries"},
		{"GET", "/api/v1/rejections/x", "", 422, "path.id"},
		{"GET", "/api/v1/rejections/9", "", 404, ""},
		{"POST", "/api/v1/rejections/retry", `{}`, 422, "body.source"},
		{"POST", "/api/v1/rejections/retry", `{"source":"selsy"}`, 422, "body.source"},
		{"POST", "/api/v1/rejections/retry", `{"ids":[9]}`, 404, "body.ids[0]"},
		{"GET", "/api/v1/effects?cursor=%25", "", 422, "query.cursor"},
		{"GET", "/api/v1/effects/none", "", 404, ""},
		{"POST", "/api/v1/effects/none/resolve", `{"absent":true}`, 404, ""},
		{"POST", "/api/v1/replay", `{}`, 422, "body"},
		{"POST", "/api/v1/replay", `{"events":["x"]}`, 422, "body.events[0]"},
		{"POST", "/api/v1/replay", `{"events":["` + missing + `"]}`, 404, "body.events[0]"},
		{"POST", "/api/v1/replay", `{"deliveries":["dlv_9"]}`, 404, "body.deliveries[0]"},
		{"POST", "/api/v1/replay", `{"deliveries":["dlv_9"],"source":"sellsy"}`, 422, "body.deliveries"},
		{"POST", "/api/v1/replay", `{"destination":"route:factur"}`, 422, "body.destination"},
		{"POST", "/api/v1/replay", `{"source":"sellsy","limit":100000}`, 422, "body.limit"},
		{"POST", "/api/v1/replay", `{"sorce":"sellsy"}`, 422, "body.sorce"},
		{"POST", "/api/v1/replay", `{"events":`, 400, "body"},
		{"POST", "/api/v1/replay", ``, 400, ""},
		{"POST", "/api/v1/events/purge", `{}`, 422, "body.where"},
		{"POST", "/api/v1/events/purge", `{"where":"event.data.x =="}`, 422, "body.where"},
		{"POST", "/api/v1/events/purge", `{"where":"1 + 1"}`, 422, "body.where"},
		{"POST", "/api/v1/events/purge", `{"where":"true","type":"a/b/c"}`, 422, "body.type"},
		{"POST", "/api/v1/pause", `{"scope":"everything"}`, 422, "body.scope"},
		{"POST", "/api/v1/pause", `{"scope":"all","name":"x"}`, 422, "body.name"},
		{"POST", "/api/v1/pause", `{"scope":"source"}`, 422, "body.name"},
		{"GET", "/api/v1/nothing", "", 404, ""},
		{"GET", "/api/v1/replay", "", 405, ""},
		{"DELETE", "/api/v1/events", "", 405, ""},
	} {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			w.t = t
			status, problem, header := w.call(c.method, c.path, c.body)
			if status != c.status || location(problem) != c.field {
				t.Errorf("%d at %q: %v", status, location(problem), problem)
			}
			if got := header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("content type %q", got)
			}
			if text, ok := problem["detail"].(string); !ok || text == "" {
				t.Errorf("no detail: %v", problem)
			}
			if status == http.StatusMethodNotAllowed && header.Get("Allow") == "" {
				t.Error("no Allow")
			}
		})
	}
	if w.log.Len() > 0 {
		t.Errorf("bad input was logged as a fault: %s", w.log.String())
	}
}

func TestAFaultIsLoggedAndNotShown(t *testing.T) {
	w := newWorld(t)
	w.must(w.store.AppendRejections(t.Context(), []store.Rejection{{Tenant: "default", Source: "sellsy", At: began, Complete: true}},
		store.RejectionBounds{PerSource: 10, Bytes: 1 << 20}))
	w.retry = func(*store.Rejection) (core.EventID, error) { panic("pointer of the day") }
	status, problem, _ := w.call("POST", "/api/v1/rejections/retry", `{"source":"sellsy"}`)
	if status != http.StatusInternalServerError || strings.Contains(problem["detail"].(string), "pointer") {
		t.Errorf("%d %v", status, problem)
	}
	if !strings.Contains(w.log.String(), "pointer of the day") {
		t.Errorf("not logged: %s", w.log.String())
	}
}

func TestTheDescriptionIsOpenAPI31(t *testing.T) {
	w := newWorld(t)
	doc := w.ok("GET", "/openapi.json", "")
	if doc["openapi"] != "3.1.0" {
		t.Errorf("%v", doc["openapi"])
	}
	paths := doc["paths"].(map[string]any)
	for _, path := range []string{"/api/v1/events", "/api/v1/events/{id}", "/api/v1/replay", "/api/v1/effects/{key}/resolve", "/api/v1/reload"} {
		if paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
}
