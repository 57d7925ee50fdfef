package config

import (
	"slices"
	"strings"

	"relais/internal/expr"
)

func connectionsKey() field[Config] {
	return field[Config]{
		name: "connections", group: true, doc: "Other systems that steps act on, by name.",
		shape: func(s *schemaMaker) map[string]any { return s.named(s.connection()) },
		read: func(r *reader, n *node, path string, c *Config) {
			r.named(n, path, func(name string, value *node, at string) {
				c.Connections = append(c.Connections, r.connection(name, value, at))
			})
		},
	}
}

func (r *reader) connection(name string, n *node, path string) Connection {
	c := Connection{Name: name, Settings: map[string]any{}}
	if !r.isMap(n, path) {
		return c
	}
	i := slices.IndexFunc(n.entries, func(e entry) bool { return e.key == "kind" })
	if i < 0 {
		r.fault(n.place, path, "kind is missing (allowed: %s)", strings.Join(names(r.catalog.Connections, ConnectionKind.name), ", "))
		return c
	}
	r.places[join(path, "kind")] = n.entries[i].value.place
	var ok bool
	if c.Kind, ok = r.plainText(n.entries[i].value, join(path, "kind")); !ok {
		return c
	}
	kind, known := find(r.catalog.Connections, c.Kind, ConnectionKind.name)
	if !known {
		r.unknown(n.entries[i].value.place, join(path, "kind"), "connection of the kind", c.Kind, names(r.catalog.Connections, ConnectionKind.name))
		c.Kind = ""
		return c
	}
	settings := &settingsReader{reader: r, params: kind.Params, variables: kind.Env, path: path, out: c.Settings}
	for _, e := range n.entries {
		if e.key != "kind" {
			settings.read(e)
		}
	}
	settings.complete(n)
	return c
}

// settingsReader reads a connection's settings by the parameters of its kind.
type settingsReader struct {
	*reader
	params []Param
	// variables are those that settings default to.
	variables map[string]string
	path      string
	given     []string
	out       map[string]any
}

func (s *settingsReader) read(e entry) {
	at := join(s.path, e.key)
	s.places[at] = valuePlace(e)
	i := slices.IndexFunc(s.params, func(p Param) bool {
		return p.Name == e.key || p.Secret && p.Name+"_file" == e.key
	})
	if i < 0 {
		allowed := []string{"kind"}
		for _, p := range s.params {
			allowed = append(allowed, p.Name)
			if p.Secret {
				allowed = append(allowed, p.Name+"_file")
			}
		}
		s.unknown(e.place, at, "setting", e.key, allowed)
		return
	}
	p := &s.params[i]
	if slices.Contains(s.given, p.Name) {
		s.fault(e.place, at, "%s and %s_file can't both stand here", p.Name, p.Name)
		return
	}
	s.given = append(s.given, p.Name)
	n := s.valueOf(e, at, p.Name != e.key)
	if n == nil {
		return
	}
	if p.Secret {
		if secret, ok := s.secret(n, at, "fill it in. "+p.Doc); ok {
			s.check(p, n, at, secret.Reveal(), func(any) any { return secret })
		}
		return
	}
	before := len(s.problems)
	value := s.plainValue(n, at)
	if len(s.problems) == before {
		s.check(p, n, at, value, func(checked any) any { return checked })
	}
	if name := s.leftEmpty(n.text); value == "" && name != "" && len(s.problems) == before {
		or := ", or leave the key out"
		if p.Required {
			or = ""
		}
		s.fault(n.place, at, "${%s} is empty: fill it in%s", name, or)
	}
}

func (s *settingsReader) check(p *Param, n *node, at string, value any, keep func(any) any) {
	checked, err := checkParam(p, value)
	if expr.HasExpressions(value) {
		checked, err = value, nil // of a connection, ${{ is a text as any other
	}
	if err == nil && p.Check != nil {
		err = p.Check(checked)
	}
	if err != nil {
		message := s.withoutVariable(n, err.Error())
		if secret, _ := value.(string); p.Secret && shares(message, secret) {
			message = "the value can't be used: " + p.Doc
		}
		s.fault(n.place, at, "%s", message)
		return
	}
	if text, ok := value.(string); ok && slices.Contains(placeholders, text) {
		s.placeholder(p, n, at)
	}
	s.out[p.Name] = keep(checked)
}

// placeholder warns of a setting that still holds what the starter wrote, and says what to fill in.
func (s *settingsReader) placeholder(p *Param, n *node, at string) {
	name := ""
	if found := variable.FindStringSubmatch(n.text); found != nil {
		name = found[1]
	}
	if name == "" {
		s.warn(n.place, at, "it still holds the starter's placeholder: %s", p.Doc)
		return
	}
	s.warn(n.place, at, "it still holds the starter's placeholder: write %[1]s=… into .env beside the file (a line that begins with # doesn't count), or set %[1]s in the environment", name)
}

// shares tells whether a message repeats a piece of a secret, however it was cut or quoted on the way.
func shares(message, secret string) bool {
	const piece = 4
	for i := 0; i+piece <= len(secret); i++ {
		if strings.Contains(message, secret[i:i+piece]) {
			return true
		}
	}
	return len(secret) < piece && strings.Contains(message, secret)
}

// complete takes what the file left out from the environment, and reports what is still missing.
func (s *settingsReader) complete(n *node) {
	for i := range s.params {
		p := &s.params[i]
		if slices.Contains(s.given, p.Name) {
			continue
		}
		if name := s.variables[p.Name]; name != "" {
			if value, set := s.env(name); set && value != "" {
				s.fromEnvironment(p, n, name, value)
				continue
			}
		}
		if p.Required {
			message := p.Name + " is missing: " + p.Doc
			if s.variables[p.Name] != "" {
				message += " (or write " + s.variables[p.Name] + " into .env beside the file, or set it in the environment)"
			}
			s.fault(n.place, s.path, "%s", message)
		}
	}
}

func (s *settingsReader) fromEnvironment(p *Param, n *node, name, value string) {
	checked, err := checkParam(p, value)
	if err == nil && p.Check != nil {
		err = p.Check(checked)
	}
	if err != nil {
		message := err.Error()
		if shares(message, value) {
			message = "the value can't be used: " + p.Doc
		}
		s.fault(n.place, s.path, "%s, from the environment's %s: %s", p.Name, name, message)
		return
	}
	if p.Secret {
		s.secrets = append(s.secrets, value)
		checked = NewSecret(value)
	}
	s.out[p.Name] = checked
}
