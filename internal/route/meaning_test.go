package route

import (
	"testing"

	"relais/internal/config"
	"relais/internal/core"
)

// known is a source that reads a priority and a product in its events.
type known struct{}

func (known) Normalized(*core.Event) map[string]any { return map[string]any{"product": "TD-1"} }

func (known) Priority(*core.Event) core.Priority { return core.PriorityUrgent }

// TestEventsBringTheirPriority: where a route says nothing else, and wherever its delivery is made.
func TestEventsBringTheirPriority(t *testing.T) {
	set, err := Compile([]config.Route{
		{Name: "its-own", On: []string{"n8n/**"}, Priority: core.PriorityNormal, OrderBy: "${{ event.normalized.product }}"},
		{Name: "low", On: []string{"n8n/**"}, Priority: core.PriorityLow},
	}, "h")
	if err != nil {
		t.Fatal(err)
	}
	event := &core.Event{ID: core.NewEventID(), Source: "n8n", Type: "stock.low", Format: core.FormatJSON, Body: []byte("{}")}
	set = set.WithMeaning(known{})
	deliveries, _ := set.Match(event)
	paged, _ := set.MatchAfter(event, "", 10)
	for _, made := range append(deliveries, paged...) {
		want := map[string]core.Priority{"its-own": core.PriorityUrgent, "low": core.PriorityLow}[made.Destination.Name]
		if made.Priority != want {
			t.Errorf("%s: priority %s, want %s", made.Destination.Name, made.Priority, want)
		}
		if made.Destination.Name == "its-own" && made.OrderKey != "TD-1" {
			t.Errorf("its key is %q", made.OrderKey)
		}
	}
	if again, err := set.Delivery(event, Destination("its-own")); err != nil || again.Priority != core.PriorityUrgent {
		t.Errorf("a replay: %+v %v", again, err)
	}
}
