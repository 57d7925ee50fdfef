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
	Path   string // the preset's own, besides /in/NAME
	// Secret is written as it is; without one the variable is named that StarterEnv sets.
	Secret string
	// Plain is set where the secret is sent as it is: nothing is signed.
	Plain bool
	// KeyKnown is set where the preset comes with its provider's public key: no secret is needed. KeyFetched is set
	// where it is had from the certificate that a request names.
	KeyKnown, KeyFetched bool
	// KeyAsked is set where the secret is the provider's public key, which nobody can draw. Values are what is
	// signed besides, which only the account's settings show. relais check refuses the file until both are
	// filled in.
	KeyAsked bool
	Values   []string
	// Token is the name of the secret that the provider's handshake asks for; "" where none does. TokenSecret is to it
	// what Secret is to the other one. SecretGiven is set where the provider makes that other one, and tells it with
	// the handshake.
	Token, TokenSecret string
	SecretGiven        bool
}

// Starter writes a commented configuration to begin with. A lang that begins with fr comments it in French;
// all others are English. It loads as it stands wherever its secret could be drawn, so that relais receives
// from the first minute.
func Starter(b Begin, lang string) ([]byte, error) {
	preset, name, err := starterName(b.Preset)
	if err != nil {
		return nil, err
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
	values := struct {
		Begin
		Name, Preset, Secret, TokenSecret string
	}{b, name, preset, shownSecret(b.Secret, secretVariable(name)), shownSecret(b.TokenSecret, tokenVariable(name, b.Token))}
	if err := text.Execute(&out, values); err != nil {
		return nil, fmt.Errorf("starter: %w", err)
	}
	return out.Bytes(), nil
}

// shownSecret is a secret as the starter writes it: as it is, or the variable that holds it.
func shownSecret(secret, variable string) string {
	if secret == "" {
		return quoted("${" + variable + "}")
	}
	return strings.ReplaceAll(quoted(secret), varOpening, varEscaped)
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
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	switch {
	case b.KeyKnown:
	case b.KeyAsked:
		out.WriteString(key + secretVariable(name) + "=\n")
	case b.SecretGiven:
		out.WriteString("# " + secretVariable(name) + "=\n")
	default:
		out.WriteString(secretVariable(name) + `="` + escape.Replace(b.Secret) + "\"\n")
	}
	if b.Token != "" {
		out.WriteString(tokenVariable(name, b.Token) + `="` + escape.Replace(b.TokenSecret) + "\"\n")
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
func secretVariable(name string) string { return tokenVariable(name, "secret") }

// tokenVariable names that of the token which a handshake asks for: META_WEBHOOK_VERIFY.
func tokenVariable(name, token string) string {
	return strings.ToUpper(strings.ReplaceAll(name+"_webhook_"+token, "-", "_"))
}
