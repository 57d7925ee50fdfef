package email

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
	"relais/internal/store"
)

// settings are a connection to the test's server.
// keeps is a store that keeps steps.
type keeps struct{ step.Store }

func (keeps) SaveStep(context.Context, store.Holder, store.StepResult) error { return nil }

func settings(p *post, mode string) map[string]any {
	s := map[string]any{"host": "127.0.0.1", "port": int64(p.listener.Addr().(*net.TCPAddr).Port), "tls": mode, "from": "Compta Été <compta@example.fr>"}
	if p.user != "" {
		s["user"], s["pass"] = p.user, config.NewSecret("s3cret")
	}
	return s
}

func compile(t *testing.T, p *post, settings map[string]any, with map[string]any, onUnknown string) *step.Program {
	t.Helper()
	connections := []config.Connection{{Name: "courrier", Kind: "smtp", Settings: settings}}
	hosts := step.NewRegistry(nil, []step.ConnectionKind{Connection(nil)}).TrustedHosts(connections, nil)
	certificate, err := x509.ParseCertificate(p.tls.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	e, err := egress.New(egress.Options{Trusted: hosts, RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	registry := step.NewRegistry([]step.Kind{Send()}, []step.ConnectionKind{Connection(e)})
	opened, err := registry.Open(connections)
	if err != nil {
		t.Fatal(err)
	}
	program, err := step.Compile(config.Route{Name: "r", Steps: []config.Step{{ID: "mail", Use: "email/send", With: with, OnUnknown: onUnknown}}},
		registry, opened, step.Options{Store: keeps{}})
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func delivery(data any) *store.Claimed {
	body, _ := json.Marshal(data)
	return &store.Claimed{
		Delivery: core.Delivery{ID: 1, Claim: 1, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "r"}},
		Event:    core.Event{Format: core.FormatJSON, Body: body},
	}
}

// parts reads a mail as a mail program does, and returns its bodies by media type.
func parts(t *testing.T, data string) (netmail.Header, map[string]string) {
	t.Helper()
	msg, err := netmail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatalf("unreadable mail: %v\n%s", err, data)
	}
	out := map[string]string{}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "multipart/alternative" {
		body, err := io.ReadAll(quotedprintable.NewReader(msg.Body))
		if err != nil {
			t.Fatal(err)
		}
		out[kind] = strings.TrimSuffix(string(body), "\r\n")
		return msg.Header, out
	}
	for reader := multipart.NewReader(msg.Body, params["boundary"]); ; {
		part, err := reader.NextPart() // decodes quoted-printable
		if errors.Is(err, io.EOF) {
			return msg.Header, out
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		out[kind] = strings.TrimSuffix(string(body), "\r\n")
	}
}

func subject(t *testing.T, h netmail.Header) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(h.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestMailArrivesEncryptedAndWhole(t *testing.T) {
	for _, mode := range []string{"starttls", "tls"} {
		t.Run(mode, func(t *testing.T) {
			p := servePost(t, func(p *post) { p.implicit, p.user, p.pass = mode == "tls", "compta", "s3cret" })
			out := compile(t, p, settings(p, mode), map[string]any{
				"to": []any{"Zoé <zoe@example.fr>", "${{ event.data.mail }}"}, "cc": "c@example.fr", "bcc": "hidden@example.fr", "reply_to": "r@example.fr",
				"subject": "Facture n° ${{ event.data.n }}", "text": "Bonjour,\n.\nvoilà ${{ event.data.n }}", "html": "<p title=\"${{ event.data.n }}\">${{ event.data.n }}</p>",
			}, "").Run(t.Context(), delivery(map[string]any{"mail": "max@example.fr", "n": "12 & <b>"}))
			if out.Verdict != store.VerdictSucceeded {
				t.Fatalf("%+v", out)
			}
			mails := p.received()
			if len(mails) != 1 || !mails[0].tls || mails[0].user != "compta" || mails[0].from != "compta@example.fr" ||
				!slices.Equal(mails[0].to, []string{"zoe@example.fr", "max@example.fr", "c@example.fr", "hidden@example.fr"}) {
				t.Fatalf("%+v", mails)
			}
			header, bodies := parts(t, mails[0].data)
			if subject(t, header) != "Facture n° 12 & <b>" || header.Get("Bcc") != "" || strings.Contains(mails[0].data, "hidden@") {
				t.Errorf("%v", header)
			}
			if bodies["text/plain"] != "Bonjour,\r\n.\r\nvoilà 12 & <b>" && bodies["text/plain"] != "Bonjour,\n.\nvoilà 12 & <b>" {
				t.Errorf("text became %q", bodies["text/plain"])
			}
			if bodies["text/html"] != `<p title="12 &amp; &lt;b&gt;">12 &amp; &lt;b&gt;</p>` {
				t.Errorf("HTML became %q", bodies["text/html"])
			}
		})
	}
}

func TestAttemptsCarryOneMessageID(t *testing.T) {
	p := servePost(t, nil)
	program := compile(t, p, settings(p, "none"), map[string]any{"to": "a@example.fr", "subject": "s", "text": "t"}, "")
	first := delivery(nil)
	program.Run(t.Context(), first)
	program.Run(t.Context(), first)
	again := delivery(nil)
	again.Delivery.Replay = 1
	out := program.Run(t.Context(), again)
	var ids []string
	for _, m := range p.received() {
		header, _ := parts(t, m.data)
		ids = append(ids, header.Get("Message-ID"))
	}
	if len(ids) != 3 || ids[0] != ids[1] || ids[0] == ids[2] || !strings.HasSuffix(ids[0], "@example.fr>") {
		t.Errorf("%v", ids)
	}
	if !strings.Contains(string(out.Steps[0].Result), strings.Trim(ids[2], "<>")) {
		t.Errorf("result %s", out.Steps[0].Result)
	}
}

func TestWhatTheServerSaysMeansForTheDelivery(t *testing.T) {
	for _, c := range []struct {
		name, verb, reply string
		onUnknown         string
		want              store.Verdict
		reason            core.Reason
	}{
		{"sender refused", "MAIL", "550 5.7.1 not you", "stop", store.VerdictDead, core.ReasonStatus},
		{"recipient unknown", "RCPT", "550 5.1.1 no such user", "stop", store.VerdictDead, core.ReasonStatus},
		{"mailbox busy", "RCPT", "450 4.2.1 busy", "stop", store.VerdictRetry, core.ReasonStatus},
		{"greylisted", "DATA", "451 4.7.1 later", "stop", store.VerdictRetry, core.ReasonStatus},
		{"content refused", ".", "554 5.7.1 spam", "stop", store.VerdictDead, core.ReasonStatus},
		{"disk full", ".", "452 4.3.1 full", "stop", store.VerdictRetry, core.ReasonStatus},
		{"closed before the message", "DATA", "", "stop", store.VerdictRetry, core.ReasonReset},
		{"answer lost, stop", ".", "", "stop", store.VerdictDead, core.ReasonUnknown},
		{"answer lost, retry", ".", "", "retry", store.VerdictRetry, core.ReasonUnknown},
		{"shutting down", "EHLO", "421 4.3.2 later", "stop", store.VerdictRetry, core.ReasonStatus},
		{"closed after it was taken", "RSET", "", "stop", store.VerdictSucceeded, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := servePost(t, func(p *post) { p.replies[c.verb] = c.reply })
			if c.verb == "EHLO" {
				p.replies["HELO"] = c.reply
			}
			out := compile(t, p, settings(p, "none"), map[string]any{"to": "a@example.fr", "subject": "s", "text": "t"}, c.onUnknown).Run(t.Context(), delivery(nil))
			if out.Verdict != c.want || out.Reason != c.reason {
				t.Errorf("%+v", out)
			}
			p.received()
		})
	}
}

func TestWrongPasswordIsFinalAndUntold(t *testing.T) {
	p := servePost(t, func(p *post) { p.user, p.pass = "compta", "other" })
	out := compile(t, p, settings(p, "starttls"), map[string]any{"to": "a@example.fr", "subject": "s", "text": "t"}, "").Run(t.Context(), delivery(nil))
	if out.Verdict != store.VerdictDead || out.Reason != core.ReasonAuth || strings.Contains(out.Message, "s3cret") {
		t.Errorf("%+v", out)
	}
}

func TestServerWithoutTrustedTLSGetsNoPassword(t *testing.T) {
	p := servePost(t, func(p *post) { p.user, p.pass = "compta", "s3cret" })
	s := settings(p, "starttls")
	s["host"] = "localhost" // the certificate is for another name
	out := compile(t, p, s, map[string]any{"to": "a@example.fr", "subject": "s", "text": "t"}, "").Run(t.Context(), delivery(nil))
	if out.Verdict != store.VerdictRetry || out.Reason != core.ReasonTLS || len(p.received()) != 0 {
		t.Errorf("%+v", out)
	}
}

func TestServerWithoutTLSIsToldWithWhatToWrite(t *testing.T) {
	p := servePost(t, func(p *post) { p.plain = true })
	out := compile(t, p, settings(p, "starttls"), map[string]any{"to": "a@example.fr", "subject": "s", "text": "t"}, "").Run(t.Context(), delivery(nil))
	if out.Verdict != store.VerdictRetry || out.Reason != core.ReasonTLS || !strings.Contains(out.Message, "tls: none") || len(p.received()) != 0 {
		t.Errorf("%+v", out)
	}
}

func TestStopEndsAConversation(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		stop() // connected, and the server says nothing
		_, _ = io.Copy(io.Discard, conn)
	}()
	p := &post{tls: servePost(t, nil).tls, listener: l}
	began := time.Now()
	out := compile(t, p, settings(p, "none"), map[string]any{"to": "a@example.fr", "subject": "s", "text": "t"}, "").Run(ctx, delivery(nil))
	if out.Verdict != store.VerdictReturn || time.Since(began) > conversation/2 {
		t.Errorf("%+v after %s", out, time.Since(began))
	}
}

func TestMailWithoutBodyOrRecipientIsRefused(t *testing.T) {
	p := servePost(t, nil)
	for says, with := range map[string]map[string]any{
		"text or html":    {"to": "a@example.fr", "subject": "s"},
		"no recipient":    {"to": []any{}, "subject": "s", "text": "t"},
		"at most 100":     {"to": slices.Repeat([]any{"a@example.fr"}, 101), "subject": "s", "text": "t"},
		"reply_to: it is": {"to": "a@example.fr", "subject": "s", "text": "t", "reply_to": "nobody"},
	} {
		out := compile(t, p, settings(p, "none"), with, "").Run(t.Context(), delivery(nil))
		if out.Verdict != store.VerdictDead || !strings.Contains(out.Message, says) {
			t.Errorf("%s: %+v", says, out)
		}
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	for says, s := range map[string]map[string]any{
		"from must be":     {"host": "mail.test", "tls": "none"},
		"belong together":  {"host": "mail.test", "tls": "starttls", "user": "a@b.fr"},
		"in clear":         {"host": "mail.test", "tls": "none", "user": "a@b.fr", "pass": config.NewSecret("x")},
		"from 1 to 65535":  {"host": "mail.test", "tls": "tls", "user": "a@b.fr", "pass": config.NewSecret("x"), "port": int64(0)},
		"such as Compta <": {"host": "mail.test", "tls": "none", "from": "a@b.fr, c@d.fr"},
	} {
		if _, err := Connection(nil).Open(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", s, err, says)
		}
	}
}
