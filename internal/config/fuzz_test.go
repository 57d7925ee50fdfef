package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"relais/internal/config"
)

// FuzzLoad: whatever stands in the file, Load returns a configuration or problems with a place, one line
// each, and what it returns holds no secret that it was given.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(archive.Files[0].Data))
	}
	const secret = "q7-planted-9z"
	path := filepath.Join(f.TempDir(), "relais.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10_000 {
			return // size is bounded elsewhere; here the shapes matter
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		env := func(string) (string, bool) { return secret, true }
		c, err := config.Load(path, func(name string) (string, bool) {
			if name == "LOG_LEVEL" || name == "WEBHOOK_PORT" {
				return "", false
			}
			return env(name)
		}, catalog())
		if err == nil {
			if strings.Contains(string(c.Redacted), secret) && !strings.Contains(text, secret) {
				t.Errorf("the record holds the secret:\n%s", c.Redacted)
			}
			return
		}
		problems, ok := err.(config.Problems) //nolint:errorlint // it is promised to be this very type
		if !ok || len(problems) == 0 {
			t.Fatalf("got %T %v", err, err)
		}
		for _, p := range problems {
			if p.Place.Line < 1 || p.Place.Column < 1 || p.Message == "" || strings.Contains(p.Message, "\n") {
				t.Errorf("%#v", p)
			}
		}
	})
}
