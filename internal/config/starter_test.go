package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relais/internal/config"
)

func TestStarterLoadsAsItStands(t *testing.T) {
	world := catalog()
	world.Presets = append(world.Presets, config.Preset{Name: "generic-hmac", NeedsSecret: true})
	for _, preset := range []string{"", "sellsy"} {
		for lang, word := range map[string]string{"": "what is wrong", "en_GB.UTF-8": "what is wrong", "fr": "ce qui ne va pas", "fr_FR.UTF-8": "ce qui ne va pas"} {
			secret := `odd "secret" ${X} é`
			text, err := config.Starter(config.Begin{Preset: preset, Secret: secret}, lang)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(text), "# yaml-language-server: $schema=") || !strings.Contains(string(text), word) {
				t.Errorf("%s %s:\n%s", preset, lang, text)
			}
			path := filepath.Join(t.TempDir(), "relais.yaml")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := config.Load(path, lookup(nil), world)
			if err != nil {
				t.Fatalf("%s %s:\n%v", preset, lang, err)
			}
			if len(c.Sources) != 1 || c.Sources[0].Secrets[0].Reveal() != secret {
				t.Errorf("%s %s: the secret is not that of the source", preset, lang)
			}
			if preset == "sellsy" && (len(c.Routes) != 1 || len(c.Connections) != 1) {
				t.Errorf("%s: %d routes, %d connections", lang, len(c.Routes), len(c.Connections))
			}
			loadUncommented(t, string(text), world)
		}
	}
}

// loadUncommented loads the starter with its examples in force: they must be right too.
func loadUncommented(t *testing.T, text string, world config.Catalog) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(text) {
		body := strings.TrimLeft(line, " ")
		if rest, ok := strings.CutPrefix(body, "# "); ok && isYAML(rest) {
			line = line[:len(line)-len(body)] + rest
		}
		lines = append(lines, line)
	}
	path := filepath.Join(t.TempDir(), "relais.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path, lookup(map[string]string{"SLACK_WEBHOOK_URL": "https://x.fr"}), world)
	if err != nil {
		t.Fatalf("with its examples:\n%s\n%v", strings.Join(lines, ""), err)
	}
	if c.PublicURL == "" || len(c.Routes) != 1 {
		t.Errorf("the examples are not in force:\n%s", strings.Join(lines, ""))
	}
}

// isYAML tells examples from sentences.
func isYAML(s string) bool {
	word, _, found := strings.Cut(strings.TrimLeft(s, " -"), ":")
	return found && strings.Trim(word, "abcdefghijklmnopqrstuvwxyz_-") == "" && word != "yaml-language-server"
}

func TestStarterWithItsSecretInDotenv(t *testing.T) {
	dir, secret := t.TempDir(), `odd "secret" \ $é`
	text, err := config.Starter(config.Begin{Preset: "sellsy"}, "fr")
	if err != nil {
		t.Fatal(err)
	}
	env, err := config.StarterEnv(config.Begin{Preset: "sellsy", Secret: secret}, "fr")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, ".env", string(env))
	c, err := config.Load(write(t, dir, "relais.yaml", string(text)), lookup(nil), catalog())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Sources[0].Secrets[0].Reveal(); got != secret {
		t.Errorf("the source's secret is %q", got)
	}
	if strings.Contains(string(text), "secret\"") || strings.Contains(string(c.Redacted), "odd") {
		t.Error("the secret stands outside of .env")
	}
}

func TestStarterRefusesWhatIsNoPreset(t *testing.T) {
	if _, err := config.Starter(config.Begin{Preset: "../../etc", Secret: "x"}, ""); err == nil {
		t.Error("no error")
	}
}

func TestOlderDotenvKeepsItsLines(t *testing.T) {
	starter, err := config.StarterEnv(config.Begin{Preset: "sellsy", Secret: "new-secret"}, "en")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, older, want string }{
		{"nothing there", "", string(starter)},
		{"all there", "SELLSY_WEBHOOK_SECRET=mine\nSELLSY_CLIENT_ID=a\nexport SELLSY_CLIENT_SECRET='b'\n", "SELLSY_WEBHOOK_SECRET=mine\nSELLSY_CLIENT_ID=a\nexport SELLSY_CLIENT_SECRET='b'\n"},
		{"another program's", "OTHER=1 # kept\r\n# SELLSY_WEBHOOK_SECRET=old",
			"OTHER=1 # kept\r\n# SELLSY_WEBHOOK_SECRET=old\n# Secrets of relais.yaml beside this file. Keep it to yourself.\nSELLSY_WEBHOOK_SECRET=\"new-secret\"\n" +
				"# Sellsy: a personal OAuth client of your account.\n# SELLSY_CLIENT_ID=\n# SELLSY_CLIENT_SECRET=\n"},
		{"empty", "SELLSY_WEBHOOK_SECRET=\n# SELLSY_CLIENT_ID=\nSELLSY_CLIENT_SECRET=\n",
			"SELLSY_WEBHOOK_SECRET=\n# SELLSY_CLIENT_ID=\nSELLSY_CLIENT_SECRET=\n# Secrets of relais.yaml beside this file. Keep it to yourself.\nSELLSY_WEBHOOK_SECRET=\"new-secret\"\n"},
	} {
		if got := string(config.CompleteEnv([]byte(c.older), starter)); got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.name, got, c.want)
		}
	}
}
