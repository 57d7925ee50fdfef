package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// kind is a way of writing one value as a scalar.
type kind[V any] struct {
	parse func(text string) (V, error)
	show  func(V) string
	shape map[string]any
}

var (
	aText = kind[string]{parseText, func(s string) string { return s },
		map[string]any{"type": []string{"string", "number"}}}
	aBool = kind[bool]{parseBool, func(b bool) string { return fmt.Sprint(b) },
		map[string]any{"anyOf": []any{map[string]any{"type": "boolean"}, variableShape}}}
	aSwitch = kind[bool]{parseSwitch, showSwitch, map[string]any{"enum": []any{"on", "off", true, false}}}
	aCount  = kind[int]{parseCount, func(n int) string { return fmt.Sprint(n) },
		map[string]any{"anyOf": []any{map[string]any{"type": "integer", "minimum": 0}, variableShape}}}
	aDuration = kind[time.Duration]{ParseDuration, showDuration,
		map[string]any{"type": "string", "examples": []string{"30s", "5m", "72h", "30d"}}}
	aSize = kind[int64]{ParseSize, showSize,
		map[string]any{"type": []string{"string", "integer"}, "examples": []string{"1MiB", "64MiB"}}}
	aRate = kind[rate]{parseRate, func(r rate) string { return fmt.Sprintf("%g/s", r.perSecond) },
		map[string]any{"type": "string", "examples": []string{"10/s", "100/m"}}}
)

// variableShape lets a variable stand where an editor expects a number or a boolean.
var variableShape = map[string]any{"type": "string", "pattern": `^\$\{.*\}$`}

func oneOf(words ...string) kind[string] {
	return kind[string]{
		parse: func(text string) (string, error) {
			if slices.Contains(words, text) {
				return text, nil
			}
			return "", fmt.Errorf("%q is not allowed: allowed are %s", text, strings.Join(words, ", "))
		},
		show:  func(s string) string { return s },
		shape: map[string]any{"enum": words},
	}
}

func (k kind[V]) min(least V, less func(a, b V) bool) kind[V] {
	parse := k.parse
	k.parse = func(text string) (V, error) {
		v, err := parse(text)
		if err == nil && less(v, least) {
			return v, fmt.Errorf("%s is too small: at least %s", text, k.show(least))
		}
		return v, err
	}
	return k
}

func atLeast[V int | int64 | time.Duration](k kind[V], least V) kind[V] {
	return k.min(least, func(a, b V) bool { return a < b })
}

// one is a key with one scalar value.
func one[T, V any](name, doc string, k kind[V], to func(*T) *V) field[T] {
	return field[T]{
		name: name, doc: doc,
		shape: func(*schemaMaker) map[string]any { return k.shape },
		read: func(r *reader, n *node, path string, t *T) {
			if v, ok := readScalar(r, n, path, k); ok {
				*to(t) = v
			}
		},
	}
}

// oneWith is a key with one scalar value and a default.
func oneWith[T, V any](name string, def V, doc string, k kind[V], to func(*T) *V) field[T] {
	f := one(name, doc, k, to)
	f.def = k.show(def)
	f.init = func(t *T) { *to(t) = def }
	return f
}

// many is a key with a list of scalars; one scalar is a list of one.
func many[T, V any](name, doc string, k kind[V], to func(*T) *[]V) field[T] {
	return field[T]{
		name: name, doc: doc,
		shape: func(*schemaMaker) map[string]any {
			return map[string]any{"anyOf": []any{k.shape, map[string]any{"type": "array", "items": k.shape}}}
		},
		read: func(r *reader, n *node, path string, t *T) {
			r.each(n, path, func(item *node, at string) {
				if v, ok := readScalar(r, item, at, k); ok {
					*to(t) = append(*to(t), v)
				}
			})
		},
	}
}

// section is a key with an object of its own.
func section[T, S any](name, doc string, fields []field[S], to func(*T) *S) field[T] {
	return field[T]{
		name: name, doc: doc, group: true,
		shape: func(s *schemaMaker) map[string]any { return objectShape(s, fields) },
		init: func(t *T) {
			for _, f := range fields {
				if f.init != nil {
					f.init(to(t))
				}
			}
		},
		read: func(r *reader, n *node, path string, t *T) { readObject(r, n, path, fields, to(t)) },
	}
}

// secretKey is a key with a secret; name_file is allowed too.
func secretKey[T any](name, doc string, check func(text string) error, to func(*T) *Secret) field[T] {
	return field[T]{
		name: name, doc: doc, orFile: true,
		shape: func(*schemaMaker) map[string]any { return map[string]any{"type": []string{"string", "number"}} },
		read: func(r *reader, n *node, path string, t *T) {
			secret, ok := r.secret(n, path, "fill it in, or leave the key out")
			if !ok {
				return
			}
			if err := check(secret.Reveal()); err != nil {
				r.fault(n.place, path, "%s", err)
			}
			*to(t) = secret
		},
	}
}

// each visits the items of a list; one scalar is a list of one.
func (r *reader) each(n *node, path string, visit func(item *node, at string)) {
	if n.kind == scalarNode {
		visit(n, path)
		return
	}
	if n.kind != listNode {
		r.fault(n.place, path, "a list is expected here, and this is %s", n.describe())
		return
	}
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.places[at] = item.place
		visit(item, at)
	}
}

func readScalar[V any](r *reader, n *node, path string, k kind[V]) (V, bool) {
	var none V
	text, ok := r.plainText(n, path)
	if !ok {
		return none, false
	}
	v, err := k.parse(text)
	if err != nil {
		r.fault(n.place, path, "%s", r.withoutVariable(n, err.Error()))
		return none, false
	}
	return v, true
}

// withoutVariable keeps what a variable held out of a message: it may be a secret in the wrong place. Of one
// that held nothing it tells: that is what has to be mended, and not the file.
func (r *reader) withoutVariable(n *node, message string) string {
	for _, item := range n.items { // of a list's items, such as several addresses, the empty one is what is wrong
		if name := r.emptyVariable(item.text); name != "" {
			return "${" + name + "} is empty: " + message
		}
	}
	if !strings.Contains(n.text, varOpening) {
		return message
	}
	if name := r.emptyVariable(n.text); name != "" {
		message = "${" + name + "} is empty: " + message
	}
	text, err := expandPlain(n.text, r.env)
	if err != nil || text == "" {
		return message
	}
	return strings.ReplaceAll(strings.ReplaceAll(message, fmt.Sprintf("%q", text), n.text), text, n.text)
}

// secret reads a secret; fill says what to put where there is none.
func (r *reader) secret(n *node, path, fill string) (Secret, bool) {
	n.secret = true
	text, ok := r.plainText(n, path)
	if !ok {
		return Secret{}, false
	}
	if strings.TrimSpace(text) == "" {
		what := "the secret"
		if name := r.emptyVariable(n.text); name != "" {
			what = "${" + name + "}"
		}
		r.fault(n.place, path, "%s is empty: %s", what, fill)
		return Secret{}, false
	}
	r.secrets = append(r.secrets, text)
	return NewSecret(text), true
}

func showDuration(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	s = strings.TrimSuffix(s, "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(s, "m0s")]
	return strings.TrimSuffix(s, "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(s, "h0m")]
}

func showSize(n int64) string {
	for _, unit := range []string{"GiB", "MiB", "KiB"} {
		for _, u := range sizeUnits {
			if u.name == unit && n >= u.bytes && n%u.bytes == 0 {
				return fmt.Sprintf("%d%s", n/u.bytes, unit)
			}
		}
	}
	return fmt.Sprint(n)
}
