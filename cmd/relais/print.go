package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// say prints a message.
func (p *program) say(key string, args ...any) { p.printf("%s\n", p.lang.say(key, args...)) }

// printf prints to the standard output, and remembers when that failed: a command whose output is lost
// ends as failed.
func (p *program) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(p.stdout, format, args...); err != nil && p.lost == nil {
		p.lost = err
	}
}

// complain prints to the standard error, after which there is nobody to tell.
func (p *program) complain(format string, args ...any) { _, _ = fmt.Fprintf(p.stderr, format, args...) }

// printJSON prints data for programs, as the API gives it. JSON escapes some control characters only;
// the others, which can stand inside strings alone, are escaped too: people read it on terminals.
func (p *program) printJSON(v any) error {
	var text, escaped strings.Builder
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(v); err != nil {
		return err
	}
	for _, r := range text.String() {
		if r != '\n' && moves(r) {
			fmt.Fprintf(&escaped, `\u%04x`, r)
		} else {
			escaped.WriteRune(r)
		}
	}
	_, err := io.WriteString(p.stdout, escaped.String())
	return err
}

// table prints rows under a heading of the catalogue, whose columns are separated by "|".
func (p *program) table(heading string, rows [][]string) error {
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	write := func(cells []string) {
		for i, cell := range cells {
			cells[i] = oneLine(cell)
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	write(strings.Split(p.lang.say(heading), "|"))
	for _, row := range rows {
		write(row)
	}
	return w.Flush()
}

// fields prints a thing as lines "name  value"; empty values are left out. Names are of the catalogue.
func (p *program) fields(pairs ...string) error {
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", p.lang.say(pairs[i]), oneLine(pairs[i+1]))
		}
	}
	return w.Flush()
}

// headers prints a request's header, by name.
func (p *program) headers(h http.Header) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		p.printf("  %s: %s\n", oneLine(name), oneLine(strings.Join(h[name], ", ")))
	}
}

// oneLine keeps what came from outside from moving the cursor of whoever reads.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if moves(r) {
			return ' '
		}
		return r
	}, s)
}

// moves tells that a character changes what a terminal does, breaks the line, or writes the text around
// it in another direction.
func moves(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// clip shortens a text for a table; the whole stands in the thing's own page.
func clip(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}

// clip shortens a text where a person looks on. Who reads from a pipe or a file gets the whole.
func (p *program) clip(s string, most int) string {
	if !terminal(p.stdout) {
		return s
	}
	return clip(s, most)
}

// when is a time as people read it, in their zone.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// ago is how long something is past, or, with a sign, ahead.
func (p *program) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := p.now().Sub(t)
	if d < 0 {
		return p.lang.say("in", p.lang.short(-d))
	}
	return p.lang.say("ago", p.lang.short(d))
}

// short writes a duration with the two units that matter.
func (l language) short(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %02d", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf(l.of(text{"%d d %02d h", "%d j %02d h"}), int(d.Hours())/24, int(d.Hours())%24)
	}
}

// size writes a number of bytes.
func (l language) size(n int64) string {
	units := strings.Fields(l.of(text{"B KiB MiB GiB TiB", "o Kio Mio Gio Tio"}))
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d %s", n, units[0])
	}
	return l.decimal(f) + " " + units[i]
}

// decimal writes a number with one decimal.
func (l language) decimal(f float64) string {
	return strings.ReplaceAll(fmt.Sprintf("%.1f", f), ".", l.of(text{".", ","}))
}

// number writes a count with its thousands apart.
func (p *program) number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	separator := ","
	if p.lang == french {
		separator = " "
	}
	var out []string
	for len(digits) > 3 {
		out = append([]string{digits[len(digits)-3:]}, out...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, out...), separator)
}

// amount writes a sum of money: "1,200.00 EUR", "1 200,00 EUR". What isn't a number stays as it is.
func (p *program) amount(value, currency string) string {
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || math.Abs(f) >= 1e15 {
		return strings.TrimSpace(value + " " + currency)
	}
	cents := int64(math.Round(math.Abs(f) * 100))
	point := "."
	if p.lang == french {
		point = ","
	}
	sign := ""
	if f < 0 {
		sign = "-"
	}
	return strings.TrimSpace(fmt.Sprintf("%s%s%s%02d %s", sign, p.number(cents/100), point, cents%100, currency))
}
