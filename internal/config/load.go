package config

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
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
	dotenv := filepath.Join(dir, ".env")
	all, problems := withDotenv(env, dotenv)
	used := map[string]string{}
	c, more := read(path, dir, text, noting(used, env, all, dotenv), catalog)
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, problems
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		c.Variables = append(c.Variables, Variable{Name: name, From: used[name]})
	}
	return c, nil
}

// noting notes which variables were asked for and had a value, and where it came from.
func noting(used map[string]string, env, all lookup, dotenv string) lookup {
	return func(name string) (string, bool) {
		value, set := all(name)
		if set && value != "" {
			used[name] = dotenv
			if _, own := env(name); own {
				used[name] = ""
			}
		}
		return value, set
	}
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
	r.port(c, root)
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

// port lets WEBHOOK_PORT say where to listen. A file that says it too is right: it is what people look at.
func (r *reader) port(c *Config, root *node) {
	port, set := r.env("WEBHOOK_PORT")
	if !set || port == "" {
		return
	}
	listen, err := parseAddress(":" + port)
	if err != nil || port == "0" {
		r.fault(Place{File: "environment"}, "WEBHOOK_PORT", "it is not a port: allowed are 1 to 65535")
		return
	}
	if slices.ContainsFunc(root.entries, func(e entry) bool { return e.key == "listen" }) {
		if !strings.HasSuffix(c.Listen, listen) {
			r.warn(r.places["listen"], "listen", "WEBHOOK_PORT says another port: the file's is taken")
		}
		return
	}
	c.Listen = listen
}
