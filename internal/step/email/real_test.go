package email

import (
	"crypto/x509"
	"io"
	"os"
	"strings"
	"testing"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
	"relais/internal/step/email/mailtest"
	"relais/internal/store"
)

// TestMailReachesARealServer sends through a mail server that nobody here wrote.
func TestMailReachesARealServer(t *testing.T) {
	server := mailtest.Start(t)
	run := func(pass string) store.Outcome {
		t.Helper()
		connections := []config.Connection{{Name: "courrier", Kind: "smtp", Settings: map[string]any{
			"host": server.Host, "port": int64(server.Port), "tls": "starttls", "user": server.User,
			"pass": config.NewSecret(pass), "from": "Compta Été <compta@example.fr>",
		}}}
		text, err := os.ReadFile(server.Roots)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		e, err := egress.New(egress.Options{RootCAs: roots,
			Trusted: step.NewRegistry(nil, []step.ConnectionKind{Connection(nil)}).TrustedHosts(connections, nil)})
		if err != nil {
			t.Fatal(err)
		}
		registry := step.NewRegistry([]step.Kind{Send()}, []step.ConnectionKind{Connection(e)})
		opened, err := registry.Open(connections)
		if err != nil {
			t.Fatal(err)
		}
		program, err := step.Compile(config.Route{Name: "r", Steps: []config.Step{{ID: "mail", Use: "email/send", With: map[string]any{
			"to": []any{"Zoë <zoe@example.fr>", "b@example.fr"}, "bcc": "c@example.fr",
			"subject": "Facture n° ${{ event.data.ref }}", "text": "Réglée.", "html": "<p>${{ event.data.ref }}</p>",
		}}}}, registry, opened, step.Options{Store: keeps{}})
		if err != nil {
			t.Fatal(err)
		}
		return program.Run(t.Context(), &store.Claimed{
			Delivery: core.Delivery{ID: 1, Claim: 1, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "r"}},
			Event:    core.Event{Format: core.FormatJSON, Body: []byte(`{"ref": "FA<1>\r\nBcc: x@example.com"}`)},
		})
	}

	if out := run("another"); out.Verdict != store.VerdictDead || out.Reason != core.ReasonAuth {
		t.Errorf("with a wrong password: %+v", out)
	}
	if out := run(server.Pass); out.Verdict != store.VerdictSucceeded {
		t.Fatalf("%+v", out)
	}
	mails := server.Mails(t)
	if len(mails) != 1 {
		t.Fatalf("%d mails came", len(mails))
	}
	m := mails[0]
	body, err := io.ReadAll(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	if to := m.Header.Get("X-RcptTo"); to != "zoe@example.fr, b@example.fr, c@example.fr" || m.Header.Get("X-MailFrom") != "compta@example.fr" || m.Header.Get("Bcc") != "" {
		t.Errorf("from %q to %q, header %v", m.Header.Get("X-MailFrom"), to, m.Header)
	}
	if !strings.Contains(string(body), "FA&lt;1&gt;") {
		t.Errorf("body %s", body)
	}
}
