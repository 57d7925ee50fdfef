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
// public key or the id of a webhook can't be drawn: there the file says so in both languages, and relais check
// says what is still to be filled in.
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
		for lang, word := range map[string]string{"en": "# To be filled in", "fr": "# À compléter"} {
			begin := beginWith(preset)
			if !begin.KeyAsked && !begin.KeyKnown {
				begin = drawn(begin, &preset.Verify)
			}
			text, err := config.Starter(begin, lang)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = config.Load(path, func(string) (string, bool) { return "", true }, catalog)
			open := begin.KeyAsked || len(begin.Values) > 0
			if !open && err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !open || err == nil {
				continue
			}
			if !strings.Contains(string(text), word) || !strings.Contains(err.Error(), "fill") {
				t.Errorf("%s (%s): %v\n%s", name, lang, err, text)
			}
		}
	}
}

// What can't be drawn isn't drawn: a made-up public key would refuse every request without a word.
func TestStartersOfPublicKeys(t *testing.T) {
	for name, want := range map[string]string{"paybox": "known", "sendgrid": "asked", "paypal": "known", "discord": "asked", "stripe": "drawn"} {
		preset, err := source.Embedded().Load(name)
		if err != nil {
			t.Fatal(err)
		}
		begin := beginWith(preset)
		begin.Secret = "drawn-by-the-test"
		env, err := config.StarterEnv(begin, "en")
		if err != nil {
			t.Fatal(err)
		}
		variable := strings.ToUpper(name) + "_WEBHOOK_SECRET="
		got := "known"
		if _, value, found := strings.Cut(string(env), variable); found {
			got = "drawn"
			if value == "\n" {
				got = "asked"
			}
		}
		if got != want {
			t.Errorf("%s: its key is %s, and not %s:\n%s", name, got, want, env)
		}
	}
}

// Asana makes the secret itself and asks for a token first; Meta asks for one beside its own secret.
func TestStartersOfHandshakes(t *testing.T) {
	for name, want := range map[string][]string{
		"asana": {"# ASANA_WEBHOOK_SECRET=\n", "\nASANA_WEBHOOK_SETUP=\"", `secrets: {setup: "${ASANA_WEBHOOK_SETUP}"}`, `# secret: "${ASANA_WEBHOOK_SECRET}"`},
		"meta":  {"\nMETA_WEBHOOK_SECRET=\"", "\nMETA_WEBHOOK_VERIFY=\"", `secrets: {verify: "${META_WEBHOOK_VERIFY}"}`, `    secret: "${META_WEBHOOK_SECRET}"`},
	} {
		preset, err := source.Embedded().Load(name)
		if err != nil {
			t.Fatal(err)
		}
		text, err := config.Starter(beginWith(preset), "en")
		if err != nil {
			t.Fatal(err)
		}
		env, err := config.StarterEnv(drawn(beginWith(preset), &preset.Verify), "en")
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range want {
			if !strings.Contains(string(text)+string(env), word) {
				t.Errorf("%s: %s is not in\n%s%s", name, word, text, env)
			}
		}
	}
}
