package source

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reference writes docs/providers.md: every preset with how its requests are verified, and what that
// leaves open.
func Reference(presets Presets) ([]byte, error) {
	var b strings.Builder
	loaded := make([]*Preset, 0, 128)
	var marked []string
	for _, name := range presets.Names() {
		p, err := presets.Load(name)
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, p)
		if len(p.Test) > 0 {
			marked = append(marked, code(p.Name))
		}
	}
	fmt.Fprintf(&b, referenceHead, strings.Join(marked, ", "))
	for _, p := range loaded {
		open := p.Verify.Uncovered
		if open != "" {
			open = strings.ToUpper(open[:1]) + open[1:]
		}
		fmt.Fprintf(&b, "| `%s` | [%s](%s) | %s | %s | %s |\n", p.Name, p.Title, p.Docs, p.Verify.describe(), cell(open), code(p.Path))
	}
	b.WriteString(referenceTail)
	for _, name := range presets.Names() {
		text, err := presets.text(name)
		if err != nil {
			return nil, err
		}
		if notes := remarks(string(text)); notes != "" {
			fmt.Fprintf(&b, "\n### %s\n\n%s", name, notes)
		}
	}
	return []byte(b.String()), nil
}

// remarks are what a preset's file says before its first key.
func remarks(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		said, isRemark := strings.CutPrefix(line, "#")
		if !isRemark {
			break
		}
		b.WriteString(strings.ReplaceAll(strings.TrimPrefix(said, " "), "<", `\<`))
	}
	return b.String()
}

const referenceHead = `<!-- Generated from the presets; do not edit. -->

# Providers

A source's ` + "`preset`" + ` says how its provider signs, names its events and wants to be answered. Every line of this table
is one file with test vectors: those that a provider published, and others that a program independent of relais made.
The provider's name leads to the page that the rule was taken from.

A column says what the scheme leaves open: a token proves who sends and nothing of what is sent, and a signature without a
time is as good tomorrow. Where that matters, let a route ask the provider's API before it acts.

Events of a provider's own test mode are marked as tests, where its messages tell: %s. Only routes that say ` + "`test: true`" + `
take them, so that a payment with a test card pays nothing.

A variant is another way in which the provider may sign: ` + "`verify: {variant: NAME}`" + `. Below the table is [what to know of
each](#what-to-know-of-each): where its secret comes from, and what it asks for before it sends (Asana, Meta, Notion, Okta…).

| preset | provider | verified by | what that leaves open | path |
|---|---|---|---|---|
`

const referenceTail = `
## DHL's subscription

DHL's Unified Push is silent until its subscription is activated: a route on ` + "`dhl/subscription.validate`" + ` does that.
[` + "`examples/dhl`" + `](../examples/dhl) is the whole of it, played by a test.

## Who sends nothing

Colissimo, Chronopost and La Poste publish no webhooks: their tracking is asked for. An aggregator of this table sends for
them. PrestaShop sends none itself; its modules do.

## What to know of each

What has to be set at the provider, what its events are called here, and what this stands on. These are the remarks of the
presets' own files; vectors that are "below" stand there.
`

// describe says in a few words how the requests are verified.
func (v *Verify) describe() string {
	var b strings.Builder
	switch {
	case v.Scheme == "none":
		b.WriteString("nothing")
	case v.Scheme == "basic":
		b.WriteString("user and password (Basic)")
	case v.Scheme == "token":
		b.WriteString("a token in " + v.where())
	default:
		b.WriteString(schemeName(v.Scheme) + " in " + v.where())
	}
	if v.CertificateURL.given() {
		b.WriteString(", by the certificate that the request names")
	}
	if v.Tolerance > 0 {
		fmt.Fprintf(&b, ", at most %.0f s old", v.Tolerance.Seconds())
	}
	if len(v.Variants) > 0 {
		b.WriteString(". Variants: ")
		for i, name := range slices.Sorted(maps.Keys(v.Variants)) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(code(name))
		}
	}
	return b.String()
}

func schemeName(scheme string) string {
	if digest, ok := strings.CutPrefix(scheme, "hash-"); ok {
		return "plain " + strings.ToUpper(digest) + " with the key"
	}
	return strings.ToUpper(scheme)
}

// where says where the signature or the token stands.
func (v *Verify) where() string {
	switch {
	case v.Header != "":
		return "the header " + code(v.Header)
	case v.Query != "":
		return "the address, " + code("?"+v.Query+"=")
	case v.Form != "":
		return "the field " + code(v.Form)
	case v.Param != "":
		return "the parameter " + code(v.Param)
	default:
		return "the body's " + code(v.JSON)
	}
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// cell makes a text fit for one cell of a table.
func cell(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "|", `\|`)), " ")
}
