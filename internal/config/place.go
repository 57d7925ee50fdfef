package config

import "strings"

// nearest returns the place of a path, or of its nearest parent.
func nearest(places map[string]Place, path string) Place {
	for {
		if place, ok := places[path]; ok || path == "" {
			return place
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}
