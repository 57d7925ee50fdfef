package config

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads the file, the .env beside it, and the environment. The error is Problems: all that is wrong,
// in the order of the file. Without a path it is the configuration of an empty file.
func Load(path string, env func(string) (string, bool), catalog Catalog) (*Config, error) {
	dir := "."
	var text []byte
	if path != "" {
		dir = filepath.Dir(path)
		var err error
		if text, err = readBounded(path, maxFile); err != nil {
			message := plainFileError(err)
			if errors.Is(err, fs.ErrNotExist) {
				message = "there is no such file: relais init writes one"
			}
			return nil, Problems{{Place: Place{File: path}, Message: message}}
		}
	}
	all, problems := withDotenv(env, filepath.Join(dir, ".env"))
	c, more := read(path, dir, text, all, catalog)
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

func read(path, dir string, text []byte, env lookup, catalog Catalog) (*Config, Problems) {
	root, problems := parseTree(path, text)
	if root == nil {
		return nil, problems
	}
	r := &reader{file: path, dir: dir, text: string(text), env: env, catalog: catalog,
		problems: problems, places: map[string]Place{"": root.place}}
	c := &Config{File: path, places: r.places}
	readObject(r, root, "", topKeys(), c)
	r.checkSelectors(c)
	r.checkSteps(c, root)
	r.logLevel(c)
	if c.Dev && PublicAddress(c.Listen) {
		r.fault(r.places["dev"], "dev", "dev: true is refused with the public listen address %s: write listen: 127.0.0.1:3000", c.Listen)
	}
	slices.SortStableFunc(r.warnings, byPlace)
	c.Warnings = r.warnings
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, byPlace)
		return nil, slices.CompactFunc(r.problems, func(a, b Problem) bool { return a == b })
	}
	c.Hash = hashRoutes(c.Routes)
	c.Redacted = redacted(root, r.secrets)
	for _, secret := range slices.Concat(r.secrets, r.sent) {
		c.Secrets = append(c.Secrets, NewSecret(secret))
	}
	return c, nil
}

func byPlace(a, b Problem) int {
	return cmp.Or(cmp.Compare(a.Place.Line, b.Place.Line), cmp.Compare(a.Place.Column, b.Place.Column))
}

// logLevel lets the environment's LOG_LEVEL go before the file: it is set for one run.
func (r *reader) logLevel(c *Config) {
	level, set := r.env("LOG_LEVEL")
	if !set || level == "" {
		return
	}
	level = strings.ToLower(level)
	if level == "warning" {
		level = "warn"
	}
	if !slices.Contains(logLevels, level) {
		r.fault(Place{File: "environment"}, "LOG_LEVEL", "%q is not allowed: allowed are %s", level, strings.Join(logLevels, ", "))
		return
	}
	c.Log.Level = level
}
