package config_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relais/internal/config"
)

// TestSchemaIsFresh compares the schema of the tests' catalog with the one that was looked at.
func TestSchemaIsFresh(t *testing.T) {
	got, err := config.Schema(catalog())
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/schema.json"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("run go test -update (-want +got)\n%s", diff)
	}
}

func TestSchemaExplainsEveryKey(t *testing.T) {
	text, err := config.Schema(catalog())
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	if root["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$schema is %v", root["$schema"])
	}
	seen := 0
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if properties, ok := v["properties"].(map[string]any); ok && v["additionalProperties"] == false {
				for name, p := range properties {
					seen++
					shape, _ := p.(map[string]any)
					if _, constant := shape["const"]; shape["description"] == nil && !constant {
						t.Errorf("%s.%s has no description", path, name)
					}
				}
			}
			for name, item := range v {
				walk(path+"."+name, item)
			}
		case []any:
			for _, item := range v {
				walk(path+"[]", item)
			}
		}
	}
	walk("", root)
	if seen < 60 {
		t.Errorf("only %d keys", seen)
	}
}
