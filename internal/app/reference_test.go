package app

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"relais/internal/config"
	"relais/internal/source"
	"relais/internal/step"
)

var update = flag.Bool("update", false, "write the generated pages of docs")

// The pages of docs that are made of the code are what the code makes today.
func TestGeneratedPagesAreFresh(t *testing.T) {
	catalog, err := Catalog()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := config.Schema(catalog)
	if err != nil {
		t.Fatal(err)
	}
	providers, err := source.Reference(source.Embedded())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		"steps.md":           step.Reference(registry(nil, wiring{})),
		"providers.md":       providers,
		"configuration.md":   config.Reference(catalog),
		"relais.schema.json": schema,
	} {
		path := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not what the code makes (%v): go test ./internal/app -run Fresh -update", name, err)
		}
	}
}
