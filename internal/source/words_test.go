package source

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Whoever writes a verify of his own finds every word of the grammar on the page that describes it.
func TestEveryWordOfTheGrammarIsDescribed(t *testing.T) {
	page, err := os.ReadFile("../../docs/verify.md")
	if err != nil {
		t.Fatal(err)
	}
	words := slices.Collect(maps.Keys(schemes))
	words = append(words, "token", "basic", rfc3339)
	for _, some := range [][]string{
		keyWords, slices.Collect(maps.Keys(formats)), slices.Collect(maps.Keys(encodings)), slices.Collect(maps.Keys(timestampUnits)),
	} {
		words = append(words, some...)
	}
	fields := reflect.TypeFor[Verify]()
	for i := range fields.NumField() {
		words = append(words, fields.Field(i).Tag.Get("yaml"))
	}
	for _, word := range words {
		if word != "" && !strings.Contains(string(page), "`"+word+"`") && !strings.Contains(string(page), "`"+word+":") {
			t.Errorf("%s is not described", word)
		}
	}
	for name, known := range signedNames {
		if known.argument {
			name += "."
		}
		if !strings.Contains(string(page), "`{"+name) {
			t.Errorf("{%s} is not described", name)
		}
	}
	for name := range filters {
		if !strings.Contains(string(page), `\|`+name+"}`") {
			t.Errorf("|%s is not described", name)
		}
	}
}
