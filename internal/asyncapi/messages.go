package asyncapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/source"
)

// otherTypes is the message of types that nobody listed.
const otherTypes = "other"

type message struct {
	id   string
	body object
}

// messagesOf lists what a source may send: what its preset has a sample of, first, then the types that are known by
// name, then those that only a route names.
func (d *document) messagesOf(s *config.Source, preset *source.Preset) []message {
	var out []message
	seen := map[string]bool{}
	add := func(typ string, doc *source.EventDoc) {
		if !seen[typ] {
			seen[typ] = true
			out = append(out, message{typ, d.message(s, preset, typ, doc)})
		}
	}
	if s.Preset != "" {
		for i := range preset.Events {
			add(preset.Events[i].Type, &preset.Events[i])
		}
	}
	known := preset.KnownTypes()
	for _, typ := range slices.Sorted(slices.Values(known)) {
		add(typ, nil)
	}
	for _, typ := range d.namedTypes(s) {
		add(typ, nil)
	}
	if len(known) == 0 && !seen[otherTypes] {
		body := object{{"name", otherTypes}, {"summary", "Any other type: its list isn't closed."}, {"payload", object{}}}
		out = append(out, message{otherTypes, body})
	}
	return out
}

// namedTypes are the types that routes name in full for this source.
func (d *document) namedTypes(s *config.Source) []string {
	named := map[string]bool{}
	for i := range d.Config.Routes {
		for _, on := range d.Config.Routes[i].On {
			selector, err := core.ParseSelector(on)
			if err != nil || !selector.Source.Match(s.Name) {
				continue
			}
			if typ := selector.Type.String(); !strings.Contains(typ, "*") {
				named[typ] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(named))
}

func (d *document) message(s *config.Source, preset *source.Preset, typ string, doc *source.EventDoc) object {
	m := object{{"name", typ}}
	if doc == nil {
		m.add("payload", object{})
	} else {
		m.addText("summary", doc.Doc)
		m.addText("contentType", doc.ContentType)
		payload, schema := sample(doc)
		example := object{{"name", "sample"}}
		if len(doc.Header) > 0 {
			headers, properties := object{}, object{}
			for _, name := range slices.Sorted(maps.Keys(doc.Header)) {
				headers.add(name, fill(doc.Header[name]))
				properties.add(name, object{{"type", "string"}})
			}
			m.add("headers", object{{"type", "object"}, {"properties", properties}})
			example.add("headers", headers)
		}
		m.add("payload", schema)
		example.add("payload", payload)
		m.add("examples", []any{example})
	}
	if routes := d.routesFor(s, typ); len(routes) > 0 {
		m.add("x-relais-routes", routes)
	}
	if s.Preset != "" && preset.Docs != "" {
		m.add("externalDocs", object{{"url", preset.Docs}})
	}
	return m
}

// fill puts fixed values into a sample, so that the document is the same each time.
func fill(text string) string {
	return strings.NewReplacer("{id}", "1", "{unique}", "1", "{timestamp}", "1767225600").Replace(text)
}

// sample is the payload of a type's sample, with the schema that is known of it: little more than its kind.
func sample(doc *source.EventDoc) (payload any, schema object) {
	text := fill(doc.Sample)
	switch {
	case doc.Field != "":
		field := object{{"type", "string"}, {"contentMediaType", "application/json"}}
		return object{{doc.Field, text}}, object{{"type", "object"}, {"required", []any{doc.Field}}, {"properties", object{{doc.Field, field}}}}
	case strings.HasPrefix(doc.ContentType, "application/x-www-form-urlencoded"):
		values, err := url.ParseQuery(text)
		if err != nil {
			break
		}
		form := object{}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			form.add(name, values.Get(name))
		}
		return form, object{{"type", "object"}}
	}
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	decoder.UseNumber()
	var decoded any
	if decoder.Decode(&decoded) != nil {
		return text, object{{"type", "string"}}
	}
	switch decoded.(type) {
	case map[string]any:
		return decoded, object{{"type", "object"}}
	case []any:
		return decoded, object{{"type", "array"}}
	}
	return decoded, object{}
}
