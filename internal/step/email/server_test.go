package email

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// post is a mail server that is as strict as RFC 5321 lets it be: commands in their order and in their
// grammar, lines ended by CR LF and no longer than 1,000 bytes, no password before TLS. What breaks the
// rules is kept, for the test to fail on.
type post struct {
	t        *testing.T
	listener net.Listener
	tls      *tls.Config
	implicit bool // TLS from the first byte
	plain    bool // no TLS at all
	user     string
	pass     string
	// replies replace what the server would say to a verb: "RCPT": "550 5.1.1 no such user"; "." is the
	// end of the message. "" closes the connection without a word.
	replies map[string]string

	mu       sync.Mutex
	mails    []received
	offences []string
}

type received struct {
	from string
	to   []string
	data string
	tls  bool
	user string
}

func servePost(t *testing.T, configure func(*post)) *post {
	t.Helper()
	borrowed := httptest.NewTLSServer(nil) // for its certificate of 127.0.0.1
	t.Cleanup(borrowed.Close)
	p := &post{t: t, tls: &tls.Config{Certificates: borrowed.TLS.Certificates}, replies: map[string]string{}}
	if configure != nil {
		configure(p)
	}
	var err error
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.listener.Close() })
	go func() {
		for {
			conn, err := p.listener.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	return p
}

func (p *post) received() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, offence := range p.offences {
		p.t.Errorf("the server was told something odd: %s", offence)
	}
	return p.mails
}

func (p *post) serve(conn net.Conn) {
	if p.implicit {
		conn = tls.Server(conn, p.tls)
	}
	s := &session{post: p, conn: conn, in: bufio.NewReader(conn), secure: p.implicit}
	defer func() { _ = s.conn.Close() }()
	if !s.say("220 mail.test ESMTP") {
		return
	}
	for s.next() {
	}
}

type session struct {
	post    *post
	conn    net.Conn
	in      *bufio.Reader
	secure  bool
	greeted bool
	mail    received
}

func (s *session) offend(format string, args ...any) {
	s.post.mu.Lock()
	defer s.post.mu.Unlock()
	s.post.offences = append(s.post.offences, fmt.Sprintf(format, args...))
}

func (s *session) say(line string) bool {
	if line == "" {
		return false
	}
	_, err := io.WriteString(s.conn, line+"\r\n")
	return err == nil
}

// line reads up to CR LF, and nothing else ends a line.
func (s *session) line() (string, bool) {
	text, err := s.in.ReadString('\n')
	if err != nil {
		return "", false
	}
	if !strings.HasSuffix(text, "\r\n") || strings.ContainsAny(text[:len(text)-2], "\r\n") {
		s.offend("a line without CR LF: %q", text)
	}
	if len(text) > 1000 {
		s.offend("a line of %d bytes", len(text))
	}
	return strings.TrimRight(text, "\r\n"), true
}

func (s *session) next() bool {
	text, ok := s.line()
	if !ok {
		return false
	}
	verb, rest, _ := strings.Cut(text, " ")
	verb = strings.ToUpper(verb)
	if reply, ok := s.post.replies[verb]; ok {
		return s.say(reply)
	}
	switch verb {
	case "EHLO":
		return s.hello()
	case "STARTTLS":
		return s.startTLS()
	case "AUTH":
		return s.auth(rest)
	case "MAIL":
		return s.envelope(rest)
	case "RCPT":
		return s.recipient(rest)
	case "DATA":
		return s.data()
	case "RSET":
		s.mail = received{}
		return s.say("250 2.0.0 ok")
	case "NOOP":
		return s.say("250 2.0.0 ok")
	case "QUIT":
		s.say("221 2.0.0 bye")
		return false
	}
	s.offend("an unknown command: %q", text)
	return s.say("500 5.5.2 what?")
}

func (s *session) hello() bool {
	s.greeted = true
	lines := []string{"mail.test", "8BITMIME", "ENHANCEDSTATUSCODES"}
	if !s.secure && !s.post.plain {
		lines = append(lines, "STARTTLS")
	}
	if s.post.user != "" && s.secure {
		lines = append(lines, "AUTH PLAIN LOGIN")
	}
	for i, line := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		if !s.say("250" + sep + line) {
			return false
		}
	}
	return true
}

func (s *session) startTLS() bool {
	if s.secure || !s.greeted {
		s.offend("STARTTLS out of order")
		return s.say("503 5.5.1 no")
	}
	if !s.say("220 2.0.0 go ahead") {
		return false
	}
	s.conn = tls.Server(s.conn, s.post.tls)
	s.in, s.secure, s.greeted = bufio.NewReader(s.conn), true, false
	return true
}

func (s *session) auth(rest string) bool {
	if !s.secure {
		s.offend("a password without TLS")
	}
	mechanism, encoded, _ := strings.Cut(rest, " ")
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if mechanism != "PLAIN" || err != nil || string(plain) != "\x00"+s.post.user+"\x00"+s.post.pass {
		return s.say("535 5.7.8 wrong user or password")
	}
	s.mail.user = s.post.user
	return s.say("235 2.7.0 welcome")
}

func (s *session) envelope(rest string) bool {
	user := s.mail.user
	address, ok := strings.CutPrefix(rest, "FROM:<")
	end := strings.IndexByte(address, '>')
	if !ok || end < 0 || !s.greeted || s.post.user != "" && user == "" {
		s.offend("MAIL %q out of order or grammar", rest)
		return s.say("503 5.5.1 no")
	}
	s.mail = received{from: address[:end], tls: s.secure, user: user}
	return s.say("250 2.1.0 ok")
}

func (s *session) recipient(rest string) bool {
	address, ok := strings.CutPrefix(rest, "TO:<")
	end := strings.IndexByte(address, '>')
	if !ok || end < 0 || s.mail.from == "" {
		s.offend("RCPT %q out of order or grammar", rest)
		return s.say("503 5.5.1 no")
	}
	s.mail.to = append(s.mail.to, address[:end])
	return s.say("250 2.1.5 ok")
}

func (s *session) data() bool {
	if len(s.mail.to) == 0 {
		s.offend("DATA without a recipient")
		return s.say("503 5.5.1 no")
	}
	if !s.say("354 go ahead") {
		return false
	}
	var text strings.Builder
	for {
		line, ok := s.line()
		if !ok {
			return false
		}
		if line == "." {
			break
		}
		text.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
	s.mail.data = text.String()
	reply, said := s.post.replies["."]
	if !said || strings.HasPrefix(reply, "2") || reply == "" {
		s.post.mu.Lock()
		s.post.mails = append(s.post.mails, s.mail)
		s.post.mu.Unlock()
	}
	s.mail = received{user: s.mail.user}
	if said {
		return s.say(reply)
	}
	return s.say("250 2.0.0 taken")
}
