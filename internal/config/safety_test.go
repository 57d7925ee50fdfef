package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"relais/internal/config"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	secret := config.NewSecret("planted")
	holder := struct {
		S      config.Secret
		P      *config.Secret
		M      map[string]any
		hidden config.Secret
	}{secret, &secret, map[string]any{"s": secret}, secret}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "s", secret, "h", holder, "m", holder.M)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", secret, "h", holder)
	text, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	document, err := yaml.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(text) + string(document)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %[1]v", "%10s", "%t"} {
		all += fmt.Sprintf(verb, secret) + fmt.Sprintf(verb, holder) + fmt.Sprintf(verb, &holder)
	}
	all += fmt.Sprint(secret, holder, &secret) + secret.String()
	if strings.Contains(all, "planted") || strings.Contains(all, "706c616e746564") || strings.Contains(all, "112 108") {
		t.Error(all)
	}
	if strings.Count(all, "[secret]") < 20 {
		t.Errorf("it is not shown as [secret]: %s", all)
	}
	if secret.Reveal() != "planted" || holder.hidden.IsZero() || !(config.Secret{}).IsZero() || !config.NewSecret("").IsZero() {
		t.Error("the value is not kept")
	}
}

// TestRecordAndProblemsHoldNoSecret plants a secret wherever the file can hold one, and by every way.
func TestRecordAndProblemsHoldNoSecret(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "key.txt", "planted-by-file\n")
	write(t, dir, ".env", "DOTENV=planted-by-dotenv\n")
	text := `
store: postgres://u:planted-literal@db/x # planted-comment
sources:
  a: {preset: sellsy, secret: "${ENV}"}
  b: {preset: sellsy, path: /b, secrets: ["planted-in-list", "${DOTENV}", "${NOT_SET:-planted-default}"]}
  c: {preset: sellsy, path: /c, secret_file: key.txt}
connections:
  d: {kind: sellsy, client_id: x, client_secret: "planted-literal2"}
  e: {kind: postgres}
  f: {kind: slack, webhook_url: "https://hooks.slack.com/planted-url"}
`
	env := map[string]string{"ENV": "planted-by-env", "ORDERS_DATABASE_URL": "postgres://planted-by-default"}
	c, err := config.Load(write(t, dir, "relais.yaml", text), lookup(env), catalog())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(c.Redacted), "planted") {
		t.Errorf("the record holds a secret:\n%s", c.Redacted)
	}
	if all := fmt.Sprintf("%v %+v %#v", c, c, c.Connections); strings.Contains(all, "planted") {
		t.Errorf("the configuration prints a secret: %s", all)
	}

	// The same secrets, refused one by one, or beside something that is refused.
	broken := text + `
lisen: x
routes: {r: {on: q/x, steps: [{use: slack/post, with: {text: x}}]}}
`
	broken = strings.Replace(broken, "https://hooks.slack.com/planted-url", "gopher://planted-url", 1)
	_, err = config.Load(write(t, dir, "relais.yaml", broken), lookup(env), catalog())
	if err == nil || strings.Contains(err.Error(), "planted") || !strings.Contains(err.Error(), "webhook_url") {
		t.Errorf("got %v", err)
	}
}

func TestHashFollowsWhatRoutesDo(t *testing.T) {
	base := "sources: {s: {preset: paybox}}\nroutes:\n  a: {on: s/x, steps: [{use: http/request, with: {url: \"https://x.fr\"}}]}\n  b: {on: s/y, steps: [{use: http/request, with: {url: \"https://x.fr\"}}]}\n"
	same := "# comment\nsources: {s: {preset: paybox}}\nlog: {level: debug}\nroutes:\n  b:\n    steps:\n      - with: {url: https://x.fr}\n        use: http/request\n    on: [s/y]\n  a: {on: s/x, steps: [{use: http/request, with: {url: \"https://x.fr\"}}]}\n"
	other := strings.Replace(base, "s/y", "s/z", 1)
	hash := func(text string) string {
		t.Helper()
		c, err := config.Load(write(t, t.TempDir(), "relais.yaml", text), lookup(nil), catalog())
		if err != nil {
			t.Fatal(err)
		}
		return c.Hash
	}
	if hash(base) != hash(same) {
		t.Error("the same routes have different hashes")
	}
	if hash(base) == hash(other) {
		t.Error("different routes have the same hash")
	}
}

func TestHostileFilesAreRefusedSoon(t *testing.T) {
	laughs := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		laughs += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	steps := strings.Builder{}
	for i := range 300 {
		fmt.Fprintf(&steps, "%sx:\n", strings.Repeat(" ", i))
	}
	for name, test := range map[string]struct{ text, want string }{
		"laughs":    {laughs, "anchors (&) and aliases (*) are not allowed"},
		"brackets":  {strings.Repeat("[", 500_000), "nested deeper than 64"},
		"braces":    {"a: " + strings.Repeat("{a: ", 200_000), "nested deeper than 64"},
		"dashes":    {strings.Repeat("- ", 500_000), "nested deeper than 64"},
		"questions": {strings.Repeat("? ", 500_000), "not allowed"},
		"indented":  {steps.String(), "nested deeper than 64"},
		"words":     {strings.Repeat("a: b\n", 200_000), "more than 50000 words"},
		"huge":      {strings.Repeat("# comment\n", 110_000), "larger than 1MiB"},
		"nul":       {"a: \x00b", "not UTF-8 text"},
		"latin1":    {"a: caf\xe9", "relais.yaml:1:7: the file holds a character that is not UTF-8 text"},
		"tags":      {"a: !!python/object x", "tags (!) are not allowed"},
		"not a map": {"[1, 2]", "keys with values are expected here"},
		"folder":    {"", "it is a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir(), "relais.yaml", test.text)
			if name == "folder" {
				path = filepath.Dir(path)
			}
			started := time.Now()
			_, err := config.Load(path, lookup(nil), catalog())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %.300v, want %q", err, test.want)
			}
			if d := time.Since(started); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestMissingFileSaysHowToMakeOne(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "relais.yaml"), lookup(nil), catalog())
	if err == nil || !strings.Contains(err.Error(), "there is no such file: relais init writes one") {
		t.Errorf("got %v", err)
	}
}

func TestAtReturnsThePlaceOfAPath(t *testing.T) {
	c, err := config.Load(write(t, t.TempDir(), "relais.yaml",
		"sources:\n  s:\n    preset: paybox\nroutes:\n  a:\n    on: s/x\n    steps:\n      - use: http/request\n        with:\n          url: https://x.fr\n"),
		lookup(nil), catalog())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]int{
		"routes.a.steps[0].with.url":     {10, 16},
		"routes.a.steps[0].with.method":  {9, 9},
		"routes.a.steps[0].timeout":      {8, 9},
		"sources.s.preset":               {3, 13},
		"nowhere":                        {1, 1},
		"routes.a.steps[0].with.url.sub": {10, 16},
	} {
		at := c.At(path)
		if diff := cmp.Diff(want, [2]int{at.Line, at.Column}); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
