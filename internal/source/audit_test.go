package source

import (
	"errors"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
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

// Asana calls with the token of its handshake in the address for as long as the webhook lives, escaped as it likes. A
// token that verifies requests is told by its digest beside it.
func TestTokensOfHandshakesAreStoredNowhere(t *testing.T) {
	const setup = "text/of-the~operator"
	asana := func(token string) config.Source {
		in := config.Source{Preset: "asana", Secrets: secrets("s3cret-of-the-tests")}
		if token != "" {
			in.NamedSecrets = map[string][]config.Secret{"setup": secrets(token)}
		}
		return in
	}
	with, short, after := compile(t, asana(setup)), compile(t, asana("abc")), compile(t, asana(""))
	for query, want := range map[string]string{
		"":                                   "",
		"a=1":                                "a=1",
		"setup=text/of-the~operator":         "setup=[secret]",
		"setup=text%2fof-the~operator&a=%zz": "setup=[secret]&a=%zz",
		"a=1&%73etup=%74ext%2Fof%2Dthe~oper": "a=1&%73etup=[secret]",
		"setup=abc":                          "setup=[secret]",
		"setup=another&setup=one":            "setup=[secret]&setup=[secret]",
	} {
		for what, src := range map[string]*Source{"with": with, "with a short one": short, "after the set-up": after} {
			if got := src.StoredQuery(&Request{Query: query}); got != want {
				t.Errorf("%s, %s: stored %s, want %s", what, query, got, want)
			}
		}
	}
	beside := asana(setup)
	beside.Verify = map[string]any{"scheme": "token", "query": "token"}
	both := compile(t, beside)
	if got := both.StoredQuery(&Request{Query: "token=secret-of-yesterday&setup=x&a=" + setup}); strings.Contains(got, "yesterday") ||
		!strings.HasPrefix(got, "token=sha256%3A") || !strings.HasSuffix(got, "&setup=[secret]&a=[secret]") {
		t.Errorf("beside a token of the source's: %s", got)
	}
}

// Only a secret that signs can be given by a handshake: without any other there is nothing to compare with.
func TestHandshakeGivesNothingThatIsSentAsItIs(t *testing.T) {
	for _, scheme := range []string{"token", "basic", "rsa-sha256", "ed25519"} {
		verify := map[string]any{"scheme": scheme, "header": "X-Signature"}
		if scheme == "basic" {
			delete(verify, "header")
		}
		_, err := Compile(config.Source{Name: "x", Preset: "asana", NamedSecrets: map[string][]config.Secret{"setup": secrets("text-of-the-operator")}, Verify: verify}, Embedded())
		var fault *core.Error
		if !errors.As(err, &fault) || fault.Field != "secret" {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
