package emit

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/store"
	"relais/internal/store/sqlite"
)

// kept is a real store, and what was given to it.
type kept struct {
	store.Store
	given []store.Accepted
}

func open(t *testing.T) *kept {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &kept{Store: s}
}

func (k *kept) emit(ctx context.Context, accepted store.Accepted) (store.Appended, error) {
	k.given = append(k.given, accepted)
	results, err := k.Append(ctx, []store.Accepted{accepted})
	if err != nil {
		return store.Appended{}, err
	}
	return results[0], nil
}

func compile(k *kept, with map[string]any) (*step.Program, error) {
	route := config.Route{Name: "orders", Steps: []config.Step{{ID: "e", Use: "event/emit", With: with}}}
	return step.Compile(route, step.NewRegistry([]step.Kind{Emit(k.emit)}, nil), nil, step.Options{})
}

func claimed(data any) *store.Claimed {
	body, _ := json.Marshal(data)
	id := core.NewEventID()
	return &store.Claimed{
		Delivery: core.Delivery{ID: 1, Claim: 1, Event: id, CreatedAt: time.Now(), Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "orders"}},
		Event:    core.Event{ID: id, Tenant: "default", Source: "shop", Type: "order", Format: core.FormatJSON, Body: body},
	}
}

func (k *kept) attempt(t *testing.T, with map[string]any, c *store.Claimed) (store.Outcome, map[string]string) {
	t.Helper()
	p, err := compile(k, with)
	if err != nil {
		t.Fatal(err)
	}
	out := p.Run(t.Context(), c)
	var result map[string]string
	if len(out.Steps) == 1 {
		if err := json.Unmarshal(out.Steps[0].Result, &result); err != nil {
			t.Fatal(err)
		}
	}
	return out, result
}

func (k *kept) event(t *testing.T, id string) core.Event {
	t.Helper()
	parsed, err := core.ParseEventID(id)
	if err != nil {
		t.Fatal(err)
	}
	event, err := k.Event(t.Context(), parsed)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func TestAStepMakesOneEventHoweverOftenItRuns(t *testing.T) {
	k := open(t)
	c := claimed(map[string]any{"id": json.Number("9007199254740993"), "name": "<é>"})
	c.Event.Test = true
	with := map[string]any{"type": "order.validated", "data": map[string]any{"id": "${{ event.data.id }}", "name": "${{ event.data.name }}"}}
	out, first := k.attempt(t, with, c)
	if out.Verdict != store.VerdictSucceeded || first["type"] != "order.validated" {
		t.Fatalf("%+v", out)
	}
	made := k.event(t, first["event"])
	if made.Source != "app" || made.Type != "order.validated" || !made.Test || string(made.Body) != `{"id":9007199254740993,"name":"<é>"}` {
		t.Errorf("%+v", made)
	}
	header := string(made.Header)
	if !strings.Contains(header, "Relais-Cause: "+c.Event.ID.String()+"\r\n") || !strings.Contains(header, "Relais-Route: orders\r\n") || !strings.Contains(header, "Relais-Depth: 1\r\n") {
		t.Errorf("%q", header)
	}
	// The process died before the step's result was kept: it runs again, after another claim.
	c.Delivery.Claim = 2
	_, again := k.attempt(t, with, c)
	if again["event"] != first["event"] || again["status"] != "done" {
		t.Errorf("%v and %v", first, again)
	}
	if stats, err := k.Stats(t.Context()); err != nil || k.given[1].Event.ID != k.given[0].Event.ID {
		t.Errorf("%+v %v", stats, err)
	}
	// A replay is another delivery, and so is another event's.
	c.Delivery.Replay = 1
	_, replayed := k.attempt(t, with, c)
	_, other := k.attempt(t, with, claimed(map[string]any{"id": 1, "name": ""}))
	if replayed["event"] == first["event"] || other["event"] == first["event"] {
		t.Errorf("%v %v %v", first, replayed, other)
	}
	id, _ := core.ParseEventID(first["event"])
	if id[6]>>4 != 7 || id[8]>>6 != 2 || !bytes.Equal(id[:6], k.given[2].Event.ID[:6]) {
		t.Errorf("%s is no UUIDv7 of the delivery's time", id)
	}
}

func TestEventsWithOneKeyAreOne(t *testing.T) {
	k := open(t)
	with := map[string]any{"type": "stock.low", "key": "${{ event.data.product }}"}
	first, other := claimed(map[string]any{"product": "a"}), claimed(map[string]any{"product": "a"})
	_, one := k.attempt(t, with, first)
	_, two := k.attempt(t, with, other)
	if two["status"] != "repeat" || two["repeat_of"] != one["event"] || two["event"] == one["event"] {
		t.Errorf("%v %v", one, two)
	}
	if _, again := k.attempt(t, with, first); again["status"] != "done" || again["event"] != one["event"] {
		t.Errorf("a retry is no repeat: %v", again)
	}
	if _, different := k.attempt(t, with, claimed(map[string]any{"product": "b"})); different["status"] != "done" {
		t.Errorf("%v", different)
	}
	trial := claimed(map[string]any{"product": "a"})
	trial.Event.Test = true
	if _, different := k.attempt(t, with, trial); different["status"] != "done" {
		t.Errorf("a test is a repeat of a real event: %v", different)
	}
	with["type"] = "stock.out"
	if _, different := k.attempt(t, with, claimed(map[string]any{"product": "a"})); different["status"] != "done" {
		t.Errorf("%v", different)
	}
}

func TestChainsOfEventsEnd(t *testing.T) {
	k := open(t)
	with := map[string]any{"type": "again"}
	c := claimed(nil)
	for depth := 1; ; depth++ {
		out, result := k.attempt(t, with, c)
		if depth == maxDepth+1 {
			if out.Verdict != store.VerdictDead || out.Reason != core.ReasonLoop {
				t.Errorf("%+v", out)
			}
			break
		}
		if out.Verdict != store.VerdictSucceeded {
			t.Fatalf("%d: %+v", depth, out)
		}
		c = claimed(nil)
		c.Event = k.event(t, result["event"])
		c.Delivery.Event = c.Event.ID
	}
	// What comes in can't pretend to be deep, nor that it isn't.
	forged := claimed(nil)
	forged.Event.Header = core.EncodeHeader(http.Header{headerDepth: {strconv.Itoa(99)}}, func(string) bool { return true })
	if out, _ := k.attempt(t, with, forged); out.Verdict != store.VerdictSucceeded {
		t.Errorf("%+v", out)
	}
}

func TestTypesFollowTheGrammar(t *testing.T) {
	k := open(t)
	for _, value := range []string{"", "a..b", "a b", "app/x", "é", strings.Repeat("a", 129), "a\r\nb", "*"} {
		out, _ := k.attempt(t, map[string]any{"type": "${{ event.data.v }}"}, claimed(map[string]any{"v": value}))
		if out.Verdict != store.VerdictDead || out.Reason != core.ReasonParameter {
			t.Errorf("%q: %+v", value, out)
		}
		if value == "" {
			continue
		}
		if _, err := compile(k, map[string]any{"type": value}); err == nil {
			t.Errorf("%q is taken", value)
		}
	}
	if out, _ := k.attempt(t, map[string]any{"type": "order.${{ event.data.v }}"}, claimed(map[string]any{"v": "paid"})); out.Verdict != store.VerdictSucceeded {
		t.Errorf("%+v", out)
	}
	for _, key := range []string{"", strings.Repeat("k", maxKey+1)} {
		if out, _ := k.attempt(t, map[string]any{"type": "a", "key": "${{ event.data.v }}"}, claimed(map[string]any{"v": key})); out.Reason != core.ReasonParameter {
			t.Errorf("%+v", out)
		}
	}
	if len(k.given) != 1 {
		t.Errorf("%d events", len(k.given))
	}
}

func TestAStoreThatIsAwayUsesUpNoAttempt(t *testing.T) {
	k := open(t)
	k.Close()
	if out, _ := k.attempt(t, map[string]any{"type": "a"}, claimed(nil)); out.Verdict != store.VerdictDefer {
		t.Errorf("%+v", out)
	}
}
