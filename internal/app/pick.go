package app

import (
	"errors"
	"strings"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/source"
	"relais/internal/step"
	"relais/internal/step/dolibarr"
)

// pair is a provider's source with the connection to the same provider.
type pair struct {
	entry      config.Source
	source     *source.Source
	connection any
	name       string // of the connection
}

// pick finds the source of that preset, and the connection of that kind: the named ones, or the only ones.
func pick(g *generation, kind, sourceName, connectionName string) (pair, error) {
	var out pair
	var sources, connections []string
	for _, i := range candidates(g.config.Sources, kind, sourceName) {
		out.entry, out.source = g.config.Sources[i], g.sources[i]
		sources = append(sources, out.entry.Name)
	}
	for _, c := range g.config.Connections {
		if c.Kind == kind && (connectionName == "" || c.Name == connectionName) {
			out.connection, out.name = g.connections[c.Name].Value, c.Name
			connections = append(connections, c.Name)
		}
	}
	if err := one("source", kind, sourceName, sources); err != nil {
		return out, err
	}
	return out, one("connection", kind, connectionName, connections)
}

// candidates are the sources among which to choose. Those for trying out are what the provider calls only where
// there is no other, or where they are named.
func candidates(sources []config.Source, kind, name string) []int {
	var real, trial []int
	for i, s := range sources {
		switch {
		case s.Name == name || name == "" && s.Preset == kind && !s.Test && s.Auth != "none":
			real = append(real, i)
		case name == "" && s.Preset == kind:
			trial = append(trial, i)
		}
	}
	if len(real) == 0 {
		return trial
	}
	return real
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

// explained says which setting holds the address at which nobody answered.
func (p pair) explained(err error) error {
	var unreachable *dolibarr.UnreachableError
	if errors.As(err, &unreachable) {
		return core.Errorf(core.CodeUnavailable, "%s (connections.%s.url): %s: is the address right, does Dolibarr run?", unreachable.Address, p.name, unreachable.Why)
	}
	return err
}

// poller is the connection as one that can be asked.
func (p pair) poller() (step.Poller, error) {
	asked, ok := p.connection.(step.Poller)
	if !ok {
		return nil, core.Errorf(core.CodeInvalid, "this connection can't be asked what happened")
	}
	return asked, nil
}
