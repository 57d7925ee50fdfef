package monitoring

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

type dashboard struct {
	Panels []struct {
		Type, Title string
		Grid        struct{ X, Y, W, H int } `json:"gridPos"`
		Datasource  struct{ UID string }
		Targets     []struct {
			Expr       string
			Datasource struct{ UID string }
		}
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Annotations struct{ List []struct{ Expr string } }
}

func TestDashboardAsksForWhatThereIs(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	known := metrics(t)
	var expressions []string
	note := func(where, expr string) {
		checkNames(t, where, expr, known)
		// What Grafana puts in before it asks.
		expressions = append(expressions, strings.NewReplacer("$__rate_interval", "5m", "$job", "relais", "$source", ".*").Replace(expr))
	}
	for _, p := range d.Panels {
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 {
			t.Errorf("%s asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			if p.Datasource.UID != "${datasource}" || target.Datasource.UID != "${datasource}" {
				t.Errorf("%s asks a data source of its own", p.Title)
			}
			note(p.Title, target.Expr)
		}
	}
	if len(expressions) < 20 {
		t.Errorf("only %d queries", len(expressions))
	}
	for _, a := range d.Annotations.List {
		note("an annotation", a.Expr)
	}
	variables := map[string]bool{}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
		checkNames(t, "the variable "+v.Name, v.Definition, known)
	}
	for _, name := range []string{"datasource", "job", "source"} {
		if !variables[name] {
			t.Errorf("no variable %s", name)
		}
	}
	checkExpressions(t, expressions)
}

func TestDashboardPanelsStandBesideEachOther(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		for x := p.Grid.X; x < p.Grid.X+p.Grid.W; x++ {
			for y := p.Grid.Y; y < p.Grid.Y+p.Grid.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
					t.Fatalf("%q stands where %q does", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
