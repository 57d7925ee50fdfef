package bench

import (
	"fmt"
	"strings"
)

const (
	sourcePath = "/in/sellsy"
	sourceKey  = "1eba7b47-ff42-4883-9b6b-f3d776151374"
	wrongKey   = "00000000-0000-0000-0000-000000000000"
	// heldRoute is the route whose destination takes requests and doesn't answer: what is matched by it waits.
	heldRoute = "held"
	// deliverRoute is the one whose destination answers.
	deliverRoute = "deliver"
)

// settings are what differs between the configurations of a run.
type settings struct {
	deliver   string // URL that every event is posted to; "" delivers nothing
	hold      string // URL that takes requests and doesn't answer
	retention string // how long events are kept; "" longer than any here is old
	store     string // URL of a PostgreSQL; "" is SQLite in the data folder
	// lanes are routes that match nothing that is sent, named as Prefill names the destinations of what
	// waits; each posts the event's data to its laneURL.
	lanes   int
	laneURL func(lane int) string
	// hang is a URL that whatever waits for lanes which aren't configured is posted to; "" leaves it waiting.
	hang string
}

// text writes the configuration. All that a row doesn't need to be otherwise is left at its default;
// the limit on one address is lifted because all senders of a run are one machine.
func (s settings) text() string {
	retention := s.retention
	if retention == "" {
		retention = "365d"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `sources:
  sellsy: {preset: sellsy, secret: %s}
ingest: {address_rate: 1000000/s, address_burst: 1000000}
retention: {events: %s, dead: 365d, attempts: 365d}
lanes: {stop_timeout: 1s, ready_delay: 0s, interrupted: 1000}
`, sourceKey, retention)
	route := func(name, url string) {
		fmt.Fprintf(&b, `  %s:
    on: sellsy/estimate.step
    steps:
      - use: http/request
        with: {method: POST, url: %q, json: {id: "${{ event.data.relatedid }}"}}
`, name, url)
	}
	if s.store != "" {
		fmt.Fprintf(&b, "store: %q\n", s.store)
	}
	if s.deliver != "" || s.hold != "" || s.lanes > 0 {
		b.WriteString("routes:\n")
	}
	if s.deliver != "" {
		route(deliverRoute, s.deliver)
	}
	if s.hold != "" {
		route(heldRoute, s.hold)
	}
	for i := range s.lanes {
		fmt.Fprintf(&b, `  %s:
    on: sellsy/nothing.like.this
    steps:
      - use: http/request
        with: {method: POST, url: %q, json: "${{ event.data }}"}
`, laneName(i), s.laneURL(i))
	}
	return b.String()
}

// laneName is the route of the n-th lane.
func laneName(n int) string { return fmt.Sprintf("lane-%05d", n) }
