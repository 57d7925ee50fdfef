package core

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPatternMatch(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"estimate.step", []string{"estimate.step"}, []string{"estimate", "estimate.step.x", "estimate.Step", "xestimate.step"}},
		{"payment.*", []string{"payment.refused"}, []string{"payment", "payment.card.refused", "payments.refused"}},
		{"*.delivered", []string{"tracking.delivered"}, []string{"delivered", "a.tracking.delivered"}},
		{"payment.**", []string{"payment", "payment.a", "payment.a.b"}, []string{"paymentx", "a.payment"}},
		{"**", []string{"a", "a.b.c"}, nil},
		{"**.failed", []string{"failed", "a.failed", "failed.failed"}, []string{"failed.a"}},
		{"a.**.b.**.c", []string{"a.b.c", "a.x.b.b.y.c", "a.b.c.c"}, []string{"a.c", "a.b", "a.b.c.d"}},
		{"**.*", []string{"a", "a.b"}, nil},
		{"*", []string{"a"}, []string{"a.b"}},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != c.pattern {
			t.Errorf("%q is written %q", c.pattern, p)
		}
		for _, typ := range c.yes {
			if !p.Match(typ) {
				t.Errorf("%q doesn't match %q", c.pattern, typ)
			}
		}
		for _, typ := range c.no {
			if p.Match(typ) {
				t.Errorf("%q matches %q", c.pattern, typ)
			}
		}
	}
}

func TestZeroPatternMatchesAll(t *testing.T) {
	if !(Pattern{}).Match("a.b") || (Pattern{}).String() != "**" {
		t.Error("the zero pattern is not **")
	}
}

func TestParsePatternRefuses(t *testing.T) {
	for _, s := range []string{"", ".", "a.", ".a", "a..b", "pay*", "***", "a/b", "a b", "é", strings.Repeat("a", 129)} {
		if p, err := ParsePattern(s); CodeOf(err) != CodeInvalid {
			t.Errorf("ParsePattern(%q) = %v, %v; want an invalid error", s, p, err)
		}
	}
}

// The matcher is compared with a regular expression of the same meaning.
func TestPatternMatchesLikeItsMeaning(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "ab", "*", "**", "**"})
	rapid.Check(t, func(t *rapid.T) {
		segments := rapid.SliceOfN(segment, 1, 6).Draw(t, "pattern")
		typ := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab"}), 1, 8).Draw(t, "type"), ".")
		p, err := ParsePattern(strings.Join(segments, "."))
		if err != nil {
			t.Fatal(err)
		}
		expr := "^"
		for _, s := range segments {
			switch s {
			case "*":
				expr += `[^.]+\.`
			case "**":
				expr += `([^.]+\.)*`
			default:
				expr += s + `\.`
			}
		}
		if want := regexp.MustCompile(expr + "$").MatchString(typ + "."); p.Match(typ) != want {
			t.Fatalf("%q.Match(%q) = %v", p, typ, !want)
		}
	})
}

func TestPatternMatchAllocatesNothing(t *testing.T) {
	p, err := ParsePattern("a.**.b.*.**.c")
	if err != nil {
		t.Fatal(err)
	}
	typ := strings.Repeat("a.b.", 20) + "c"
	if n := testing.AllocsPerRun(100, func() { p.Match(typ) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestSelector(t *testing.T) {
	for _, c := range []struct {
		selector, source, typ string
		want                  bool
	}{
		{"sellsy/estimate.step", "sellsy", "estimate.step", true},
		{"sellsy/estimate.step", "sellsy2", "estimate.step", false},
		{"boutique/payment.*", "boutique", "payment.refused", true},
		{"boutique/payment.*", "autre", "payment.refused", false},
		{"*/tracking.delivered", "dhl", "tracking.delivered", true},
		{"*/tracking.delivered", "dhl", "tracking.returned", false},
		{"**/**", "dhl", "x", true},
	} {
		s, err := ParseSelector(c.selector)
		if err != nil {
			t.Fatal(err)
		}
		if s.String() != c.selector {
			t.Errorf("%q is written %q", c.selector, s)
		}
		if got := s.Match(c.source, c.typ); got != c.want {
			t.Errorf("%s matches %s/%s: %v, want %v", c.selector, c.source, c.typ, got, c.want)
		}
	}
}

func TestParseSelectorRefuses(t *testing.T) {
	for s, hint := range map[string]string{
		"estimate.step":  "names no source",
		"":               "names no source",
		"/estimate":      "the source",
		"sellsy/":        "the type",
		"a/b/c":          "the type",
		"sell*/estimate": "the source",
	} {
		_, err := ParseSelector(s)
		if CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), hint) {
			t.Errorf("ParseSelector(%q): %v, want an invalid error that says %q", s, err, hint)
		}
	}
}
