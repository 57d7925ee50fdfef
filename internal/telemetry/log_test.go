package telemetry

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func newTestLog(t *testing.T, format string) (*Log, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	l, err := NewLog(LogOptions{Out: &out, Format: format, Level: "info"})
	if err != nil {
		t.Fatal(err)
	}
	return l, &out
}

func TestTextLineReadsAsOneLine(t *testing.T) {
	l, out := newTestLog(t, "text")
	l.With("source", "sellsy").Info("invoice created", "reference", "D-2026-12", "amount", "1200.00 EUR",
		"took", 12*time.Millisecond, "note", "a\nb=c", slog.Group("step", "id", "facture"))
	line := out.String()
	when, rest, _ := strings.Cut(line, " ")
	if _, err := time.Parse("2006-01-02T15:04:05.000Z07:00", when); err != nil {
		t.Error(err)
	}
	want := `INFO  invoice created  source=sellsy reference=D-2026-12 amount="1200.00 EUR" took=12ms note="a\nb=c" step.id=facture` + "\n"
	if rest != want {
		t.Errorf("got  %swant %s", rest, want)
	}
}

func TestMessageCannotForgeALine(t *testing.T) {
	l, out := newTestLog(t, "text")
	l.Info("refused\n2026-01-01T00:00:00.000Z INFO  all is well", "from\n", "x")
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines: %s", n, out)
	}
}

// secret is what the configuration's secrets are to a logger.
type secret struct{ value string }

func (secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

func TestSecretsAndBodiesAreNotWritten(t *testing.T) {
	const planted = "hunter2-hunter2"
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			l, out := newTestLog(t, format)
			l.HideSecrets([]string{"k\"" + planted, planted, "short"})
			u, err := url.Parse("https://user:" + planted + "@api.example.fr/v2?token=" + planted)
			if err != nil {
				t.Fatal(err)
			}
			l.With("client_secret", planted, "kept", "yes").WithGroup("request").Info("message with "+planted,
				"Authorization", "Bearer "+planted, "api_key", planted, "body", planted, "raw_body", planted,
				"value", secret{planted}, "header", http.Header{"X": {planted}}, "h", http.Header{"X": {planted}},
				"bytes", []byte(planted), "url", u, "quoted", "k\""+planted,
				"err", &url.Error{Op: "Post", URL: "https://hooks.slack.com/" + planted, Err: errors.New("refused")},
				slog.Group("inner", "password", planted, "user", "anne"),
				"body_bytes", 12, "key", "default/compta/invoice/estimate/52437688")
			for _, gone := range []string{planted, "Authorization", "api_key", "client_secret", "raw_body", "password"} {
				if strings.Contains(out.String(), gone) {
					t.Errorf("%q is in the log: %s", gone, out)
				}
			}
			for _, there := range []string{"kept", "[secret]", "api.example.fr", "hooks.slack.com", "anne", "body_bytes", "52437688"} {
				if !strings.Contains(out.String(), there) {
					t.Errorf("%q is not in the log: %s", there, out)
				}
			}
		})
	}
}

func TestSecretsOfEarlierConfigurationsStayHidden(t *testing.T) {
	l, out := newTestLog(t, "text")
	l.HideSecrets([]string{"first-secret"})
	l.HideSecrets([]string{"second-secret"})
	l.Info("first-secret second-secret")
	if strings.Contains(out.String(), "-secret") {
		t.Error(out)
	}
}

func TestLevelFollowsTheConfiguration(t *testing.T) {
	l, out := newTestLog(t, "json")
	l.Debug("one")
	if err := l.SetLevel("DEBUG"); err != nil {
		t.Fatal(err)
	}
	l.Debug("two")
	if strings.Contains(out.String(), "one") || !strings.Contains(out.String(), "two") {
		t.Error(out)
	}
	if err := l.SetLevel("loud"); err == nil || !strings.Contains(err.Error(), "allowed are debug") {
		t.Error(err)
	}
	if _, err := NewLog(LogOptions{Out: out, Format: "xml"}); err == nil {
		t.Error("format xml was taken")
	}
}
