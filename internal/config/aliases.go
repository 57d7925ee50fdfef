package config

import (
	"slices"
	"strings"

	"relais/internal/core"
)

// resolve replaces a type that its sources know under another name by that one, and says so. Routes then
// hold the names that are sent, on every node and in every list.
func (r *reader) resolve(c *Config, route *Route, i int, selector core.Selector, at string) bool {
	typ, resolved := selector.Type.String(), false
	for _, s := range c.Sources {
		preset, _ := find(r.catalog.Presets, s.Preset, Preset.name)
		sent, ok := aliasOf(preset.Aliases, typ)
		if !ok || !selector.Source.Match(s.Name) || slices.Contains(preset.Types, typ) {
			continue
		}
		on := s.Name + "/" + sent
		if selector.Source.String() == s.Name {
			route.On[i] = on
		} else if !slices.Contains(route.On, on) {
			route.On = append(route.On, on) // other sources may send the name itself
		}
		r.warn(nearest(r.places, at), at, "%s sends %q as %q: the route takes that", preset.Name, typ, sent)
		resolved = true
	}
	return resolved
}

// aliasOf looks for the type among the aliases: the name itself, else the longest beginning before a star.
func aliasOf(aliases map[string]string, typ string) (string, bool) {
	if to, ok := aliases[typ]; ok {
		return to, true
	}
	longest, out := -1, ""
	for from, to := range aliases {
		begin, starred := strings.CutSuffix(from, "*")
		rest, fits := strings.CutPrefix(typ, begin)
		if starred && fits && len(begin) > longest {
			longest, out = len(begin), strings.TrimSuffix(to, "*")+rest
		}
	}
	return out, longest >= 0
}
