package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

func TestReplayOfWhatIsDead(t *testing.T) {
	w := newWorld(t)
	a := w.event("estimate.step", `{"n":1}`)
	b := w.event("estimate.accepted", `{"n":2}`)
	w.finish(store.VerdictDead, core.ReasonAuth)
	w.event("estimate.step", `{"n":3}`)
	w.finish(store.VerdictSucceeded, "")

	dry := w.ok("POST", "/api/v1/replay", `{"state":"dead","destination":"facture","dry_run":true}`)
	if dry["count"] != 2.0 || dry["dry_run"] != true {
		t.Fatalf("%v", dry)
	}
	if n := len(w.items(w.ok("GET", "/api/v1/deliveries?state=pending", ""))); n != 0 {
		t.Fatalf("a dry run made %d deliveries", n)
	}
	done := w.ok("POST", "/api/v1/replay", `{"state":"dead","destination":"facture"}`)
	if done["count"] != 2.0 || w.changed == 0 {
		t.Fatalf("%v", done)
	}
	var order []string
	for _, d := range done["deliveries"].([]any) {
		order = append(order, d.(map[string]any)["event"].(string))
	}
	if !slices.Equal(order, []string{a.String(), b.String()}) {
		t.Errorf("the oldest isn't first: %v", order)
	}
	// Said twice, nothing is done twice: what is dead was replayed, and that is still to run.
	if again := w.ok("POST", "/api/v1/replay", `{"state":"dead","destination":"facture"}`); again["count"] != 0.0 {
		t.Errorf("%v", again)
	}
	if byType := w.ok("POST", "/api/v1/replay", `{"state":"dead","type":"*.accepted","dry_run":true}`); byType["count"] != 1.0 {
		t.Errorf("%v", byType)
	}
	claimed := w.claim()
	if len(claimed) != 2 || claimed[0].Delivery.Replay == 0 {
		t.Errorf("%+v", claimed)
	}
}

func TestReplayFromAStepKeepsWhatIsBeforeIt(t *testing.T) {
	w := newWorld(t)
	id := w.event("estimate.step", `{"n":1}`)
	w.finish(store.VerdictDead, core.ReasonStatus)
	list := w.items(w.ok("GET", "/api/v1/deliveries?destination=route:facture&event="+id.String(), ""))
	w.ok("POST", "/api/v1/replay", fmt.Sprintf(`{"deliveries":[%q],"from_step":"2"}`, list[0]["id"]))
	claimed := w.claim()
	if len(claimed) != 1 || len(claimed[0].Steps) != 1 || claimed[0].Delivery.FromStep != "2" {
		t.Errorf("%+v", claimed)
	}
	status, problem, _ := w.call("POST", "/api/v1/replay", fmt.Sprintf(`{"events":[%q],"from_step":"factur"}`, id))
	if status != http.StatusUnprocessableEntity || location(problem) != "body.from_step" {
		t.Errorf("%d %v", status, problem)
	}
}

func TestReplayOfAnEventGoesWhereItBelongsToday(t *testing.T) {
	w := newWorld(t)
	id := w.event("estimate.step", `{"n":1}`)
	still := w.ok("POST", "/api/v1/replay", fmt.Sprintf(`{"events":[%q]}`, id))
	if still["count"] != 0.0 || still["skipped"] != 2.0 {
		t.Errorf("replayed what will run by itself: %v", still)
	}
	w.finish(store.VerdictSucceeded, "")
	w.setRoutes("facture", "nouvelle")
	done := w.ok("POST", "/api/v1/replay", fmt.Sprintf(`{"events":[%q,%q]}`, id, id))
	var to []string
	for _, d := range done["deliveries"].([]any) {
		to = append(to, d.(map[string]any)["destination"].(string))
	}
	if !slices.Equal(to, []string{"route:facture", "route:nouvelle"}) || done["skipped"] != 2.0 {
		t.Errorf("%v", done)
	}
	other := w.event("invoice.paid", `{"n":2}`)
	none := w.ok("POST", "/api/v1/replay", fmt.Sprintf(`{"events":[%q]}`, other))
	if none["count"] != 0.0 || !strings.Contains(fmt.Sprint(none["skipped_by"]), "no route") {
		t.Errorf("%v", none)
	}
	named := w.ok("POST", "/api/v1/replay", fmt.Sprintf(`{"events":[%q],"destination":"nouvelle"}`, other))
	if named["count"] != 1.0 {
		t.Errorf("a destination that was named is meant: %v", named)
	}
}

func TestAFilterOfEventsTakesItsLimit(t *testing.T) {
	w := newWorld(t)
	for i := range 4 {
		w.event("estimate.step", fmt.Sprintf(`{"n":%d}`, i))
	}
	w.finish(store.VerdictSucceeded, "")
	got := w.ok("POST", "/api/v1/replay", `{"source":"sellsy","destination":"mail","limit":3,"dry_run":true}`)
	if got["count"] != 3.0 || got["truncated"] != true {
		t.Errorf("%v", got)
	}
	future := time.Now().Add(time.Hour).Format(time.RFC3339)
	if got := w.ok("POST", "/api/v1/replay", `{"since":"`+future+`"}`); got["count"] != 0.0 {
		t.Errorf("%v", got)
	}
}

func TestPurgeWhereAConditionHolds(t *testing.T) {
	w := newWorld(t)
	anne := w.event("estimate.step", `{"email":"anne@example.fr"}`)
	w.event("estimate.step", `{"email":"anne@example.fr"}`) // a repeat holds the same person's data
	w.event("estimate.step", `{"email":"paul@example.fr"}`)
	w.event("estimate.step", `{"other":1}`)
	w.finish(store.VerdictSucceeded, "")
	const condition = `{"where":"event.data.email == \"anne@example.fr\""`
	dry := w.ok("POST", "/api/v1/events/purge", condition+`,"dry_run":true}`)
	if dry["matched"] != 2.0 || dry["purged"] != 0.0 || dry["undecided"] != 1.0 {
		t.Fatalf("%v", dry)
	}
	w.ok("GET", "/api/v1/events/"+anne.String(), "")
	done := w.ok("POST", "/api/v1/events/purge", condition+`}`)
	if done["purged"] != 2.0 {
		t.Fatalf("%v", done)
	}
	if status, _, _ := w.call("GET", "/api/v1/events/"+anne.String(), ""); status != http.StatusNotFound {
		t.Errorf("still there: %d", status)
	}
	if n := len(w.items(w.ok("GET", "/api/v1/events?repeats=true", ""))); n != 2 {
		t.Errorf("%d left", n)
	}
}

func TestPurgeLeavesWhatRuns(t *testing.T) {
	w := newWorld(t)
	done := w.event("estimate.step", `{"n":1}`)
	w.finish(store.VerdictSucceeded, "")
	busy := w.event("estimate.step", `{"n":2}`)
	w.claim()
	got := w.ok("POST", "/api/v1/events/purge", fmt.Sprintf(`{"events":[%q,%q]}`, busy, done))
	if got["purged"] != 1.0 || got["busy"] != 1.0 {
		t.Errorf("%v", got)
	}
}

func TestRejectionsAreVerifiedAgain(t *testing.T) {
	w := newWorld(t)
	rejection := func(body string, complete bool) store.Rejection {
		return store.Rejection{
			Tenant: core.DefaultTenant, Source: "sellsy", At: time.Now(), Reason: core.RejectBadSignature, Status: 401, Address: "192.0.2.1",
			Method: "POST", Path: "/webhook/sellsy", Header: []byte("X-Webhook-Signature: 00\r\n"), Body: []byte(body), BodySize: int64(len(body)), Complete: complete,
		}
	}
	w.must(w.store.AppendRejections(t.Context(), []store.Rejection{rejection("good", true), rejection("bad", true), rejection("cut", false)},
		store.RejectionBounds{PerSource: 100, Bytes: 1 << 20}))
	list := w.items(w.ok("GET", "/api/v1/rejections?source=sellsy&reason=signature_invalid", ""))
	if len(list) != 3 || list[0]["body"] != nil || list[2]["address"] != "192.0.2.1" {
		t.Fatalf("%v", list)
	}
	if one := w.ok("GET", fmt.Sprintf("/api/v1/rejections/%s?body=true", list[2]["id"]), ""); one["body"] != "good" || one["complete"] != true {
		t.Errorf("%v", one)
	}
	event := w.event("estimate.step", `{"n":1}`)
	tried := 0
	w.retry = func(r *store.Rejection) (core.EventID, error) {
		tried++
		if string(r.Body) == "good" {
			return event, w.store.MarkRejectionAccepted(t.Context(), r.ID, event)
		}
		return core.EventID{}, core.Errorf(core.CodeInvalid, "the signature does not match the body")
	}
	if dry := w.ok("POST", "/api/v1/rejections/retry", `{"source":"sellsy","dry_run":true}`); dry["tried"] != 2.0 || tried != 0 {
		t.Errorf("%v", dry)
	}
	got := w.ok("POST", "/api/v1/rejections/retry", `{"source":"sellsy"}`)
	if got["tried"] != 2.0 || got["accepted"] != 1.0 || got["incomplete"] != 1.0 || tried != 2 {
		t.Errorf("%v", got)
	}
	if again := w.ok("POST", "/api/v1/rejections/retry", `{"source":"sellsy"}`); again["done"] != 1.0 || again["tried"] != 1.0 {
		t.Errorf("%v", again)
	}
	w.retry = func(*store.Rejection) (core.EventID, error) {
		return core.EventID{}, errors.Join(store.ErrUnavailable, errors.New("disk I/O error at secret place"))
	}
	status, problem, header := w.call("POST", "/api/v1/rejections/retry", `{"source":"sellsy"}`)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || strings.Contains(fmt.Sprint(problem), "secret place") {
		t.Errorf("%d %v", status, problem)
	}
}

func TestReplayInPartsTakesEachOnceOldestFirst(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 7 {
		want = append(want, w.event("estimate.step", fmt.Sprintf(`{"n":%d}`, i)).String())
	}
	w.finish(store.VerdictDead, core.ReasonTimeout)
	until := time.Now().Add(time.Hour).Format(time.RFC3339)
	for _, filter := range []string{`"source":"sellsy","destination":"facture"`, `"reason":"timeout","destination":"facture"`} {
		var got []string
		after, parts := "", 0
		for next := true; next; parts++ {
			out := w.ok("POST", "/api/v1/replay", fmt.Sprintf(`{%s,"until":%q,"oldest":true,"limit":3,"after":%q,"dry_run":true}`, filter, until, after))
			for _, d := range out["deliveries"].([]any) {
				got = append(got, d.(map[string]any)["event"].(string))
			}
			after, next = out["next"].(string)
		}
		if !slices.Equal(got, want) || parts != 3 {
			t.Errorf("%s: %d in %d parts: %v", filter, len(got), parts, got)
		}
	}
}

func TestReplayByReasonConditionAndRequest(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.event("estimate.step", fmt.Sprintf(`{"n":%d}`, i))
	}
	w.event("estimate.step", `{"other":1}`)
	w.finish(store.VerdictDead, core.ReasonAuth)
	for _, c := range []struct {
		body           string
		count, skipped float64
	}{
		{`{"reason":"authentication","destination":"facture","dry_run":true}`, 4, 0},
		{`{"reason":"timeout","destination":"facture","dry_run":true}`, 0, 0},
		{`{"state":"dead","where":"event.data.n > 0","destination":"facture","dry_run":true}`, 2, 1},
		{`{"where":"event.data.n == 2","destination":"facture","dry_run":true}`, 1, 1},
		{`{"requests":[2,3],"destination":"facture","dry_run":true}`, 2, 0},
	} {
		out := w.ok("POST", "/api/v1/replay", c.body)
		if out["count"] != c.count || out["skipped"] != c.skipped {
			t.Errorf("%s: %v", c.body, out)
		}
		if by := out["by_destination"].(map[string]any); c.count > 0 && by["route:facture"] != c.count {
			t.Errorf("%s: %v", c.body, by)
		}
	}
	for body, field := range map[string]string{
		`{"requests":[999]}`:                       "body.requests[0]",
		`{"requests":[1000000000000007]}`:          "body.requests[0]",
		`{"requests":[-1]}`:                        "body.requests[0]",
		`{"reason":"timeout","state":"succeeded"}`: "body.reason",
		`{"where":"event.data."}`:                  "body.where",
		`{"source":"sellsy","after":"evt_1"}`:      "body.after",
	} {
		if status, problem, _ := w.call("POST", "/api/v1/replay", body); status < 400 || status >= 500 || location(problem) != field {
			t.Errorf("%s: %d %v", body, status, problem)
		}
	}
}

func TestReplayOfARepeatSaysSo(t *testing.T) {
	w := newWorld(t)
	first := w.event("estimate.step", `{"n":1}`)
	again := w.event("estimate.step", `{"n":1}`)
	w.finish(store.VerdictSucceeded, "")
	want := fmt.Sprintf("[map[event:%s of:%s of_request:1 request:2]]", again, first)
	for _, dry := range []bool{true, false} {
		out := w.ok("POST", "/api/v1/replay", fmt.Sprintf(`{"requests":[2],"dry_run":%t}`, dry))
		if out["count"] != 2.0 || fmt.Sprint(out["repeats"]) != want {
			t.Errorf("dry %t: %v", dry, out)
		}
	}
	w.finish(store.VerdictSucceeded, "")
	if out := w.ok("POST", "/api/v1/replay", `{"requests":[1]}`); out["repeats"] != nil {
		t.Errorf("the first one repeats nothing: %v", out)
	}
}

func TestReplayOfWhatWaitsSaysUntilWhen(t *testing.T) {
	w := newWorld(t)
	id := w.event("estimate.step", `{"n":1}`)
	out := w.ok("POST", "/api/v1/replay", fmt.Sprintf(`{"events":[%q],"destination":"mail"}`, id))
	waits := w.items(w.ok("GET", "/api/v1/deliveries?destination=route:mail", ""))[0]
	left := out["skipped_items"].([]any)[0].(map[string]any)
	if left["pending"] != waits["id"] || left["due_at"] != waits["due_at"] {
		t.Errorf("%v waits, and the replay says %v", waits, left)
	}
}
