package config_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"relais/internal/config"
)

var update = flag.Bool("update", false, "write the golden files again")

// catalog is a small world: one kind of each sort of step, connection and preset.
func catalog() config.Catalog {
	return config.Catalog{
		Steps: []config.StepKind{
			{Name: "sellsy/create-invoice", Class: "exact", Connection: "sellsy", Doc: "Makes an invoice of an estimate.",
				Params: []config.Param{
					{Name: "estimate", Type: config.TypeString, Required: true, Doc: "the estimate's id"},
					{Name: "validate", Type: config.TypeBool, Doc: "validates it too"},
				}, Result: []string{"status", "reason", "message", "id", "number", "reference"}},
			{Name: "slack/post", Class: "at least once", Connection: "slack", Doc: "Posts a message.",
				Params: []config.Param{{Name: "text", Type: config.TypeString, Required: true, Doc: "the message"}}},
			{Name: "sql/exec", Class: "exact", Connection: "postgres", Doc: "Runs a statement.",
				Params: []config.Param{
					{Name: "statement", Type: config.TypeString, Required: true, Literal: true, Doc: "the SQL"},
					{Name: "args", Type: config.TypeList, Doc: "its arguments"},
				}},
			{Name: "http/request", Class: "keyed", Doc: "Calls a URL.",
				Params: []config.Param{
					{Name: "url", Type: config.TypeString, Required: true, Doc: "the URL", Check: checkURL},
					{Name: "method", Type: config.TypeString, Enum: []string{"GET", "POST"}, Default: "POST", Doc: "the method"},
					{Name: "headers", Type: config.TypeMap, Doc: "more headers"},
					{Name: "retries", Type: config.TypeInt, Doc: "how often"},
					{Name: "wait", Type: config.TypeDuration, Doc: "how long"},
					{Name: "json", Type: config.TypeAny, Doc: "the body"},
				}},
		},
		Connections: []config.ConnectionKind{
			{Name: "sellsy", Doc: "A Sellsy account.", Env: map[string]string{"client_id": "SELLSY_CLIENT_ID", "client_secret": "SELLSY_CLIENT_SECRET"},
				Params: []config.Param{
					{Name: "client_id", Type: config.TypeString, Required: true, Doc: "the client's id"},
					{Name: "client_secret", Type: config.TypeString, Required: true, Secret: true, Doc: "its secret"},
					{Name: "base_url", Type: config.TypeString, Default: "https://api.sellsy.com/v2", Doc: "the API", Check: checkURL},
				}},
			{Name: "slack", Doc: "A Slack channel.",
				Params: []config.Param{{Name: "webhook_url", Type: config.TypeString, Required: true, Secret: true, Doc: "its URL", Check: checkURL}}},
			{Name: "postgres", Doc: "A database.", Env: map[string]string{"url": "ORDERS_DATABASE_URL"},
				Params: []config.Param{{Name: "url", Type: config.TypeString, Required: true, Secret: true, Doc: "its URL"},
					{Name: "pool", Type: config.TypeInt, Default: int64(4), Doc: "connections at once"}}},
		},
		Presets: []config.Preset{
			{Name: "sellsy", Doc: "Sellsy's webhooks.", Path: "/webhook/sellsy", NeedsSecret: true, SecretEnv: "SELLSY_WEBHOOK_SECRET",
				Types: []string{"estimate.accepted", "estimate.refused", "estimate.step", "estimate.created", "invoice.created"}},
			{Name: "paybox", Doc: "Paybox's calls."},
		},
	}
}

func checkURL(value any) error {
	text, _ := value.(string)
	if before, _, found := strings.Cut(text, "${{"); found && strings.Count(before, "/") < 3 {
		return errors.New("no ${{ }} may stand in the scheme, host or port of a URL")
	}
	if !strings.HasPrefix(text, "https://") {
		return errors.New("a URL that begins with https:// is expected, and this is " + text)
	}
	return nil
}

// TestGolden loads each testdata file: relais.yaml with the files beside it and the environment in "env".
// "want" holds the problems, or what the configuration came out as.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir, env, want := t.TempDir(), map[string]string{}, ""
			kept := archive.Files[:0:0]
			for _, f := range archive.Files {
				switch f.Name {
				case "want":
					want = string(f.Data)
					continue
				case "env":
					for line := range strings.Lines(string(f.Data)) {
						name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
						env[name] = value
					}
				default:
					if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				kept = append(kept, f)
			}
			got := outcome(t, dir, env)
			if *update {
				archive.Files = append(kept, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// outcome writes what a user sees: the problems, or the parts of the configuration that are not defaults.
func outcome(t *testing.T, dir string, env map[string]string) string {
	t.Helper()
	c, err := config.Load(filepath.Join(dir, "relais.yaml"), lookup(env), catalog())
	if err != nil {
		if c != nil {
			t.Error("a configuration with problems was returned")
		}
		return strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "") + "\n"
	}
	defaults, err := config.Load("", lookup(nil), catalog())
	if err != nil {
		t.Fatal(err)
	}
	changed := difference(t, c, defaults)
	if len(c.Redacted) > 0 {
		changed["Redacted"] = strings.Split(strings.TrimSuffix(string(c.Redacted), "\n"), "\n")
	}
	var warnings []string
	for _, w := range c.Warnings {
		warnings = append(warnings, strings.ReplaceAll(w.String(), dir+string(filepath.Separator), ""))
	}
	if len(warnings) > 0 {
		changed["Warnings"] = warnings
	}
	delete(changed, "File")
	delete(changed, "Hash")
	text, err := json.MarshalIndent(changed, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// difference keeps the members of a that b doesn't have alike.
func difference(t *testing.T, a, b any) map[string]any {
	t.Helper()
	left, right := plain(t, a), plain(t, b)
	for name, value := range left {
		if cmp.Equal(value, right[name]) {
			delete(left, name)
		}
	}
	return left
}

func plain(t *testing.T, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}
