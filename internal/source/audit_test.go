package source

import (
	"strings"
	"testing"
	"time"

	"relais/internal/config"
)

func TestQueriesAreRedacted(t *testing.T) {
	for _, c := range []struct {
		what, paths, query, want string
	}{
		{"nothing is named", "", "card=4970&%zz", "card=4970&%zz"},
		{"another is named", "iban", "card=4970&b=%20", "card=4970&b=%20"},
		{"an empty query", "card", "", ""},
		{"the only one", "card", "card=4970", ""},
		{"one of three, whose others stay to the byte", "card", "a=%41&card=4970&b=1+1", "a=%41&b=1+1"},
		{"each repetition", "card", "card=1&a=1&card=2&card", "a=1"},
		{"an escaped name", "card", "c%61rd=4970&a=1", "a=1"},
		{"a name with a blank", "card number", "card+number=4970&a=1", "a=1"},
		{"a longer name", "card", "cards=4970&card.no=1&Card=2", "cards=4970&card.no=1&Card=2"},
		{"a name that can't be decoded", "card", "card%=4970&%zz=1&a=1", "a=1"},
		{"empty pairs", "card", "a=1&&card=4970&", "a=1"},
		{"every depth", "**.card", "a=1&card=4970", "a=1"},
		{"any name", "*", "a=1&b=2", ""},
	} {
		// Paths are divided by lines: a name may have a blank.
		var paths []string
		if c.paths != "" {
			paths = strings.Split(c.paths, "\n")
		}
		src := compile(t, config.Source{Preset: "generic", Secrets: secrets("x"), Redact: paths})
		kept, changed := src.RedactQuery(c.query)
		lost := strings.Count(c.want, "=") != strings.Count(c.query, "=")
		if kept != c.want || changed != lost {
			t.Errorf("%s: %q without %s is %q (changed: %v), want %q", c.what, c.query, c.paths, kept, changed, c.want)
		}
		if again, more := src.RedactQuery(kept); again != kept || more {
			t.Errorf("%s: redacted again %q is %q", c.what, kept, again)
		}
	}
}

// Ages that leave repeats known are taken, and any where repeats aren't looked for.
func TestAgesOfASource(t *testing.T) {
	for _, in := range []config.Source{
		{Preset: "github", Retention: config.SourceRetention{Events: 400 * 24 * time.Hour, Rejections: time.Minute}},
		{Preset: "github", DedupWindow: time.Hour, Retention: config.SourceRetention{Events: time.Hour}},
		{Preset: "github", Dedup: "off", Retention: config.SourceRetention{Events: time.Minute}},
	} {
		in.Secrets = secrets("x")
		compile(t, in)
	}
}
