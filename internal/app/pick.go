package app

import (
	"strings"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/source"
	"relais/internal/step"
)

// pair is a provider's source with the connection to the same provider.
type pair struct {
	entry      config.Source
	source     *source.Source
	connection any
}

// pick finds the source of that preset, and the connection of that kind: the named ones, or the only ones.
func pick(g *generation, kind, sourceName, connectionName string) (pair, error) {
	var out pair
	var sources, connections []string
	for i, s := range g.config.Sources {
		if s.Name == sourceName || sourceName == "" && s.Preset == kind {
			out.entry, out.source = s, g.sources[i]
			sources = append(sources, s.Name)
		}
	}
	for _, c := range g.config.Connections {
		if c.Kind == kind && (connectionName == "" || c.Name == connectionName) {
			out.connection = g.connections[c.Name].Value
			connections = append(connections, c.Name)
		}
	}
	if err := one("source", kind, sourceName, sources); err != nil {
		return out, err
	}
	return out, one("connection", kind, connectionName, connections)
}

func one(what, kind, given string, found []string) error {
	switch {
	case len(found) == 1:
		return nil
	case len(found) > 1:
		return core.Errorf(core.CodeInvalid, "there are several: say which with --%s: %s", what, strings.Join(found, ", "))
	case given != "":
		return core.Errorf(core.CodeNotFound, "the configuration has no %s %q of the kind %s", what, given, kind)
	}
	return core.Errorf(core.CodeNotFound, "the configuration has no %s of the kind %s", what, kind)
}

// poller is the connection as one that can be asked.
func (p pair) poller() (step.Poller, error) {
	asked, ok := p.connection.(step.Poller)
	if !ok {
		return nil, core.Errorf(core.CodeInvalid, "this connection can't be asked what happened")
	}
	return asked, nil
}
