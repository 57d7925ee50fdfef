package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"relais/internal/store"
)

func TestEventsWhereAConditionHolds(t *testing.T) {
	w := newWorld(t)
	var large []string
	for i := range 7 {
		id := w.event("estimate.step", fmt.Sprintf(`{"n":%d}`, i))
		if i%3 == 0 {
			large = append([]string{id.String()}, large...)
		}
	}
	w.event("estimate.step", `{"other":1}`)
	w.finish(store.VerdictSucceeded, "")
	find := func(more string) map[string]any {
		return w.ok("GET", "/api/v1/events?where="+url.QueryEscape("event.data.n % 3 == 0")+more, "")
	}
	ids := func(list map[string]any) (out []string) {
		for _, item := range w.items(list) {
			out = append(out, item["id"].(string))
		}
		return out
	}
	all := find("")
	if !slices.Equal(ids(all), large) || all["read"] != 8.0 || all["undecided"] != 1.0 || all["undecided_example"] == nil || all["next_cursor"] != nil {
		t.Errorf("%v", all)
	}
	// A page ends where enough was found, or looked at, and the next ones have the rest.
	for _, bound := range []string{"&limit=1", "&read=2"} {
		var got []string
		cursor, pages := "", 0
		for next := true; next; pages++ {
			list := find(bound + cursor)
			got = append(got, ids(list)...)
			var at string
			at, next = list["next_cursor"].(string)
			cursor = "&cursor=" + at
		}
		if !slices.Equal(got, large) || pages < 3 || pages > 4 {
			t.Errorf("%s: %v in %d pages", bound, got, pages)
		}
	}
	if none := find("&type=invoice.paid"); len(ids(none)) != 0 || none["next_cursor"] != nil {
		t.Errorf("%v", none)
	}
	status, problem, _ := w.call("GET", "/api/v1/events?where="+url.QueryEscape("event.data.n >"), "")
	if status != 422 || location(problem) != "query.where" {
		t.Errorf("%d %v", status, problem)
	}
}
