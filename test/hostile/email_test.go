//go:build unix

package hostile

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

// mailbox is a mail server that takes everything and keeps who it was for.
type mailbox struct {
	net.Listener
	mu    sync.Mutex
	mails []received
}

type received struct {
	to   []string
	data string
}

func openMailbox(t *testing.T) *mailbox {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	m := &mailbox{Listener: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.talk(conn)
		}
	}()
	return m
}

// talk speaks as much SMTP as a client needs. Lines that are no command are refused, and would show.
func (m *mailbox) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	var mail received
	for reply := "220 mail.test ESMTP"; ; {
		if _, err := io.WriteString(conn, reply+"\r\n"); err != nil {
			return
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "EHLO":
			reply = "250 mail.test"
		case "MAIL", "RSET", "NOOP":
			mail, reply = received{}, "250 ok"
		case "RCPT":
			mail.to, reply = append(mail.to, strings.TrimSpace(line[5:])), "250 ok"
		case "DATA":
			if _, err := io.WriteString(conn, "354 go ahead\r\n"); err != nil {
				return
			}
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				mail.data += strings.TrimPrefix(line, ".")
			}
			m.mu.Lock()
			m.mails = append(m.mails, mail)
			m.mu.Unlock()
			reply = "250 taken"
		case "QUIT":
			_, _ = io.WriteString(conn, "221 bye\r\n")
			return
		default:
			reply = "500 what?"
		}
	}
}

// take returns what came since it was last asked.
func (m *mailbox) take() []received {
	m.mu.Lock()
	defer m.mu.Unlock()
	mails := m.mails
	m.mails = nil
	return mails
}

func emailSend(t *testing.T) check {
	box := openMailbox(t)
	connections := []config.Connection{{Name: "courrier", Kind: "smtp", Settings: map[string]any{
		"host": "127.0.0.1", "port": int64(box.Addr().(*net.TCPAddr).Port), "tls": "none", "from": "compta@example.fr",
	}}}
	send := func(t *testing.T, value string, with map[string]any) ([]received, store.Outcome) {
		out := attempt(t, config.Step{Use: "email/send", With: with}, connections, value)
		mails := box.take()
		if len(mails) != 0 != succeeded(out) {
			t.Errorf("%d mails were sent: %s %.200s", len(mails), out.Verdict, out.Message)
		}
		return mails, out
	}
	return func(t *testing.T, name, value string) {
		// As an address it is refused, whatever it is: none of the values is one.
		_, out := send(t, value, map[string]any{"to": "${{ event.data.v }}", "subject": "s", "text": "t"})
		refused(t, out)

		mails, out := send(t, value, map[string]any{"to": "a@example.fr", "subject": "s ${{ event.data.v }}", "text": "t ${{ event.data.v }}",
			"html": `<a href="${{ event.data.v }}" title="${{ event.data.v }}">${{ event.data.v }}</a>{{ . }}`})
		if len(mails) == 0 {
			if name != "long" || out.Reason != core.ReasonExpression {
				t.Errorf("%s %.200s", out.Verdict, out.Message) // three times a long value passes what one text may hold
			}
			return
		}
		if len(mails) != 1 || len(mails[0].to) != 1 || mails[0].to[0] != "TO:<a@example.fr>" {
			t.Fatalf("%.300v", mails)
		}
		header, subject, text, html := readMail(t, mails[0].data)
		if header.Get("Bcc") != "" || len(header) > 10 || strings.ContainsAny(subject, "\r\n\x00") || !strings.HasPrefix(subject, "s") {
			t.Errorf("the headers became %.300v", header)
		}
		if lines(text) != lines("t "+value) {
			t.Errorf("the text became %.200q", text)
		}
		if strings.Contains(html, "<script") || strings.Contains(html, `" onclick`) || strings.Contains(html, `href="javascript:`) ||
			strings.Count(html, "<") != 2 || !strings.HasSuffix(strings.TrimSpace(html), "</a>{{ . }}") {
			t.Errorf("the HTML became %.300q", html)
		}
	}
}

// lines is a text with one way to end a line, and none at the end.
func lines(text string) string {
	return strings.TrimRight(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
}

func readMail(t *testing.T, data string) (header netmail.Header, subject, text, html string) {
	t.Helper()
	msg, err := netmail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if subject, err = new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	for reader := multipart.NewReader(msg.Body, params["boundary"]); ; {
		part, err := reader.NextPart() // decodes quoted-printable
		if errors.Is(err, io.EOF) {
			return msg.Header, subject, text, html
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/html") {
			html = string(body)
		} else {
			text = string(body)
		}
	}
}
