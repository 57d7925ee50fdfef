package config

import (
	"fmt"
	"strings"
)

// nearest returns the place of a path, or of its nearest parent.
func nearest(places map[string]Place, path string) Place {
	for {
		if place, ok := places[path]; ok || path == "" {
			return place
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

// Places finds keys in another file that is written as the configuration is: at returns the place of a path, or of
// its nearest parent, and the file alone where the text is no such file.
func Places(file string, text []byte) (at func(path string) Place) {
	places := map[string]Place{"": {File: file}}
	if root, _ := parseTree(file, text); root != nil {
		root.note(places, "")
	}
	return func(path string) Place { return nearest(places, path) }
}

func (n *node) note(places map[string]Place, path string) {
	for _, e := range n.entries {
		at := join(path, e.key)
		places[at] = valuePlace(e)
		e.value.note(places, at)
	}
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		places[at] = item.place
		item.note(places, at)
	}
}
