package main

import (
	"os"
	"path/filepath"
	"testing"

	"relais/internal/app"
	"relais/internal/config"
	"relais/internal/source"
)

// What relais init writes for a preset passes relais check, whatever its secrets look like.
func TestEveryPresetsStarterIsRight(t *testing.T) {
	catalog, err := app.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "relais.yaml")
	for _, name := range source.Embedded().Names() {
		preset, err := source.Embedded().Load(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := config.Starter(name, newSecret(&preset.Verify), "en")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(path, func(string) (string, bool) { return "", false }, catalog); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
