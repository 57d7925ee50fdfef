package config_test

import (
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

// TestALaterVersionWritesAnUnchangedRouteDownAlike: a later version's route has members that this one's hasn't.
func TestALaterVersionWritesAnUnchangedRouteDownAlike(t *testing.T) {
	type laterStep struct {
		config.Step
		Retries int
		Shadow  bool
	}
	type laterRoute struct {
		Archive string
		config.Route
		Steps  []laterStep
		Quotas struct{ Day, Hour int }
		Until  time.Time
		Also   map[string]string
		Else   *config.Step
	}
	step := config.Step{ID: "1", Use: "http/request", With: map[string]any{"url": "https://x.fr?a&b", "validate": false, "lines": []any{int64(0), ""}}}
	now := config.Route{
		Name: "a", On: []string{"s/x"}, Delay: time.Second, Priority: core.PriorityNormal,
		Retry: config.Retry{Delays: []time.Duration{0, time.Second}}, Steps: []config.Step{step},
	}
	later := laterRoute{Route: now, Steps: []laterStep{{Step: step}}}
	later.Route.Steps = nil
	const want = `{"Delay":1000000000,"Name":"a","On":["s/x"],"Priority":2,"Retry":{"Delays":[0,1000000000]},` +
		`"Steps":[{"ID":"1","Use":"http/request","With":{"lines":[0,""],"url":"https://x.fr?a&b","validate":false}}]}`
	for version, route := range map[string]any{"this": now, "a later": &later} {
		got, err := config.Canonical(route)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s version writes\n%s\nwant\n%s", version, got, want)
		}
	}
}
