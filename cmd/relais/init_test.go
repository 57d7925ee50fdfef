package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relais/internal/app"
	"relais/internal/config"
	"relais/internal/source"
)

// What relais init writes for a preset passes relais check, whatever its secrets look like. A provider's
// public key or the id of a webhook can't be drawn: there relais check says what is still to be filled in.
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
		if scheme := preset.Verify.Scheme; strings.HasPrefix(scheme, "rsa") || strings.HasPrefix(scheme, "ecdsa") || len(preset.Verify.Values) > 0 {
			continue
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
