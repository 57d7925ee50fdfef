package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relais/internal/app"
	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/source"
)

// Run writes a commented starter, its secrets beside it, and the schema for editors.
func (c *initCommand) Run(p *program) error {
	presets := source.Embedded()
	if names := presets.Names(); !slices.Contains(names, c.Preset) {
		f := &failure{code: exitNotFound, text: p.lang.say("no_preset", c.Preset, strings.Join(names, ", "))}
		if near := core.Nearest(c.Preset, names); near != "" {
			f.hint = p.lang.say("did_you_mean", near)
		}
		return f
	}
	preset, err := presets.Load(c.Preset)
	if err != nil {
		return err
	}
	catalog, err := app.Catalog()
	if err != nil {
		return err
	}
	schema, err := config.Schema(catalog)
	if err != nil {
		return err
	}
	variable := strings.ToUpper(strings.ReplaceAll(c.Preset, "-", "_")) + "_WEBHOOK_SECRET"
	text, env := p.starter(preset, variable)
	dir := filepath.Dir(p.flags.Config)
	files := []starterFile{
		{p.flags.Config, []byte(text), 0o644},
		{filepath.Join(dir, ".env"), []byte(env), 0o600},
		{filepath.Join(dir, schemaName), schema, 0o644},
	}
	return c.write(p, files)
}

const schemaName = "relais.schema.json"

type starterFile struct {
	path string
	text []byte
	mode fs.FileMode
}

// write writes all files, or none where one exists: half a starter over half an older one works nowhere.
func (c *initCommand) write(p *program, files []starterFile) error {
	if !c.Force {
		for _, f := range files {
			if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
				return &failure{exitFailed, p.lang.say("file_exists", f.path), p.lang.say("hint_force")}
			}
		}
	}
	for _, f := range files {
		if err := writeFile(f); err != nil {
			return err
		}
		p.say("wrote", f.path)
	}
	p.say("init_next", files[1].path)
	return nil
}

// writeFile replaces the file in one step: a secret is never in a file with an older, wider mode.
func writeFile(f starterFile) error {
	made, err := os.CreateTemp(filepath.Dir(f.path), ".relais-")
	if err != nil {
		return err
	}
	_, err = made.Write(f.text)
	err = errors.Join(err, made.Chmod(f.mode), made.Close())
	if err == nil {
		err = os.Rename(made.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(made.Name()))
	}
	return nil
}

// starter returns the configuration and the .env of a preset.
func (p *program) starter(preset *source.Preset, variable string) (text, env string) {
	lines := []string{p.lang.say("env_head"), ""}
	switch preset.Name {
	case "stripe", "shopify":
		// These make the key themselves, and show it once.
		lines = append(lines, p.lang.say("env_provider"))
	default:
		lines = append(lines, p.lang.say("env_secret"))
	}
	lines = append(lines, variable+"="+newSecret(preset.Name))
	body := p.lang.of(starterPlain)
	if preset.Name == "sellsy" {
		body = p.lang.of(starterSellsy)
		lines = append(lines, "", p.lang.say("env_sellsy"), "SELLSY_CLIENT_ID=", "SELLSY_CLIENT_SECRET=")
	}
	path := preset.Path
	if path == "" {
		path = "/webhook/" + preset.Name
	}
	event := "*"
	if len(preset.Events) > 0 {
		event = preset.Events[0].Type
	}
	body = strings.NewReplacer("@schema@", schemaName, "@preset@", preset.Name, "@path@", path, "@variable@", variable,
		"@event@", event, "@docs@", preset.Docs).Replace(body)
	return body, strings.Join(lines, "\n") + "\n"
}

// newSecret draws 256 bits, written as the preset reads keys.
func newSecret(preset string) string {
	key := make([]byte, 32)
	// crypto/rand.Read never fails: it ends the program where the system has no randomness.
	_, _ = rand.Read(key)
	if preset == "standard-webhooks" {
		return fmt.Sprintf("whsec_%s", base64.StdEncoding.EncodeToString(key))
	}
	return hex.EncodeToString(key)
}
