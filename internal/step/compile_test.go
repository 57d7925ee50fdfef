package step

import (
	"errors"
	"strings"
	"testing"

	"relais/internal/config"
)

func TestEverythingWrongWithARouteIsReportedAtOnceWithItsPlace(t *testing.T) {
	b := newBench(t)
	kinds := b.registry()
	_, err := Compile(config.Route{
		Name: "r", When: "event.dta",
		Steps: []config.Step{
			{ID: "1", Use: "test/z"},
			{ID: "2", Use: "test/a", With: map[string]any{"texte": "x", "count": "many", "any": map[string]any{"k": []any{"${{ steps.later.x }}"}}}},
			{ID: "3", Use: "test/a", Connection: "back", When: "1 +"},
			{ID: "3", Use: "test/b"},
		},
		OnDead: &config.Step{Use: "test/a", With: map[string]any{"text": "${{ failure.reason }} ${{ 1 / }}"}},
	}, kinds, Connections{"front": {Kind: "desk"}, "side": {Kind: "desk"}}, Options{})
	for _, want := range []string{
		"routes.r.when: ",
		`routes.r.steps[0].use: there is no step "test/z"`,
		`routes.r.steps[1].connection: it must be said: there are front, side`,
		`routes.r.steps[1].with.texte: there is no parameter "texte"; did you mean text?`,
		"routes.r.steps[1].with.count: it must be a whole number",
		"routes.r.steps[1].with.any.k[0]: ",
		`routes.r.steps[2].connection: "back" is not a connection of kind desk`,
		"routes.r.steps[2].when: ",
		`routes.r.steps[3].id: the id "3" is taken`,
		"routes.r.on_dead.with.text: ",
	} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+want) {
			t.Errorf("not reported: %s\nin:\n%v", want, err)
		}
	}
}

func TestConnectionsAreCheckedBeforeTheyAreOpened(t *testing.T) {
	registry := NewRegistry(nil, []ConnectionKind{{Name: "desk", Params: []Param{
		{Name: "url", Type: TypeString, Required: true, Doc: "where it is"},
		{Name: "key", Type: TypeString, Secret: true},
		{Name: "mode", Type: TypeString, Enum: []string{"a", "b"}, Default: "a"},
	}, Open: func(settings map[string]any) (any, error) { return settings, nil }}})
	opened, err := registry.Open([]config.Connection{{Name: "ok", Kind: "desk", Settings: map[string]any{"url": "u", "key": config.NewSecret("k")}}})
	if err != nil || opened["ok"].Value.(map[string]any)["mode"] != "a" {
		t.Errorf("%v, %v", opened, err)
	}
	_, err = registry.Open([]config.Connection{
		{Name: "x", Kind: "desk", Settings: map[string]any{"mode": "c", "urll": "u"}}, {Name: "y", Kind: "dsk"}})
	for _, want := range []string{"connections.x.urll: ", "connections.x: url is missing: where it is", "connections.x.mode: it must be one of a, b", "connections.y.kind: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not reported: %s in %v", want, err)
		}
	}
}

// What is wrong with a connection is said once: of the steps that use it, only what is wrong with themselves.
func TestBrokenConnectionIsNotReportedAgain(t *testing.T) {
	kind := Kind{Name: "test/write", Connection: "desk", Params: []Param{{Name: "n", Type: TypeInt}},
		Check:  func(_ map[string]any, connection any) error { return errors.New(connection.(string)) },
		Choose: func(map[string]any, Connections) (any, error) { return nil, errors.New("chosen") }}
	kinds := NewRegistry([]Kind{kind}, []ConnectionKind{{Name: "desk", Open: func(map[string]any) (any, error) { return nil, errors.New("no desk") }}})
	connections, err := kinds.Open([]config.Connection{{Name: "front", Kind: "desk"}})
	if err == nil || err.Error() != "connections.front: no desk" {
		t.Fatal(err)
	}
	for _, connection := range []string{"", "front"} {
		one := config.Step{ID: "s", Use: "test/write", Connection: connection}
		if _, err := Compile(config.Route{Name: "r", Steps: []config.Step{one}}, kinds, connections, Options{}); err != nil {
			t.Errorf("%q: %v", connection, err)
		}
		one.With = map[string]any{"n": "many"}
		if _, err := Compile(config.Route{Name: "r", Steps: []config.Step{one}}, kinds, connections, Options{}); err == nil || !strings.HasPrefix(err.Error(), "routes.r.steps[0].with.n: ") {
			t.Errorf("%q: %v", connection, err)
		}
	}
}

func TestReferenceNamesEveryKindAndParameter(t *testing.T) {
	text := string(Reference(newBench(t).registry()))
	for _, want := range []string{"### `test/a`", "| `count` | integer |", "### `desk`", "at least once"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing from:\n%s", want, text)
		}
	}
}

func TestAConnectionMayDecideAStepsClass(t *testing.T) {
	kind := Kind{Name: "test/write", Class: ClassAtLeastOnce, Connection: "desk", Also: []string{"shelf"}, ClassOn: func(connection any) Class {
		if connection == "exact" {
			return ClassExact
		}
		return ClassAtLeastOnce
	}}
	kinds := NewRegistry([]Kind{kind}, []ConnectionKind{{Name: "desk"}, {Name: "shelf"}, {Name: "box"}})
	connections := Connections{"a": {Kind: "desk", Value: "exact"}, "b": {Kind: "shelf", Value: "plain"}, "c": {Kind: "box", Value: "plain"}}
	for connection, want := range map[string]string{
		"a": `it is for steps of class "at least once"; test/write is of class "exact" here`,
		"b": "",
		"c": `"c" is not a connection of kind desk or shelf`,
		"":  "it must be said: there are a, b",
	} {
		_, err := Compile(config.Route{Name: "r", Steps: []config.Step{{ID: "s", Use: "test/write", Connection: connection, OnUnknown: "stop"}}}, kinds, connections, Options{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", connection, err)
		}
	}
}
