package config_test

import (
	"strings"
	"testing"

	"relais/internal/config"
)

// What people get wrong of YAML is told with what to do, and where.
func TestWhatIsNotWellFormedIsToldWithAdvice(t *testing.T) {
	for text, want := range map[string]string{
		"sources:\n\tshop: {preset: paybox}\n":                                                      "2:1: not well formed: a tab stands here: indent with spaces",
		"sources:\n  shop:\n    preset: a: b\n":                                                     "3:13: not well formed: a second \": \" on the line",
		"sources:\n  shop:\n    preset: paybox\n   secret: x\n":                                     "4:4: not well formed: nothing can stand here",
		"sources:\n  shop: {preset: ${{ event.id }} }\n":                                            "2:19: not well formed: ',' or '}' is missing here: quote a text",
		"sources:\n  shop:\n    preset:paybox\n    secret: x\n":                                     "3:5: not well formed: a colon and a space stand behind a key",
		"sources:\n  shop: {preset: \"paybox}\n":                                                    "not well formed: the quote \" that ends the text is missing",
		"sources:\n  shop: {preset: @paybox}\n":                                                     "2:18: not well formed: '@' is a reserved character: quote the value",
		"sources: {s: {preset: paybox}}\nroutes: {r: {on: s/x, when: a and b, steps: []}}":          "and is written &&",
		"sources: {s: {preset: paybox}}\nroutes: {r: {on: s/x, when: event.id = \"x\", steps: []}}": "equality is written ==",
	} {
		_, err := config.Load(write(t, t.TempDir(), "relais.yaml", text), lookup(nil), catalog())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A word that is nearly one of very many is told with that one, and not with all of them.
func TestLongListsAreNotToldBesideTheNearest(t *testing.T) {
	world := catalog()
	for i := range 60 {
		world.Presets = append(world.Presets, config.Preset{Name: "other-" + strings.Repeat("x", i+1)})
	}
	_, err := config.Load(write(t, t.TempDir(), "relais.yaml", "sources: {shop: {preset: paybx}}"), lookup(nil), world)
	if err == nil || !strings.Contains(err.Error(), `did you mean "paybox"?`) || strings.Contains(err.Error(), "other-x") {
		t.Errorf("%v", err)
	}
}
