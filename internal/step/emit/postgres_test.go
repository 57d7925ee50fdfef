//go:build unix

package emit

import (
	"context"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/store"
	"relais/internal/store/postgres"
	"relais/internal/store/postgres/pgtest"
)

// PostgreSQL keeps events by day. A step that runs again days after its delivery was made finds its event.
func TestAnEventIsFoundAgainDaysLater(t *testing.T) {
	s, err := postgres.Open(t.Context(), postgres.Options{URL: pgtest.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	emitter := func(ctx context.Context, accepted store.Accepted) (store.Appended, error) {
		results, err := s.Append(ctx, []store.Accepted{accepted})
		if err != nil {
			return store.Appended{}, err
		}
		return results[0], nil
	}
	for _, with := range []map[string]any{{"type": "plain"}, {"type": "keyed", "key": "${{ event.data.k }}"}} {
		for _, ago := range []time.Duration{0, 3 * time.Hour, 26 * time.Hour, 5 * 24 * time.Hour, 100 * 24 * time.Hour} {
			c := claimed(map[string]any{"k": ago.String()})
			c.Delivery.CreatedAt = time.Now().Add(-ago)
			route := config.Route{Name: "orders", Steps: []config.Step{{ID: "e", Use: "event/emit", With: with}}}
			p, err := step.Compile(route, step.NewRegistry([]step.Kind{Emit(emitter)}, nil), nil, step.Options{})
			if err != nil {
				t.Fatal(err)
			}
			before := count(t, s)
			for range 3 {
				if out := p.Run(t.Context(), c); out.Verdict != store.VerdictSucceeded {
					t.Errorf("%v, %s ago: %s %s", with, ago, out.Verdict, out.Message)
				} else if result := string(out.Steps[0].Result); strings.Contains(result, "repeat_of") {
					t.Errorf("%v, %s ago: %s", with, ago, result)
				}
			}
			if made := count(t, s) - before; made != 1 {
				t.Errorf("%v, %s ago: %d events", with, ago, made)
			}
		}
	}
}

func count(t *testing.T, s store.Store) int {
	t.Helper()
	events, err := s.Events(t.Context(), store.EventFilter{Source: core.AppSource, Repeats: true, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	return len(events)
}
