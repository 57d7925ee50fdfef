package ingest

import (
	"strings"
	"testing"

	"relais/internal/config"
)

// TestTokenOfAMistakenAddressIsNotKept: a token in the address of a request that missed its source by a slash
// is a token all the same.
func TestTokenOfAMistakenAddressIsNotKept(t *testing.T) {
	h := open(t, nil, config.Source{Name: "erp", Preset: "dolibarr", Path: "/hook/{token}", Secrets: secretsOf("very-secret-token"),
		Verify: map[string]any{"variant": "path"}})
	sent := []string{"/hook/very-secret-token/", "/hooks/very-secret-token", "/hook/very-secret-token/test", "/hook/very-secret-toker",
		"/" + strings.Repeat("x", 500) + "/very-secret-token"}
	for i, path := range sent {
		h.send("POST", path, nil, []byte(`{}`))
		kept := h.waitKept(i + 1)
		if last := kept[len(kept)-1]; strings.Contains(last.Path, "very-secret") {
			t.Errorf("%s: kept as %s", path, last.Path)
		}
	}
}
