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

// Begin is the source that a starter begins with.
type Begin struct {
	Preset string // "" for any sender that signs
	// Secret is written as it is; without one the variable is named that StarterEnv sets.
	Secret string
	// KeyKnown is set where the preset comes with its provider's public key: no secret is needed.
	KeyKnown bool
	// KeyAsked is set where the secret is the provider's public key, which nobody can draw. Values are what is
	// signed besides, which only the account's settings show. relais check refuses the file until both are
	// filled in.
	KeyAsked bool
	Values   []string
}

// Starter writes a commented configuration to begin with. A lang that begins with fr comments it in French;
// all others are English. It loads as it stands wherever its secret could be drawn, so that relais receives
// from the first minute.
func Starter(b Begin, lang string) ([]byte, error) {
	preset, name, err := starterName(b.Preset)
	if err != nil {
		return nil, err
	}
	shown := quoted("${" + secretVariable(name) + "}")
	if b.Secret != "" {
		shown = strings.ReplaceAll(quoted(b.Secret), varOpening, varEscaped)
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
	if err := text.Execute(&out, map[string]any{"Name": name, "Preset": preset, "Secret": shown,
		"KeyKnown": b.KeyKnown, "KeyAsked": b.KeyAsked, "Values": b.Values}); err != nil {
		return nil, fmt.Errorf("starter: %w", err)
	}
	return out.Bytes(), nil
}

// StarterEnv writes the .env that belongs to a Starter that names a variable: it holds the secret, or the
// place of the provider's key.
func StarterEnv(b Begin, lang string) ([]byte, error) {
	preset, name, err := starterName(b.Preset)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	key := "# To be filled in: the provider's public key or certificate.\n"
	fill := "# Secrets of relais.yaml beside this file. Keep it to yourself.\n"
	client := "# Sellsy: a personal OAuth client of your account.\n"
	if strings.HasPrefix(lang, "fr") {
		fill = "# Les secrets de relais.yaml, à côté. Gardez ce fichier pour vous.\n"
		client = "# Sellsy : un client OAuth personnel de votre compte.\n"
		key = "# À compléter : la clé publique ou le certificat du fournisseur.\n"
	}
	out.WriteString(fill)
	switch escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(b.Secret); {
	case b.KeyKnown:
	case b.KeyAsked:
		out.WriteString(key + secretVariable(name) + "=\n")
	default:
		out.WriteString(secretVariable(name) + `="` + escaped + "\"\n")
	}
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
			has[m[2]+"="] = has[m[2]+"="] || m[1] == ""
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
		if empty := m[1] == "" && m[3] == ""; has[m[1]+m[2]] || empty && has[m[2]+"="] {
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
