package app

import (
	"strings"
	"testing"

	"relais/internal/config"
)

// Where a provider has a source beside those for trying out, that is the one it calls.
func TestSourcesForTryingOutAreChosenLast(t *testing.T) {
	erp := config.Source{Name: "erp", Preset: "dolibarr"}
	two := config.Source{Name: "two", Preset: "dolibarr"}
	test := config.Source{Name: "test", Preset: "dolibarr", Test: true}
	open := config.Source{Name: "open", Preset: "dolibarr", Auth: "none"}
	for _, c := range []struct {
		sources []config.Source
		named   string
		want    string // the one that is chosen, or what the error says
	}{
		{[]config.Source{test, erp, open, {Name: "compta", Preset: "sellsy"}}, "", "erp"},
		{[]config.Source{test, erp}, "test", "test"},
		{[]config.Source{open}, "", "open"},
		{[]config.Source{erp, test, two}, "", "there are several: say which with --source: erp, two"},
		{[]config.Source{open, test}, "", "there are several: say which with --source: open, test"},
		{[]config.Source{erp}, "nope", `the configuration has no source "nope" of the kind dolibarr`},
	} {
		var found []string
		for _, i := range candidates(c.sources, "dolibarr", c.named) {
			found = append(found, c.sources[i].Name)
		}
		got := strings.Join(found, "")
		if err := one("source", "dolibarr", c.named, found); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
