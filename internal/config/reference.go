package config

import (
	"bytes"
	"fmt"
	"strings"
)

// Reference writes docs/configuration.md, from the same tables that Load reads by.
func Reference(catalog Catalog) []byte {
	var b bytes.Buffer
	s := &schemaMaker{catalog: catalog}
	b.WriteString("<!-- Generated from the tables that the file is read by; do not edit. -->\n\n# relais.yaml\n\n" +
		"`relais init` writes a commented starter, `relais check` tells everything that is wrong with a file, and editors\n" +
		"read [relais.schema.json](relais.schema.json). A key that isn't listed here is refused.\n\n" +
		"`${VAR}` and `${VAR:-default}` take a value from the environment or from `.env` beside the file, and `${VAR:-}` may be empty; `$${` is the text `${`.\n" +
		"`${{ }}` holds an [expression](expressions.md). Durations are written `10s`, `5m`, `72h`, `30d`; sizes `64MiB`, `1MB`;\n" +
		"rates `10/s`, `100/m`. Where a key is a secret, the key with `_file` behind it names a file that holds it.\n")
	writeVariables(&b, catalog)
	writeKeys(&b, s, "The file", "", topKeys())
	writeKeys(&b, s, "`ingest`", "Bounds of what comes in.", ingestKeys())
	writeKeys(&b, s, "`ingest.rejections`", "Bounds of what refused requests may take.", rejectionKeys())
	writeKeys(&b, s, "`retention`", "How long what is kept.", retentionKeys())
	writeKeys(&b, s, "`lanes`", "Bounds of what runs at once on this node.", laneKeys())
	writeKeys(&b, s, "`log`", "How relais logs.", logKeys())
	writeKeys(&b, s, "`sources.<name>`", "A source is something that sends. It is called at `/in/<name>`, and at its path.", sourceKeys())
	writePresets(&b, catalog)
	b.WriteString("\n## `connections.<name>`\n\nA connection is another system that steps act on: `kind`, and the kind's own [settings](steps.md#connections).\n")
	writeKeys(&b, s, "`routes.<name>`", "A route is a rule: for these events, when this holds, do these steps.", routeKeys())
	writeKeys(&b, s, "`routes.<name>.steps[]`", "A step is one action. The kinds and what they take: [steps](steps.md).", stepKeys())
	return b.Bytes()
}

func writeKeys[T any](b *bytes.Buffer, s *schemaMaker, title, doc string, fields []field[T]) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if doc != "" {
		fmt.Fprintf(b, "%s\n\n", doc)
	}
	b.WriteString("| key | |\n|---|---|\n")
	for _, f := range fields {
		text := strings.TrimSpace(f.doc)
		if choices := enumOf(f.shape(s)); choices != "" {
			text += " One of " + choices + "."
		}
		if f.def != "" {
			text += " Default: `" + f.def + "`."
		}
		if f.orFile {
			text += " A secret: `" + f.name + "_file` too."
		}
		if f.required {
			text += " Required."
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", f.name, strings.ReplaceAll(text, "|", "\\|"))
	}
}

// enumOf lists the choices of a shape that has few.
func enumOf(shape map[string]any) string {
	choices, ok := shape["enum"].([]string)
	if !ok {
		return ""
	}
	return "`" + strings.Join(choices, "`, `") + "`"
}

func writePresets(b *bytes.Buffer, catalog Catalog) {
	b.WriteString("\n### Presets\n\n| preset | | path | secret |\n|---|---|---|---|\n")
	for _, p := range catalog.Presets {
		secret := "none"
		if p.NeedsSecret {
			secret = "needed"
		}
		if p.SecretEnv != "" {
			secret += ", from the environment's `" + p.SecretEnv + "` where it is left out"
		}
		path := ""
		if p.Path != "" {
			path = "`" + p.Path + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", p.Name, p.Doc, path, secret)
	}
}

// writeVariables lists what is taken from the environment without a word in the file.
func writeVariables(b *bytes.Buffer, catalog Catalog) {
	b.WriteString("\n## Variables\n\nThese are taken from the environment, or from `.env`, where the file says nothing else; `relais check` tells which were.\n\n" +
		"| variable | |\n|---|---|\n" +
		"| `WEBHOOK_PORT` | `listen`: the port on all addresses. A `listen` in the file goes before it, with a warning. |\n" +
		"| `LOG_LEVEL` | `log.level`; it goes before the file. |\n")
	for _, p := range catalog.Presets {
		if p.SecretEnv != "" {
			fmt.Fprintf(b, "| `%s` | `secret` of sources with the preset `%s`. |\n", p.SecretEnv, p.Name)
		}
	}
	for _, c := range catalog.Connections {
		for _, param := range c.Params {
			if name := c.Env[param.Name]; name != "" {
				fmt.Fprintf(b, "| `%s` | `%s` of connections of the kind `%s`. |\n", name, param.Name, c.Name)
			}
		}
	}
}
