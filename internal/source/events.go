package source

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// families are the types that mean the same whoever sends them.
var families = []struct{ begin, title, doc string }{
	{"payment.", "Payments", "`amount_cents` is in the currency's smallest unit, `currency` its three letters, `reference` the shop's own, " +
		"`authorisation` the bank's number, `transaction` the provider's id, `code` why. A refund is `refund.*`, and a card that was " +
		"only looked at `payment.verified`: neither is a payment."},
	{"refund.", "Refunds", "The other way of a payment, with the same members."},
	{"tracking.", "Parcels", "`number`, `carrier`, `location`, `code` (the carrier's own), and `at`, where the time that is sent names its " +
		"zone; `at_local` is the place's own. A status that no name of the family fits keeps its own behind `tracking.`, or is the " +
		"provider's type. `tracking.returned` is a parcel that goes back or is back: `code` tells which."},
	{"stock.", "Stock", ""},
	{"price.", "Prices", ""},
	{"product.", "Products", ""},
}

// EventsReference writes the generated part of docs/events.md: what each preset makes of its provider's words.
func EventsReference(presets Presets) ([]byte, error) {
	var all []*Preset
	for _, name := range presets.Names() {
		p, err := presets.Outline(name)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	var b strings.Builder
	for _, family := range families {
		var rows strings.Builder
		for _, p := range all {
			p.familyRows(&rows, family.begin)
		}
		fmt.Fprintf(&b, "### %s\n\n", family.title)
		if family.doc != "" {
			b.WriteString(family.doc + "\n\n")
		}
		b.WriteString("| preset | type | from |\n|---|---|---|\n" + rows.String() + "\n")
	}
	b.WriteString("### Members of `event.normalized`\n\nOf every preset that reads some, whatever its types are. `status` is one of " +
		"`succeeded`, `refused`, `cancelled`, `pending` where the types stay the provider's own.\n\n| preset | members |\n|---|---|\n")
	for _, p := range all {
		if len(p.Normalized) > 0 {
			fmt.Fprintf(&b, "| `%s` | %s |\n", p.Name, list(slices.Sorted(maps.Keys(p.Normalized))))
		}
	}
	b.WriteString("\n### Every preset\n\nA sample of these can be sent with `relais send`; those of the right column are known besides.\n\n" +
		"| preset | samples | known besides |\n|---|---|---|\n")
	for _, p := range all {
		var samples []string
		for i := range p.Events {
			samples = append(samples, p.Events[i].Type)
		}
		var besides []string
		for _, known := range p.KnownTypes() {
			if !slices.Contains(samples, known) {
				besides = append(besides, known)
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.Name, list(samples), list(besides))
	}
	return []byte(b.String()), nil
}

// familyRows writes a line for each type of the family that the preset's rules give.
func (p *Preset) familyRows(b *strings.Builder, begin string) {
	from := map[string][]string{}
	for _, rule := range p.Type {
		if len(rule.Map) == 0 && strings.HasPrefix(rule.Is, begin) && !strings.Contains(rule.Is, "{") {
			from[rule.Is] = append(from[rule.Is], or(conditionText(rule.When), "anything else"))
		}
		for word, to := range rule.Map {
			if strings.HasPrefix(to, begin) {
				from[to] = append(from[to], rule.given(word))
			}
		}
	}
	for _, to := range slices.Sorted(maps.Keys(from)) {
		words := from[to]
		slices.Sort(words)
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", p.Name, to, cell(strings.Join(slices.Compact(words), ", ")))
	}
}

// given says which word of the provider's it is, and under which conditions.
func (r *Rule) given(word string) string {
	if when := conditionText(r.When); when != "" {
		return fmt.Sprintf("`%s` (%s)", word, when)
	}
	return "`" + word + "`"
}

func conditionText(when map[string]Texts) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(when)) {
		_, short, _ := strings.Cut(name, ".")
		parts = append(parts, fmt.Sprintf("`%s: %s`", short, strings.Join(when[name], " or ")))
	}
	return strings.Join(parts, " and ")
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func list(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = "`" + name + "`"
	}
	return strings.Join(quoted, ", ")
}
