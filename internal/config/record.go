package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// hashRoutes identifies what routes do: the order of the file, its spaces and comments don't count.
func hashRoutes(routes []Route) string {
	sorted := slices.SortedFunc(slices.Values(routes), func(a, b Route) int { return cmp.Compare(a.Name, b.Name) })
	canonical, err := Canonical(sorted)
	if err != nil {
		panic(err) //nolint:forbidigo // routes hold plain values only: texts, finite numbers, lists, maps
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:16])
}

// redacted writes the file again without its secrets, as it was before variables were put in: a value
// that came by a variable can't be in it. Comments are left out, because nobody knows what they hold.
func redacted(root *node, secrets []string) []byte {
	w := &recordWriter{}
	w.write(root, 0, false)
	text := w.out.Bytes()
	for _, secret := range secrets {
		// One secret may be written at several places, also where none is expected.
		for _, form := range []string{secret, quoted(secret)[1 : len(quoted(secret))-1]} {
			if len(form) >= 4 {
				text = bytes.ReplaceAll(text, []byte(form), []byte(hidden))
			}
		}
	}
	return text
}

type recordWriter struct{ out bytes.Buffer }

var (
	secretName  = regexp.MustCompile(`(?i)secret|token|passw|authorization|api[-_]?key|credential|cookie`)
	urlUser     = regexp.MustCompile(`(://)[^/@\s"]*@`)
	onlyVar     = regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`)
	expressions = regexp.MustCompile(`^\$\{\{[^"']*\}\}$`)
)

func (w *recordWriter) write(n *node, indent int, secret bool) {
	pad := strings.Repeat("  ", indent)
	switch n.kind {
	case mapNode:
		switch {
		case len(n.entries) == 0 && indent == 0:
			return
		case len(n.entries) == 0:
			w.out.WriteString(" {}\n")
			return
		case indent > 0:
			w.out.WriteByte('\n')
		}
		for _, e := range n.entries {
			w.out.WriteString(pad + key(e.key) + ":")
			w.write(e.value, indent+1, secret || secretName.MatchString(e.key) && !strings.HasSuffix(e.key, "_file"))
		}
	case listNode:
		if len(n.items) == 0 {
			w.out.WriteString(" []\n")
			return
		}
		w.out.WriteByte('\n')
		for _, item := range n.items {
			w.out.WriteString(pad + "-")
			w.write(item, indent+1, secret)
		}
	default:
		w.out.WriteString(" " + scalarRecord(n, secret) + "\n")
	}
}

func key(s string) string {
	if isWord(s) {
		return s
	}
	return quoted(s)
}

func scalarRecord(n *node, secret bool) string {
	if n.scalar == nullScalar {
		return "null"
	}
	harmless := onlyVar.MatchString(n.text) || expressions.MatchString(n.text) && !n.secret
	switch {
	case (secret || n.secret) && !harmless:
		return quoted(hidden)
	case n.scalar == textScalar:
		return quoted(urlUser.ReplaceAllString(n.text, "${1}"+hidden+"@"))
	}
	return n.text
}

// quoted writes text as JSON does, which YAML reads too.
func quoted(s string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		panic(err) //nolint:forbidigo // a string can always be written
	}
	return strings.TrimSuffix(out.String(), "\n")
}
