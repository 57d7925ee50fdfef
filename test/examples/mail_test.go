//go:build linux

package examples

import (
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
)

// letter is a mail as its reader sees it, with its envelope's recipients.
type letter struct{ from, to, subject, kind, body string }

func (l letter) String() string {
	return "mail from " + l.from + " to " + l.to + ": " + l.subject + " [" + l.kind + "] " + l.body
}

// open decodes a mail of one part.
func open(t *testing.T, m *mail.Message) letter {
	t.Helper()
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	kind, _, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	body := m.Body
	if strings.EqualFold(m.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return letter{
		m.Header.Get("X-MailFrom"), m.Header.Get("X-RcptTo"), subject, kind,
		strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")),
	}
}
