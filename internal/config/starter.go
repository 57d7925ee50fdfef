package config

import (
	"bytes"
	"embed"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"relais/internal/core"
)

//go:embed starter/*.yaml
var starters embed.FS

// placeholders stand in the starters where an account's own settings belong, so that relais can receive
// before they are known.
var placeholders = []string{"to-be-filled-in", "a-remplir"}

// starterPreset is what a starter without a preset begins with.
const starterPreset = "generic-hmac"

// Starter writes a commented configuration to begin with: one source on the preset ("" for any sender
// that signs) with this secret, written as it is; without a secret it names the variable that StarterEnv
// sets. A lang that begins with fr comments it in French; all others are English. It loads as it stands,
// so that relais receives from the first minute.
func Starter(preset, secret, lang string) ([]byte, error) {
	preset, name, err := starterName(preset)
	if err != nil {
		return nil, err
	}
	shown := quoted("${" + secretVariable(name) + "}")
	if secret != "" {
		shown = strings.ReplaceAll(quoted(secret), varOpening, varEscaped)
	}
	language := "en"
	if strings.HasPrefix(lang, "fr") {
		language = "fr"
	}
	file := "starter/" + preset + "." + language + ".yaml"
	if _, err := starters.ReadFile(file); err != nil {
		file = "starter/any." + language + ".yaml"
	}
	text, err := template.ParseFS(starters, file)
	if err != nil {
		return nil, fmt.Errorf("starter: %w", err)
	}
	var out bytes.Buffer
	if err := text.Execute(&out, map[string]string{"Name": name, "Preset": preset, "Secret": shown}); err != nil {
		return nil, fmt.Errorf("starter: %w", err)
	}
	return out.Bytes(), nil
}

// StarterEnv writes the .env that belongs to a Starter without a secret.
func StarterEnv(preset, secret, lang string) ([]byte, error) {
	preset, name, err := starterName(preset)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	fill := "# Secrets of relais.yaml beside this file. Keep it to yourself.\n"
	client := "# Sellsy: a personal OAuth client of your account.\n"
	if strings.HasPrefix(lang, "fr") {
		fill = "# Les secrets de relais.yaml, à côté. Gardez ce fichier pour vous.\n"
		client = "# Sellsy : un client OAuth personnel de votre compte.\n"
	}
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(secret)
	out.WriteString(fill + secretVariable(name) + `="` + escaped + "\"\n")
	if preset == "sellsy" {
		out.WriteString(client + "# SELLSY_CLIENT_ID=\n# SELLSY_CLIENT_SECRET=\n")
	}
	return []byte(out.String()), nil
}

var envLine = regexp.MustCompile(`^\s*(#?)\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$`)

// CompleteEnv returns an older .env with the lines of a starter's that it lacks behind its own: what
// somebody wrote there, other programs' variables included, can't be drawn again.
func CompleteEnv(older, starter []byte) []byte {
	has := map[string]bool{}
	for line := range strings.Lines(string(older)) {
		if m := envLine.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil {
			set := m[1] == "" && strings.Trim(m[3], " \t\"'") != ""
			has[m[2]] = has[m[2]] || set
			has["#"+m[2]] = true
		}
	}
	out := bytes.Clone(older)
	comments := ""
	for line := range strings.Lines(string(starter)) {
		m := envLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			comments = line
			continue
		}
		if has[m[1]+m[2]] {
			comments = ""
			continue
		}
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(out, comments+line...)
		comments = ""
	}
	return out
}

func starterName(preset string) (full, name string, err error) {
	if preset == "" {
		preset = starterPreset
	}
	if !nameGrammar.MatchString(preset) {
		return "", "", core.Errorf(core.CodeInvalid, "%q is not a preset's name", preset)
	}
	return preset, strings.TrimPrefix(preset, "generic-"), nil
}

// secretVariable names the environment variable of a source's secret: SELLSY_WEBHOOK_SECRET.
func secretVariable(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_WEBHOOK_SECRET"
}
