//go:build linux

package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnfilledExamplesAreRefused copies .env.example as the READMEs say and fills nothing in: a comment beside an
// empty value must not become a secret that everybody can read.
func TestUnfilledExamplesAreRefused(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for name, empty := range map[string][]string{
		"sellsy-factures": {"sellsy.secret: ${SELLSY_WEBHOOK_SECRET}"},
		"dolibarr":        {"erp.secret: ${WEBHOOK_SECRET}"},
		"dhl":             {"dhl.secret: ${DHL_TOKEN}"},
		"autoparts":       {"cyberplus.secret: ${CYBERPLUS_KEY}", "tecdoc.secret: ${TECDOC_KEY}", "n8n.secret: ${N8N_WEBHOOK_SECRET}"},
	} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "examples", name))); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, ".env.example"), filepath.Join(dir, ".env")); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), path, "check")
		cmd.Dir, cmd.Env = dir, environment()
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("%s: relais check takes the file as it stands", name)
		}
		for _, variable := range []string{"${ADMIN_EMAIL}", "${EMAIL_USER}"} { // of an address in a list; of a text that may be left out
			if name == "autoparts" && !strings.Contains(string(out), variable+" is empty") {
				t.Errorf("relais check doesn't say that %s is empty:\n%s", variable, out)
			}
		}
		for _, secret := range empty {
			if want := "sources." + secret + " is empty"; !strings.Contains(string(out), want) {
				t.Errorf("%s: relais check doesn't say %q:\n%s", name, want, out)
			}
		}
	}
}
