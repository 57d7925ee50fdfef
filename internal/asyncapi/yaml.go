package asyncapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// object is a YAML map in the order in which it is written.
type object []member

type member struct {
	key   string
	value any
}

func (o *object) add(key string, value any) { *o = append(*o, member{key, value}) }

// addText leaves out what is empty.
func (o *object) addText(key, text string) {
	if text != "" {
		o.add(key, text)
	}
}

func ref(to string) object { return object{{"$ref", to}} }

// plain is a text that no reader of YAML takes for anything but that text. All other texts are quoted, and so are
// words such as "on" and "null", and what looks like a number or a date.
var (
	plain    = regexp.MustCompile(`^\$?[A-Za-z/][A-Za-z0-9/._-]*( [A-Za-z0-9/._-]+)*$`)
	reserved = []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
)

func scalar(text string) string {
	if plain.MatchString(text) && !slices.Contains(reserved, strings.ToLower(text)) {
		return text
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		panic(err) //nolint:forbidigo // a string can always be written
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// writeYAML writes a tree of objects, lists, and scalars as JSON's decoder gives them.
func writeYAML(out *bytes.Buffer, value any, indent int) {
	switch v := value.(type) {
	case object:
		writeMembers(out, v, indent)
	case map[string]any:
		sorted := make(object, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			sorted.add(key, v[key])
		}
		writeMembers(out, sorted, indent)
	case []any:
		if len(v) == 0 {
			out.WriteString(" []\n")
			return
		}
		out.WriteByte('\n')
		for _, item := range v {
			out.WriteString(strings.Repeat(" ", indent) + "-")
			var inner bytes.Buffer
			writeYAML(&inner, item, indent+2)
			// The first member of a map stands on the line of its dash.
			out.WriteString(" " + strings.TrimLeft(inner.String(), " \n"))
		}
	case string:
		out.WriteString(" " + scalar(v) + "\n")
	case nil:
		out.WriteString(" null\n")
	default: // bool, json.Number
		fmt.Fprintf(out, " %v\n", v)
	}
}

func writeMembers(out *bytes.Buffer, members object, indent int) {
	if len(members) == 0 {
		out.WriteString(" {}\n")
		return
	}
	if indent > 0 {
		out.WriteByte('\n')
	}
	for _, m := range members {
		out.WriteString(strings.Repeat(" ", indent) + scalar(m.key) + ":")
		writeYAML(out, m.value, indent+2)
	}
}
