package config

import (
	"encoding/json"
	"strings"
	"time"
)

// Schema returns the JSON Schema (2020-12) of the file, for editors. It is made of the same tables that
// Load reads by. It can't know all that Load knows: expressions and what depends on the environment.
func Schema(catalog Catalog) ([]byte, error) {
	s := &schemaMaker{catalog: catalog}
	root := objectShape(s, topKeys())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "relais.yaml"
	root["description"] = "The configuration of relais."
	root["$defs"] = map[string]any{"step": s.step()}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}

type schemaMaker struct{ catalog Catalog }

func (s *schemaMaker) ref(name string) map[string]any {
	return map[string]any{"$ref": "#/$defs/" + name}
}

// objectShape is the schema of an object with these keys and no others.
func objectShape[T any](s *schemaMaker, fields []field[T]) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range fields {
		doc := f.doc
		if f.def != "" {
			doc += " Default: " + f.def + "."
		}
		properties[f.name] = described(f.shape(s), doc)
		if f.orFile {
			properties[f.name+"_file"] = described(map[string]any{"type": "string"}, "A file that holds "+f.name+".")
		}
		if f.required {
			required = append(required, f.name)
		}
	}
	shape := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		shape["required"] = required
	}
	return shape
}

// described adds a text to a shape without changing it: shapes are shared.
func described(shape map[string]any, doc string) map[string]any {
	out := map[string]any{"description": strings.TrimSpace(doc)}
	for key, value := range shape {
		out[key] = value
	}
	return out
}

// named is the schema of a map of named things.
func (s *schemaMaker) named(item map[string]any) map[string]any {
	return map[string]any{"type": []string{"object", "null"}, "additionalProperties": false,
		"patternProperties": map[string]any{nameGrammar.String(): item}}
}

func (s *schemaMaker) source() map[string]any { return objectShape(s, sourceKeys()) }

func (s *schemaMaker) route() map[string]any { return objectShape(s, routeKeys()) }

func (s *schemaMaker) presets() map[string]any {
	choices := make([]any, len(s.catalog.Presets))
	for i, p := range s.catalog.Presets {
		choices[i] = described(map[string]any{"const": p.Name}, p.Doc)
	}
	return map[string]any{"oneOf": choices}
}

func (s *schemaMaker) stepNames() map[string]any {
	choices := make([]any, len(s.catalog.Steps))
	for i, k := range s.catalog.Steps {
		choices[i] = described(map[string]any{"const": k.Name}, withClass(k))
	}
	return map[string]any{"oneOf": choices}
}

func withClass(k StepKind) string {
	if k.Class == "" {
		return k.Doc
	}
	return k.Doc + " (" + k.Class + ")"
}

// step is any step, and what its kind adds: which parameters with may hold.
func (s *schemaMaker) step() map[string]any {
	shape := objectShape(s, stepKeys())
	rules := make([]any, len(s.catalog.Steps))
	for i, k := range s.catalog.Steps {
		with := s.params(k.Params, true, nil, nil)
		then := map[string]any{"properties": map[string]any{"with": with}}
		if _, needs := with["required"]; needs {
			then["required"] = []string{"with"}
		}
		rules[i] = map[string]any{
			"if":   map[string]any{"properties": map[string]any{"use": map[string]any{"const": k.Name}}, "required": []string{"use"}},
			"then": then,
		}
	}
	if len(rules) > 0 {
		shape["allOf"] = rules
	}
	return shape
}

// connection is one of the kinds of connections, each with its own settings.
func (s *schemaMaker) connection() map[string]any {
	choices, rules := make([]any, len(s.catalog.Connections)), make([]any, len(s.catalog.Connections))
	for i, k := range s.catalog.Connections {
		choices[i] = described(map[string]any{"const": k.Name}, k.Doc)
		settings := s.params(k.Params, false, k.Env, map[string]any{"kind": map[string]any{"const": k.Name}})
		rules[i] = map[string]any{
			"if":   map[string]any{"properties": map[string]any{"kind": map[string]any{"const": k.Name}}, "required": []string{"kind"}},
			"then": settings,
		}
	}
	shape := map[string]any{"type": "object", "required": []string{"kind"}, "properties": map[string]any{
		"kind": described(map[string]any{"oneOf": choices}, "The kind of system."),
	}}
	if len(rules) > 0 {
		shape["allOf"] = rules
	}
	return shape
}

// params is the schema of an object of parameters. A setting that the environment can give is never
// required here, nor is a secret, which may stand in a file.
func (s *schemaMaker) params(params []Param, templates bool, env map[string]string, more map[string]any) map[string]any {
	properties, required := map[string]any{}, []string{}
	for name, shape := range more {
		properties[name] = shape
	}
	for _, p := range params {
		properties[p.Name] = paramShape(&p, templates, env[p.Name])
		if p.Secret {
			properties[p.Name+"_file"] = described(map[string]any{"type": "string"}, "A file that holds "+p.Name+".")
		}
		if p.Required && !p.Secret && env[p.Name] == "" {
			required = append(required, p.Name)
		}
	}
	shape := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		shape["required"] = required
	}
	return shape
}

func paramShape(p *Param, templates bool, env string) map[string]any {
	doc := p.Doc
	if env != "" {
		doc += " Left out, it is the environment's " + env + "."
	}
	shape := map[string]any{}
	switch def := p.Default.(type) {
	case nil:
	case time.Duration:
		shape["default"] = showDuration(def)
	default:
		shape["default"] = def
	}
	dynamic := map[string]any{"type": "string", "pattern": `\$\{`}
	switch p.Type {
	case TypeString:
		shape["type"] = []string{"string", "number", "boolean"}
		if len(p.Enum) > 0 {
			delete(shape, "type")
			shape["anyOf"] = []any{map[string]any{"enum": p.Enum}, dynamic}
		}
	case TypeInt:
		shape["anyOf"] = []any{map[string]any{"type": "integer"}, dynamic}
	case TypeBool:
		shape["anyOf"] = []any{map[string]any{"type": "boolean"}, dynamic}
	case TypeDuration:
		shape["type"] = "string"
	case TypeList:
		shape["type"] = []string{"array", "string", "number"}
	case TypeMap:
		shape["type"] = "object"
		if templates {
			shape["type"] = []string{"object", "string"}
		}
	}
	return described(shape, doc)
}
