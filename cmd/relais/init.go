package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
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
	if names := source.Embedded().Names(); !slices.Contains(names, c.Preset) {
		f := &failure{code: exitNotFound, text: p.lang.say("no_preset", c.Preset, strings.Join(names, ", "))}
		if near := core.Nearest(c.Preset, names); near != "" {
			f.hint = p.lang.say("did_you_mean", near)
		}
		return f
	}
	preset, err := source.Embedded().Load(c.Preset)
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
	begin := beginWith(preset)
	text, err := config.Starter(begin, p.lang.code())
	if err != nil {
		return err
	}
	begin = drawn(begin, &preset.Verify)
	env, err := config.StarterEnv(begin, p.lang.code())
	if err != nil {
		return err
	}
	dir := filepath.Dir(p.flags.Config)
	if c.Force {
		// Secrets are drawn once: what a .env holds already stays.
		older, err := os.ReadFile(filepath.Join(dir, ".env")) //nolint:gosec // the operator names the files
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		env = config.CompleteEnv(older, env)
	}
	files := []starterFile{
		{p.flags.Config, text, 0o644},
		{filepath.Join(dir, ".env"), env, 0o600},
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

// beginWith is the starter's source on a preset; its secret is still to be drawn.
func beginWith(preset *source.Preset) config.Begin {
	verify := &preset.Verify
	begin := config.Begin{
		Preset: preset.Name, Path: preset.Path, KeyKnown: verify.KeyKnown(), KeyFetched: verify.KeyFetched(),
		Plain:    verify.Scheme == "token" || verify.Scheme == "basic",
		KeyAsked: verify.Public() && !verify.KeyKnown(), Values: verify.Wanted(),
	}
	for i := range preset.Handshake {
		if h := &preset.Handshake[i]; h.Token.Secret != "" {
			begin.Token, begin.SecretGiven = h.Token.Secret, h.GivesSecret
		}
	}
	return begin
}

// drawn is the starter's source with fresh secrets.
func drawn(begin config.Begin, verify *source.Verify) config.Begin {
	begin.Secret = newSecret(verify)
	if begin.Token != "" {
		begin.TokenSecret = newSecret(new(source.Verify))
	}
	return begin
}

// newSecret draws 256 bits, written as the preset reads secrets.
func newSecret(verify *source.Verify) string {
	key := make([]byte, 32)
	// crypto/rand.Read never fails: it ends the program where the system has no randomness.
	_, _ = rand.Read(key)
	switch {
	case verify.Key == "base64":
		return verify.KeyPrefix + base64.StdEncoding.EncodeToString(key)
	case verify.Scheme == "basic":
		return "relais:" + hex.EncodeToString(key)
	default:
		return hex.EncodeToString(key)
	}
}
