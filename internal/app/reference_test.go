package app

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"relais/internal/config"
	"relais/internal/source"
	"relais/internal/step"
)

// eventsPage is docs/events.md, which people write, with its last part made of the presets.
func eventsPage() ([]byte, error) {
	written, err := os.ReadFile(filepath.Join("..", "..", "docs", "events.md"))
	if err != nil {
		return nil, err
	}
	const mark = "<!-- Generated from the presets from here on; do not edit. -->\n\n"
	head, _, found := bytes.Cut(written, []byte(mark))
	if !found {
		return nil, errors.New("docs/events.md says nowhere that its last part is generated")
	}
	made, err := source.EventsReference(source.Embedded())
	return slices.Concat(head, []byte(mark), made), err
}

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
	events, err := eventsPage()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		"events.md":          events,
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
