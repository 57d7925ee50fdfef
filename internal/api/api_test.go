package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"relais/internal/api"
	"relais/internal/core"
	"relais/internal/store"
)

func TestListsArePagesNewestFirst(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 5 {
		want = append([]string{w.event("estimate.step", fmt.Sprintf(`{"n":%d}`, i)).String()}, want...)
	}
	var got []string
	for path := "/api/v1/events?limit=2"; path != ""; {
		page := w.ok("GET", path, "")
		for _, e := range w.items(page) {
			got = append(got, e["id"].(string))
			if e["body"] != nil || e["headers"] != nil {
				t.Error("a list shows bodies or headers")
			}
		}
		path = ""
		if next, ok := page["next_cursor"].(string); ok {
			path = "/api/v1/events?limit=2&cursor=" + url.QueryEscape(next)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v want %v", got, want)
	}
	if n := len(w.items(w.ok("GET", "/api/v1/events?type=invoice.*", ""))); n != 0 {
		t.Errorf("%d events of another type", n)
	}
	if n := len(w.items(w.ok("GET", "/api/v1/events?type=*.step&source=sellsy", ""))); n != 5 {
		t.Errorf("%d events of the type", n)
	}
	later := url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339))
	if n := len(w.items(w.ok("GET", "/api/v1/events?since="+later, ""))); n != 0 {
		t.Errorf("%d events of the future", n)
	}
}

func TestAnEventIsShownWithItsBodyWhenAsked(t *testing.T) {
	w := newWorld(t)
	id := w.event("estimate.step", `{"é":1}`).String()
	binary := w.event("estimate.step", "\xff\x00").String()
	w.event("estimate.step", `{"é":1}`) // a repeat
	e := w.ok("GET", "/api/v1/events/"+id, "")
	if e["body"] != nil || e["body_bytes"] != 8.0 {
		t.Errorf("%v", e)
	}
	if got := e["headers"].(map[string]any)["Content-Type"]; fmt.Sprint(got) != "[application/json]" {
		t.Errorf("headers %v", got)
	}
	if got := w.ok("GET", "/api/v1/events/"+id+"?body=true", "")["body"]; got != `{"é":1}` {
		t.Errorf("body %v", got)
	}
	if got := w.ok("GET", "/api/v1/events/"+binary+"?body=true", "")["body_base64"]; got != "/wA=" {
		t.Errorf("body %v", got)
	}
	all := w.items(w.ok("GET", "/api/v1/events?repeats=true", ""))
	if len(all) != 3 || all[0]["repeat_of"] != id {
		t.Errorf("%v", all)
	}
}

func TestDeliveriesAndAttempts(t *testing.T) {
	w := newWorld(t)
	id := w.event("estimate.step", `{"n":1}`).String()
	w.finish(store.VerdictDead, core.ReasonAuth)
	list := w.items(w.ok("GET", "/api/v1/deliveries?state=dead&event="+id+"&destination=route:mail", ""))
	if len(list) != 1 || list[0]["reason"] != "authentication" || list[0]["destination"] != "route:mail" {
		t.Fatalf("%v", list)
	}
	path := "/api/v1/deliveries/" + list[0]["id"].(string)
	one := w.ok("GET", path, "")
	if fmt.Sprint(one["steps"]) != "[map[result:map[id:7] step:1]]" || one["state"] != "dead" {
		t.Errorf("%v", one)
	}
	attempts := w.items(w.ok("GET", path+"/attempts", ""))
	if len(attempts) != 1 || attempts[0]["duration_ms"] != 12.0 || attempts[0]["verdict"] != "dead" {
		t.Errorf("%v", attempts)
	}
	if n := len(w.items(w.ok("GET", "/api/v1/deliveries?destination=route:mail&state=pending", ""))); n != 0 {
		t.Errorf("%d pending", n)
	}
}

func TestOrphanedDeliveriesAreShownAndCanBeCancelled(t *testing.T) {
	w := newWorld(t)
	w.event("estimate.step", `{"n":1}`)
	w.setRoutes("mail")
	var orphan string
	for _, d := range w.items(w.ok("GET", "/api/v1/deliveries", "")) {
		if d["orphaned"] == true {
			orphan = d["id"].(string)
			if d["destination"] != "route:facture" {
				t.Errorf("%v is no orphan", d)
			}
		}
	}
	if got := w.ok("POST", "/api/v1/deliveries/"+orphan+"/cancel", ""); got["cancelled"] != 1.0 {
		t.Errorf("%v", got)
	}
	if one := w.ok("GET", "/api/v1/deliveries/"+orphan, ""); one["state"] != "cancelled" {
		t.Errorf("%v", one)
	}
	status, problem, _ := w.call("POST", "/api/v1/deliveries/"+orphan+"/cancel", "")
	if status != http.StatusConflict || !strings.Contains(problem["detail"].(string), "is cancelled") {
		t.Errorf("%d %v", status, problem)
	}
}

func TestEffectsAreResolvedByAPerson(t *testing.T) {
	w := newWorld(t)
	w.event("estimate.step", `{"n":1}`)
	claimed := w.claim()[0]
	holder := store.Holder{Delivery: claimed.Delivery.ID, Claim: claimed.Delivery.Claim, Node: "n"}
	for _, n := range []string{"1", "2", "3"} {
		key := "default/compta/invoice/estimate/" + n
		_, err := w.store.OpenEffect(t.Context(), store.OpenEffect{Key: key, Kind: "invoice", Holder: holder})
		w.must(err)
		_, err = w.store.AdvanceEffect(t.Context(), store.AdvanceEffect{Key: key, Holder: holder, From: store.EffectOpen, To: store.EffectSent})
		w.must(err)
		_, err = w.store.AdvanceEffect(t.Context(), store.AdvanceEffect{Key: key, Holder: holder, From: store.EffectSent, To: store.EffectUnknown, Message: "look"})
		w.must(err)
	}
	status, problem, _ := w.call("POST", "/api/v1/effects/default%2Fcompta%2Finvoice%2Festimate%2F1/resolve", `{"absent":true}`)
	if status != http.StatusConflict {
		t.Errorf("resolved under a running delivery: %d %v", status, problem)
	}
	_, err := w.store.Finish(t.Context(), []store.Outcome{{Holder: holder, Verdict: store.VerdictDead, Reason: core.ReasonAmbiguous}})
	w.must(err)
	var keys []string
	for path := "/api/v1/effects?state=unknown&limit=2&prefix=default/compta/"; path != ""; {
		page := w.ok("GET", path, "")
		for _, e := range w.items(page) {
			keys = append(keys, e["key"].(string))
		}
		path = ""
		if next, ok := page["next_cursor"].(string); ok {
			path = "/api/v1/effects?state=unknown&limit=2&cursor=" + next
		}
	}
	if len(keys) != 3 {
		t.Fatalf("%v", keys)
	}
	path := "/api/v1/effects/" + url.PathEscape(keys[0])
	if e := w.ok("GET", path, ""); e["message"] != "look" || e["delivery"] != claimed.Delivery.ID.String() {
		t.Errorf("%v", e)
	}
	e := w.ok("POST", path+"/resolve", `{"done":{"id":1204}}`)
	if e["state"] != "done" || e["resolved_by"] != "anne" || fmt.Sprint(e["result"]) != "map[id:1204]" {
		t.Errorf("%v", e)
	}
	if e := w.ok("POST", "/api/v1/effects/"+url.PathEscape(keys[1])+"/resolve", `{"absent":true}`); e["state"] != "open" {
		t.Errorf("%v", e)
	}
	for _, wrong := range []string{`{}`, `{"absent":true,"done":{"id":1}}`, `{"done":"1204"}`, `{"done":{}}`} {
		status, problem, _ := w.call("POST", "/api/v1/effects/"+url.PathEscape(keys[2])+"/resolve", wrong)
		if status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %v", wrong, status, problem)
		}
	}
}

func TestPausesAreOfThingsThatExist(t *testing.T) {
	w := newWorld(t)
	list := w.items(w.ok("POST", "/api/v1/pause", `{"scope":"route","name":"facture","reason":"Sellsy maintenance"}`))
	if len(list) != 1 || list[0]["by"] != "anne" || list[0]["reason"] != "Sellsy maintenance" || w.changed == 0 {
		t.Errorf("%v", list)
	}
	status, problem, _ := w.call("POST", "/api/v1/pause", `{"scope":"route","name":"factur"}`)
	if status != http.StatusUnprocessableEntity || !strings.Contains(problem["detail"].(string), `did you mean "facture"?`) {
		t.Errorf("%d %v", status, problem)
	}
	// A pause of what was removed since can still be lifted.
	w.setRoutes("mail")
	if list := w.items(w.ok("POST", "/api/v1/resume", `{"scope":"route","name":"facture"}`)); len(list) != 0 {
		t.Errorf("%v", list)
	}
	if status, _, _ := w.call("POST", "/api/v1/resume", `{"scope":"all"}`); status != http.StatusNotFound {
		t.Errorf("resumed what isn't paused: %d", status)
	}
}

func TestStatusHealthAndReadiness(t *testing.T) {
	w := newWorld(t)
	w.event("estimate.step", `{"n":1}`)
	s := w.ok("GET", "/api/v1/status", "")
	if s["version"] != "1.2.3" || s["ready"] != true || s["stats"].(map[string]any)["pending"] != 2.0 || s["uptime"].(float64) < 90 {
		t.Errorf("%v", s)
	}
	h := w.ok("GET", "/health", "")
	if h["status"] != "ok" || h["service"] != "relais" || h["version"] != "1.2.3" || h["uptime"].(float64) < 90 {
		t.Errorf("%v", h)
	}
	if _, err := time.Parse(time.RFC3339, h["timestamp"].(string)); err != nil {
		t.Error(err)
	}
	w.ok("GET", "/ready", "")
	w.reasons = []string{"stopping"}
	status, r, _ := w.call("GET", "/ready", "")
	if status != http.StatusServiceUnavailable || fmt.Sprint(r["reasons"]) != "[stopping]" {
		t.Errorf("%d %v", status, r)
	}
}

func TestReloadTellsTheProblemsAndIsAudited(t *testing.T) {
	w := newWorld(t)
	if got := w.ok("POST", "/api/v1/reload", ""); got["ok"] != true || w.reloads != 1 {
		t.Errorf("%v", got)
	}
	w.problems = []api.Problem{{File: "relais.yaml", Line: 3, Column: 5, Path: "sources.sellsy", Message: "no"}}
	got := w.ok("POST", "/api/v1/reload", "")
	if got["ok"] != false || fmt.Sprint(got["problems"]) != "[map[column:5 file:relais.yaml line:3 message:no path:sources.sellsy]]" {
		t.Errorf("%v", got)
	}
}

func TestTheSocketIsPrivateAndReplacesAnOldOne(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // there, the folder's access list is what protects it
	}
	dir := t.TempDir()
	for range 2 {
		if err := os.WriteFile(filepath.Join(dir, api.SocketName), []byte("left by a crash"), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := api.Listen(dir)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, api.SocketName))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
		if got := l.Addr().String(); got != filepath.Join(dir, api.SocketName) {
			t.Errorf("address %s", got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("left behind: %v %v", entries, err)
		}
	}
}

func TestATooLongPathIsTold(t *testing.T) {
	_, err := api.Listen(filepath.Join(t.TempDir(), strings.Repeat("x", 120)))
	if core.CodeOf(err) != core.CodeInvalid || !strings.Contains(err.Error(), "shorter data folder") {
		t.Error(err)
	}
}
