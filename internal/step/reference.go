package step

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

var classPromises = map[Class]string{
	ClassExact:       "**exact**: it happens once, whatever crashes.",
	ClassKeyed:       "**keyed**: an `Idempotency-Key`, the same at each attempt, lets the receiver tell a repeat.",
	ClassAtLeastOnce: "**at least once**: after a crash or a lost answer it may happen again; `on_unknown: stop` asks you instead.",
	ClassReads:       "**reads**: it changes nothing, so that a repeat does no harm.",
}

// Reference writes docs/steps.md: every kind of connection and step with its parameters.
func Reference(r *Registry) []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Generated from the kinds themselves; do not edit. -->\n\n# Steps and connections\n\n")
	b.WriteString("A route's `steps:` run in order. Each has `use`, `with`, and where needed `id`, `connection`, `when`, `timeout` (60 s),\n" +
		"`on_error: fail|continue` and `on_unknown: retry|stop`. A step's result is `steps.<id>` in the expressions after it;\n" +
		"`steps.<id>.status` is always there: `done` unless the step says otherwise, `skipped`, or `failed` after `on_error: continue`.\n\n")
	b.WriteString("## Steps\n")
	for _, k := range r.Kinds() {
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\nClass %s\n", k.Name, k.Doc, classPromises[k.Class])
		if connections := k.Connections(); len(connections) > 0 {
			links := make([]string, len(connections))
			for i, c := range connections {
				links[i] = fmt.Sprintf("[`%s`](#%s)", c, c)
			}
			fmt.Fprintf(&b, "\nActs on a connection of kind %s.\n", strings.Join(links, " or "))
		}
		writeParams(&b, k.Params, nil)
		if len(k.Result) > 0 {
			fmt.Fprintf(&b, "\nIts result can have `%s`.\n", strings.Join(k.Members(), "`, `"))
		}
	}
	b.WriteString("\n## Connections\n")
	for _, c := range r.ConnectionKinds() {
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n", c.Name, c.Doc)
		writeParams(&b, c.Params, c.Env)
	}
	return b.Bytes()
}

func writeParams(b *bytes.Buffer, params []Param, env map[string]string) {
	if len(params) == 0 {
		return
	}
	b.WriteString("\n| parameter | type | |\n|---|---|---|\n")
	for _, p := range params {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", p.Name, p.Type, cell(&p, env[p.Name]))
	}
	if len(env) > 0 {
		b.WriteString("\nSettings left out are read from the environment: ")
		names := slices.Sorted(maps.Values(env))
		b.WriteString("`" + strings.Join(names, "`, `") + "`.\n")
	}
}

func cell(p *Param, env string) string {
	words := []string{p.Doc}
	if p.Required {
		words = append(words, "Required.")
	}
	if len(p.Enum) > 0 {
		words = append(words, "One of `"+strings.Join(p.Enum, "`, `")+"`.")
	}
	if p.Default != nil {
		words = append(words, fmt.Sprintf("Default `%v`.", p.Default))
	}
	if p.Literal {
		words = append(words, "No `${{ }}`.")
	}
	if p.Secret {
		words = append(words, fmt.Sprintf("Secret; `%s_file:` reads it from a file.", p.Name))
	}
	if env != "" {
		words = append(words, "Environment: `"+env+"`.")
	}
	return strings.ReplaceAll(strings.Join(words, " "), "|", `\|`)
}
