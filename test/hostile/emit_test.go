//go:build unix

package hostile

import (
	"context"
	"encoding/json"
	"testing"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

// recorder keeps the events that are made.
type recorder struct{ events []core.Event }

var emitted recorder

func (r *recorder) emit(_ context.Context, accepted store.Accepted) (store.Appended, error) {
	r.events = append(r.events, accepted.Event)
	return store.Appended{Seq: 1}, nil
}

func eventEmit(*testing.T) check {
	return func(t *testing.T, name, value string) {
		emitted.events = nil
		out := attempt(t, config.Step{Use: "event/emit", With: map[string]any{"type": "a", "data": map[string]any{"v": "${{ event.data.v }}"}}}, nil, value)
		if !succeeded(out) || len(emitted.events) != 1 {
			t.Fatalf("ended with %s %s: %.200s", out.Verdict, out.Reason, out.Message)
		}
		var data map[string]string
		if err := json.Unmarshal(emitted.events[0].Body, &data); err != nil || len(data) != 1 || data["v"] != value || emitted.events[0].Source != core.AppSource {
			t.Errorf("the data became %.200q: %v", emitted.events[0].Body, err)
		}
		emitted.events = nil
		out = attempt(t, config.Step{Use: "event/emit", With: map[string]any{"type": "${{ event.data.v }}"}}, nil, value)
		if succeeded(out) {
			if !core.IsType(value) || emitted.events[0].Type != value {
				t.Errorf("the type became %.200q", emitted.events[0].Type)
			}
		} else if refused(t, out); len(emitted.events) != 0 {
			t.Error("an event was made")
		}
	}
}
