package route

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

func compile(t *testing.T, routes ...config.Route) *Set {
	t.Helper()
	set, err := Compile(routes, "hash")
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func estimate(body string) *core.Event {
	return &core.Event{Source: "sellsy", Type: "estimate.step", Format: core.FormatJSON, Body: []byte(body)}
}

func TestEventGoesToTheRoutesThatNameItsType(t *testing.T) {
	set := compile(t,
		config.Route{Name: "invoice", On: []string{"sellsy/estimate.accepted", "sellsy/estimate.step"}, Priority: core.PriorityNormal},
		config.Route{Name: "all", On: []string{"*/**"}, Priority: core.PriorityLow},
		config.Route{Name: "other-source", On: []string{"shop/estimate.step"}},
		config.Route{Name: "other-type", On: []string{"sellsy/estimate.*.late"}},
	)
	got, fanOut := set.Match(estimate(`{}`))
	want := []store.NewDelivery{
		{Destination: Destination("all"), Priority: core.PriorityLow},
		{Destination: Destination("invoice"), Priority: core.PriorityNormal},
	}
	if fanOut || !cmp.Equal(got, want) {
		t.Errorf("fan-out %v: %s", fanOut, cmp.Diff(want, got))
	}
}

func TestTestEventsGoOnlyToRoutesThatSaySo(t *testing.T) {
	set := compile(t,
		config.Route{Name: "real", On: []string{"**/**"}},
		config.Route{Name: "trial", On: []string{"sellsy/**"}, Test: true},
	)
	event := estimate(`{}`)
	event.Test = true
	got, _ := set.Match(event)
	if len(got) != 1 || got[0].Destination.Name != "trial" {
		t.Errorf("a test event went to %v", got)
	}
}

func TestOrderKeyComesFromTheEvent(t *testing.T) {
	set := compile(t, config.Route{Name: "stock", On: []string{"sellsy/**"}, OrderBy: "${{ event.data.product }}"})
	for body, want := range map[string]string{
		`{"product": 1234567890123}`: "1234567890123",
		`{"product": "TD-1"}`:        "TD-1",
		`{}`:                         keyOfErrors,
		`not json`:                   keyOfErrors,
	} {
		got, _ := set.Match(estimate(body))
		if len(got) != 1 || !got[0].Ordered || got[0].OrderKey != want {
			t.Errorf("%s: deliveries %+v, want one with the key %q", body, got, want)
		}
	}
}

func TestLongOrderKeyIsStoredShort(t *testing.T) {
	set := compile(t, config.Route{Name: "stock", On: []string{"sellsy/**"}, OrderBy: "${{ event.data.product }}"})
	key := func(product string) string {
		got, _ := set.Match(estimate(`{"product": "` + product + `"}`))
		if len(got) != 1 {
			t.Fatalf("%d deliveries", len(got))
		}
		return got[0].OrderKey
	}
	long := strings.Repeat("é", 200_000)
	if got := key(long); len(got) > maxOrderKey || !strings.HasPrefix(got, "éé") || !utf8.ValidString(got) {
		t.Errorf("the key has %d bytes: %.300q", len(got), got)
	}
	if again, other := key(strings.Clone(long)), key(long+"x"); key(long) != again || again == other {
		t.Error("long keys don't order as their texts do")
	}
}

func TestPriorityComesFromTheEventWhereItSaysOne(t *testing.T) {
	set := compile(t, config.Route{Name: "n8n", On: []string{"sellsy/**"},
		Priority: core.PriorityNormal, PriorityExpr: "${{ event.data.priority }}"})
	for body, want := range map[string]core.Priority{
		`{"priority": "urgent"}`: core.PriorityUrgent,
		`{"priority": "now!"}`:   core.PriorityNormal,
		`{}`:                     core.PriorityNormal,
	} {
		if got, _ := set.Match(estimate(body)); len(got) != 1 || got[0].Priority != want {
			t.Errorf("%s: deliveries %+v, want one of priority %s", body, got, want)
		}
	}
}

func TestManyDestinationsAreFannedOutOnceEach(t *testing.T) {
	var routes []config.Route
	for i := range 3*FanOutAbove + 1 {
		routes = append(routes, config.Route{Name: fmt.Sprintf("r%03d", i), On: []string{"sellsy/**"}})
	}
	set := compile(t, routes...)
	event := estimate(`{}`)
	if _, fanOut := set.Match(event); !fanOut {
		t.Fatal("not fanned out")
	}
	seen := map[string]bool{}
	for cursor, done := "", false; !done; {
		var page []store.NewDelivery
		page, done = set.MatchAfter(event, cursor, FanOutAbove)
		for _, d := range page {
			if seen[d.Destination.Name] {
				t.Fatalf("%s twice", d.Destination)
			}
			seen[d.Destination.Name] = true
			cursor = d.Destination.String()
		}
	}
	if len(seen) != len(routes) {
		t.Errorf("%d destinations, want %d", len(seen), len(routes))
	}
}

func TestReplayToARouteThatIsGoneSaysSo(t *testing.T) {
	set := compile(t, config.Route{Name: "a", On: []string{"sellsy/**"}})
	if _, err := set.Delivery(estimate(`{}`), Destination("b")); core.CodeOf(err) != core.CodeConflict {
		t.Errorf("error %v, want a conflict", err)
	}
	if d, err := set.Delivery(estimate(`{}`), Destination("a")); err != nil || d.Destination.Name != "a" {
		t.Errorf("delivery %+v, error %v", d, err)
	}
}
