// Package asyncapi describes what a relais takes in, as an AsyncAPI 3.0 document, made of its configuration: a channel
// for each path that a source answers at, a message for each event type that its provider is known to send or that a
// route waits for, and how its requests are verified.
//
// The same configuration gives the same bytes. The document is for whoever sends, and goes outside: it holds no
// secret, no address that relais listens on, and nothing of connections.
package asyncapi

import (
	"bytes"
	"net/url"
	"regexp"
	"strings"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/source"
)

// Options are what a document is made of.
type Options struct {
	Config  *config.Config
	Presets source.Presets
	Version string
	// Hide takes secrets out of what the configuration says, should one stand in a path.
	Hide *strings.Replacer
}

// Document writes the document.
func Document(o Options) ([]byte, error) {
	d := &document{Options: o}
	for i := range o.Config.Sources {
		if err := d.source(&o.Config.Sources[i]); err != nil {
			return nil, err
		}
	}
	info := object{{"title", "relais"}, {"version", o.Version}, {"description", "The webhooks that this relais takes in. An answer of 2xx means that the event is stored for good; anything else, that the sender should send it again."}}
	root := object{{"asyncapi", "3.0.0"}, {"info", info}, {"defaultContentType", "application/json"}}
	if server := d.server(); server != nil {
		root.add("servers", object{{"public", server}})
	}
	root.add("channels", d.channels)
	root.add("operations", d.operations)
	components := object{{"messages", d.messages}}
	if len(d.security) > 0 {
		components.add("securitySchemes", d.security)
	}
	root.add("components", components)
	var out bytes.Buffer
	writeYAML(&out, root, 0)
	return out.Bytes(), nil
}

type document struct {
	Options
	channels, operations, messages, security object
}

// server is the public URL; without one, nobody can tell where the world reaches relais.
func (d *document) server() object {
	u, err := url.Parse(d.Config.PublicURL)
	if err != nil || u.Host == "" {
		return nil
	}
	server := object{{"host", u.Host}, {"protocol", u.Scheme}}
	if path := strings.TrimSuffix(u.Path, "/"); path != "" {
		server.add("pathname", path)
	}
	return server
}

// source adds a source's channels, the operations on them, its messages and its security scheme.
func (d *document) source(s *config.Source) error {
	name := s.Preset
	if name == "" {
		name = source.PlainPreset
	}
	preset, err := d.Presets.Load(name)
	if err != nil {
		return err
	}
	verify, err := source.Resolved(*s, preset)
	if err != nil {
		return err
	}
	var messages object
	for _, m := range d.messagesOf(s, preset) {
		id := s.Name + "." + m.id
		d.messages.add(id, m.body)
		messages.add(m.id, ref("#/components/messages/"+id))
	}
	secured := verify.Scheme != "" && verify.Scheme != "none"
	if secured {
		d.security.add(s.Name, securityScheme(&verify, d.Hide))
	}
	paths := []string{"/in/" + s.Name}
	if own := s.Path; own != "" {
		paths = []string{d.Hide.Replace(own), paths[0]}
	}
	for i, path := range paths {
		id := s.Name
		if i > 0 {
			id += ".in"
		}
		d.channel(id, path, s, preset, messages)
		for _, method := range methods(preset) {
			d.operation(id, method, s, secured)
		}
	}
	return nil
}

var pathParameter = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_]*)\}`)

func (d *document) channel(id, path string, s *config.Source, preset *source.Preset, messages object) {
	c := object{{"address", path}, {"title", s.Name}}
	description := "What " + preset.Title + " sends."
	if s.Preset == "" {
		description = "What " + s.Name + " sends."
	}
	if s.Test {
		description += " Its events are tests."
	}
	c.add("description", description)
	var parameters object
	for _, found := range pathParameter.FindAllStringSubmatch(path, -1) {
		parameters.add(found[1], object{{"description", "event.path." + found[1]}})
	}
	if len(parameters) > 0 {
		c.add("parameters", parameters)
	}
	c.add("messages", messages)
	if s.Preset != "" && preset.Docs != "" {
		c.add("externalDocs", object{{"url", preset.Docs}})
	}
	d.channels.add(id, c)
}

// operation takes all of its channel's messages, which is what leaving them out says.
func (d *document) operation(channel, method string, s *config.Source, secured bool) {
	at := "#/channels/" + channel
	o := object{{"action", "receive"}, {"channel", ref(at)}}
	if secured {
		o.add("security", []any{ref("#/components/securitySchemes/" + s.Name)})
	}
	o.add("bindings", object{{"http", object{{"method", method}, {"bindingVersion", "0.3.0"}}}})
	d.operations.add("receive."+channel+"."+strings.ToLower(method), o)
}

// methods are those that carry messages, as far as a binding can name them.
func methods(p *source.Preset) []string {
	if len(p.Methods) == 0 {
		return []string{"POST"}
	}
	return p.Methods
}

// routesFor lists the routes that wait for a type of a source, by name, in the order of the file.
func (d *document) routesFor(s *config.Source, typ string) []any {
	var out []any
	for i := range d.Config.Routes {
		r := &d.Config.Routes[i]
		for _, on := range r.On {
			selector, err := core.ParseSelector(on)
			if err == nil && r.Test == s.Test && selector.Source.Match(s.Name) && selector.Type.Match(typ) {
				out = append(out, r.Name)
				break
			}
		}
	}
	return out
}
