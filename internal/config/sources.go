package config

import (
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"relais/internal/core"
	"relais/internal/expr"
)

var nameGrammar = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// named visits the entries of a map of named things, in the order of the file, and refuses names that
// could not stand in a path, a metric or an event's type.
func (r *reader) named(n *node, path string, visit func(name string, value *node, at string)) {
	if !r.isMap(n, path) {
		return
	}
	for _, e := range n.entries {
		at := join(path, e.key)
		r.places[at] = valuePlace(e)
		if !nameGrammar.MatchString(e.key) {
			r.fault(e.place, at, "%q is not a name: allowed are letters, digits, _ and -, at most 64, beginning with a letter or a digit", e.key)
			continue
		}
		visit(e.key, e.value, at)
	}
}

func sourcesKey() field[Config] {
	return field[Config]{
		name: "sources", group: true, doc: "What sends, by name. A source answers at /in/NAME and at its path.",
		shape: func(s *schemaMaker) map[string]any { return s.named(s.source()) },
		read: func(r *reader, n *node, path string, c *Config) {
			r.named(n, path, func(name string, value *node, at string) {
				s := Source{Name: name}
				if name == core.AppSource {
					r.fault(r.places[at], at, "the name %s is kept for the events that relais makes itself (event/emit): give the source another one", name)
				}
				before := len(r.problems)
				readObject(r, value, at, sourceKeys(), &s)
				r.checkSource(&s, at, len(r.problems) == before)
				c.Sources = append(c.Sources, s)
			})
			r.checkPaths(c.Sources, path)
		},
	}
}

func sourceKeys() []field[Source] {
	return []field[Source]{
		{
			name: "preset", doc: "The provider: how it signs, names its events and wants to be answered.",
			shape: func(s *schemaMaker) map[string]any { return s.presets() },
			read: func(r *reader, n *node, path string, s *Source) {
				name, ok := r.plainText(n, path)
				if !ok {
					return
				}
				s.Preset = name
				if _, known := find(r.catalog.Presets, name, Preset.name); !known {
					r.unknown(n.place, path, "preset", name, names(r.catalog.Presets, Preset.name))
				}
			},
		},
		one("path", "The path that the provider calls, besides /in/NAME. Parts in braces are named: /n8n/{flow}.",
			kind[string]{ParsePath, func(s string) string { return s }, map[string]any{"type": "string", "pattern": "^/"}},
			func(s *Source) *string { return &s.Path }),
		{
			name: "secret", doc: "The secret that the provider signs with.", orFile: true,
			shape: func(*schemaMaker) map[string]any { return map[string]any{"type": []string{"string", "number"}} },
			read:  readSourceSecret,
		},
		{
			name: "secrets", doc: "Several secrets, while one replaces another: any of them may have signed. With names where a field of the request chooses one, as TEST and PRODUCTION, where each is another sender's, or where the preset says what one is for; NAME_file names a file.",
			shape: func(*schemaMaker) map[string]any {
				one := map[string]any{"type": []string{"string", "number"}}
				list := map[string]any{"type": "array", "items": one}
				return map[string]any{"anyOf": []any{list, one, map[string]any{
					"type": "object", "additionalProperties": map[string]any{"anyOf": []any{list, one}},
				}}}
			},
			read: readSourceSecrets,
		},
		one("fields", "The names under which the provider sends what it names by letters, as they were given to it: Mt:M;Ref:R;Auto:A;Erreur:E;K:K.",
			aText, func(s *Source) *string { return &s.Fields }),
		many("allow_ips", "Addresses that may call; others are refused. Those that are named may send as much as the source's rate lets them, whatever ingest.address_rate says.",
			aPrefix, func(s *Source) *[]netip.Prefix { return &s.AllowIPs }),
		{
			name: "verify", doc: "How requests are verified, in the grammar of docs/verify.md; it goes before the preset's.",
			shape: func(*schemaMaker) map[string]any { return map[string]any{"type": "object"} },
			read: func(r *reader, n *node, path string, s *Source) {
				if r.isMap(n, path) {
					s.Verify, _ = r.plainValue(n, path).(map[string]any)
				}
			},
		},
		one("auth", "none takes anything from anyone. It must be said.",
			oneOf("none"), func(s *Source) *string { return &s.Auth }),
		one("answer", "always-200 answers refusals with 200, for providers that ban after errors. A failure to store is 503 all the same.",
			oneOf("always-200"), func(s *Source) *string { return &s.Answer }),
		one("max_body", "Largest body; the file's ingest.max_body when left out.",
			atLeast(aSize, 1), func(s *Source) *int64 { return &s.MaxBodyBytes }),
		{
			name: "rate", doc: "Verified requests; more are answered 429.",
			shape: func(*schemaMaker) map[string]any { return aRate.shape },
			read: func(r *reader, n *node, path string, s *Source) {
				if v, ok := readScalar(r, n, path, aRate); ok {
					s.Rate, s.Burst = v.perSecond, max(1, int(v.count))
				}
			},
		},
		many("redact", "Paths of the body that are removed before it is stored: customer.email, lines.**.iban. Where the preset splits a request into several events, a path begins at each event's own part of it.",
			aText, func(s *Source) *[]string { return &s.Redact }),
		{
			name: "dedup", doc: "What makes a message unique: an expression over data, header and query, or body, or off.",
			shape: func(*schemaMaker) map[string]any { return map[string]any{"type": "string"} },
			read:  readDedup,
		},
		one("dedup_window", "How long a message is remembered.",
			atLeast(aDuration, time.Second), func(s *Source) *time.Duration { return &s.DedupWindow }),
		one("silent_after", "How long it may be without an event before somebody should look, for an alert; left out, Prometheus compares it with its own past.",
			atLeast(aDuration, time.Second), func(s *Source) *time.Duration { return &s.SilentAfter }),
		section("retention", "How long what it sent is kept, where that isn't as long as the rest.", sourceRetentionKeys(),
			func(s *Source) *SourceRetention { return &s.Retention }),
		one("reconcile", "How often the provider is asked for what its webhooks lost (dolibarr, sellsy): 15m. It needs the connection to it.",
			atLeast(aDuration, time.Minute), func(s *Source) *time.Duration { return &s.Reconcile }),
		one("test", "Marks its events as tests; from this machine only, unless allow_ips or test_key says otherwise. Its path is the preset's own for tests, where it has one: /webhook/test of dolibarr, /api/paybox/callback-test of paybox.",
			aBool, func(s *Source) *bool { return &s.Test }),
		{
			name: "test_key", doc: "For test: true: requests from anywhere else are taken when they carry it, as Authorization: Bearer KEY; at least 16 characters.", orFile: true,
			shape: func(*schemaMaker) map[string]any {
				return map[string]any{"type": "string", "minLength": shortestTestKey}
			},
			read: readTestKey,
		},
	}
}

// shortestTestKey keeps a key from being guessed at the rate that one address has.
const shortestTestKey = 16

func readTestKey(r *reader, n *node, path string, s *Source) {
	key, ok := r.secret(n, path, "fill in a text of your own, or remove the key")
	if ok && len(key.Reveal()) < shortestTestKey {
		r.fault(n.place, path, "it has less than %d characters: it could be guessed", shortestTestKey)
		return
	}
	if ok {
		s.TestKey = &key
	}
}

const fillSecret = "fill in what the provider signs with, its secret or its public key"

func readSourceSecret(r *reader, n *node, path string, s *Source) {
	if secret, ok := r.secret(n, path, fillSecret); ok {
		s.Secrets = append(s.Secrets, secret)
	}
}

func readSourceSecrets(r *reader, n *node, path string, s *Source) {
	if n.kind != mapNode {
		r.each(n, path, func(item *node, at string) { readSourceSecret(r, item, at, s) })
		return
	}
	for _, e := range n.entries {
		at := join(path, e.key)
		r.places[at] = valuePlace(e)
		name, fromFile := strings.CutSuffix(e.key, "_file")
		if !nameGrammar.MatchString(name) {
			r.fault(e.place, at, "%q is not a name: allowed are letters, digits, _ and -, at most 64, beginning with a letter or a digit", name)
			continue
		}
		value := r.valueOf(e, at, fromFile)
		if value == nil {
			continue
		}
		r.each(value, at, func(item *node, at string) {
			if secret, ok := r.secret(item, at, fillSecret); ok {
				if s.NamedSecrets == nil {
					s.NamedSecrets = map[string][]Secret{}
				}
				s.NamedSecrets[name] = append(s.NamedSecrets[name], secret)
			}
		})
	}
}

func readDedup(r *reader, n *node, path string, s *Source) {
	src, ok := r.expression(n, path)
	if !ok {
		return
	}
	s.Dedup = src
	if src == "off" || src == "body" {
		return
	}
	if _, err := expr.CompileValue(src, "data", "header", "query"); err != nil {
		r.compileFaults(n, path, err)
	}
}

// checkSource refuses a source that nothing would verify without its file saying so.
func (r *reader) checkSource(s *Source, path string, sound bool) {
	preset, _ := find(r.catalog.Presets, s.Preset, Preset.name)
	if len(s.Secrets)+len(s.NamedSecrets) == 0 && s.Auth == "" && preset.SecretEnv != "" {
		if value, set := r.env(preset.SecretEnv); set && value != "" {
			s.Secrets = []Secret{NewSecret(value)}
			r.secrets = append(r.secrets, value)
		}
	}
	if s.Path == "" && s.Test {
		s.Path = preset.TestPath
	}
	if s.Path == "" {
		s.Path = preset.Path
	}
	if !sound {
		return
	}
	if s.TestKey != nil && !s.Test {
		r.fault(nearest(r.places, path), path, "test_key is for a source with test: true: it would verify nothing here")
		return
	}
	place, verified := nearest(r.places, path), len(s.Secrets)+len(s.NamedSecrets) > 0 || s.Verify != nil
	switch {
	case s.Auth == "none" && len(s.Secrets)+len(s.NamedSecrets) > 0:
		r.fault(place, path, "auth: none and a secret can't both stand here")
		return
	case s.Auth == "none" || verified:
	case s.Preset == "":
		r.fault(place, path, "nothing says how requests are verified: give a preset with its secret, or say auth: none to take anything from anyone")
		return
	case preset.NeedsSecret:
		from := ""
		if preset.SecretEnv != "" {
			from = ", or write " + preset.SecretEnv + " into .env beside the file"
		}
		r.fault(place, path, "secret is missing: %s signs its requests; give the secret%s, or say auth: none to take anything from anyone", s.Preset, from)
		return
	}
	if r.catalog.CheckSource != nil {
		r.foreignFaults(path, r.catalog.CheckSource(*s))
	}
}

// foreignFaults places the faults that another package found by the key that they name.
func (r *reader) foreignFaults(path string, err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			r.foreignFaults(path, one)
		}
		return
	}
	var fault *core.Error
	at := path
	if errors.As(err, &fault) && fault.Field != "" {
		at += "." + fault.Field
	}
	r.fault(nearest(r.places, at), at, "%s", err)
}

var namedPart = regexp.MustCompile(`\{[A-Za-z_][A-Za-z0-9_]*\}`)

// ParsePath checks the path at which a source answers.
func ParsePath(s string) (string, error) {
	rest := namedPart.ReplaceAllString(s, "x")
	switch {
	case !strings.HasPrefix(s, "/") || s == "/":
		return "", errors.New("a path begins with / and names something: /webhook/sellsy")
	case strings.ContainsAny(rest, "{}?#%\\ \t\n\"<>") || strings.Contains(s, "//") || slices.Contains(strings.Split(s, "/"), "..") || slices.Contains(strings.Split(s, "/"), "."):
		return "", errors.New("allowed in a path are letters, digits, - _ . ~, named parts such as {flow}, and no // or .. in it")
	case s == "/health" || s == "/in" || strings.HasPrefix(s, "/in/"):
		return "", errors.New("/health and /in/ are relais' own: choose another path")
	case len(s) > 256:
		return "", errors.New("the path is longer than 256 bytes")
	}
	for _, segment := range strings.Split(s, "/") {
		if strings.Contains(segment, "{") && !(strings.HasPrefix(segment, "{") && strings.Index(segment, "}") == len(segment)-1) {
			return "", errors.New("a named part is a whole part of the path: /n8n/{flow}")
		}
	}
	return s, nil
}

// checkPaths refuses two sources that would answer at one path.
func (r *reader) checkPaths(sources []Source, path string) {
	first := map[string]string{}
	for _, s := range sources {
		if s.Path == "" {
			continue
		}
		shape := namedPart.ReplaceAllString(s.Path, "{}")
		if other, taken := first[shape]; taken {
			at := join(join(path, s.Name), "path")
			r.fault(nearest(r.places, at), at, "%s is the path of the source %s already: give this one its own", s.Path, other)
			continue
		}
		first[shape] = s.Name
	}
}
