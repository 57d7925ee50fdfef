// Package monitoring plays what Prometheus and Grafana are given with Prometheus' own tool.
package monitoring

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const (
	alertsFile    = "../../deploy/prometheus/alerts.yaml"
	alertTests    = "../../deploy/prometheus/alerts_test.yaml"
	slowTests     = "../../deploy/prometheus/alerts_slow_test.yaml"
	dashboardFile = "../../deploy/grafana/relais.json"
)

// promtool runs Prometheus' tool, which scripts/setup puts beside the linter where the system has none.
func promtool(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		path = "../../.tools/bin/promtool"
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("there is no promtool: make setup gets it (%v)", err)
		}
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestAlertsAreRules(t *testing.T) {
	out, err := promtool(t, "", "check", "rules", alertsFile)
	if err != nil || !strings.Contains(out, "SUCCESS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	for _, file := range []string{alertTests, slowTests} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			out, err := promtool(t, "", "test", "rules", file)
			if err != nil || !strings.Contains(out, "SUCCESS") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	read(t, alertsFile, &file)
	var out []alert
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	if len(out) < 20 {
		t.Fatalf("%d alerts", len(out))
	}
	return out
}

func read(t *testing.T, path string, to any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, to); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestEveryAlertIsSeenToFireAndNotTo(t *testing.T) {
	fires, stays := map[string]bool{}, map[string]bool{}
	for _, path := range []string{alertTests, slowTests} {
		var file struct {
			Tests []struct {
				Checks []struct {
					Alert string `yaml:"alertname"`
					Want  []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		read(t, path, &file)
		for _, test := range file.Tests {
			for _, c := range test.Checks {
				if len(c.Want) > 0 {
					fires[c.Alert] = true
				} else {
					stays[c.Alert] = true
				}
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !stays[a.Alert] {
			t.Errorf("%s: seen to fire %v, seen not to fire %v", a.Alert, fires[a.Alert], stays[a.Alert])
		}
	}
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	page, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts(t) {
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		}
		if a.Annotations["summary"] == "" || len(a.Annotations["description"]) < 40 {
			t.Errorf("%s: says nothing: %q", a.Alert, a.Annotations)
		}
		if !bytes.Contains(page, []byte("| `"+a.Alert+"` |")) {
			t.Errorf("docs/monitoring.md doesn't explain %s", a.Alert)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `((?:Relais|Webhook)\\w+)` \\|").FindAllSubmatch(page, -1) {
		if !slices.ContainsFunc(alerts(t), func(a alert) bool { return a.Alert == string(row[1]) }) {
			t.Errorf("docs/monitoring.md explains %s, which there isn't", row[1])
		}
	}
}

func TestAlertsNameMetricsThatExist(t *testing.T) {
	known := metrics(t)
	for _, a := range alerts(t) {
		checkNames(t, a.Alert, a.Expr, known)
	}
}

// metrics are those that docs/metrics.md explains; another test proves that it explains all there are.
func metrics(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `((?:relais|webhook)_[a-z_]+)").FindAllStringSubmatch(string(page), -1) {
		known[row[1]] = true
	}
	return known
}

var named = regexp.MustCompile(`\b(?:relais|webhook)_[a-z_]+`)

func checkNames(t *testing.T, where, expr string, known map[string]bool) {
	t.Helper()
	for _, name := range named.FindAllString(expr, -1) {
		base := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			base = strings.TrimSuffix(base, suffix)
		}
		if !known[name] && !known[base] {
			t.Errorf("%s names %s, which there isn't", where, name)
		}
	}
}

// checkExpressions lets promtool parse expressions, as rules.
func checkExpressions(t *testing.T, expressions []string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("groups:\n  - name: queries\n    rules:\n")
	for i, e := range expressions {
		fmt.Fprintf(&b, "      - record: query:n%d\n        expr: %q\n", i, e)
	}
	path := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := promtool(t, "", "check", "rules", path)
	if want := fmt.Sprintf("%d rules found", len(expressions)); err != nil || !strings.Contains(out, want) {
		t.Errorf("%v\n%s", err, out)
	}
}
