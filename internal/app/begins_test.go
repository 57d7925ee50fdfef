package app

import (
	"strings"
	"testing"
)

// TestSourceWithoutItsSecretIsSaid: a source whose provider is still to give the secret starts, and says that it
// refuses everything else.
func TestSourceWithoutItsSecretIsSaid(t *testing.T) {
	r := start(t, t.TempDir(), "sources: {taches: {preset: asana, secrets: {setup: text-of-the-operator}}}\n", nil)
	if status, _ := r.postJSON("/webhook/asana", "{}"); status != 401 {
		t.Errorf("answered %d", status)
	}
	if log := r.log.String(); !strings.Contains(log, "it has no secret yet") || !strings.Contains(log, "sources.taches") {
		t.Errorf("the log doesn't say it:\n%s", log)
	}
}
