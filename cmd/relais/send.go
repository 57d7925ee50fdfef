package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"relais/internal/app"
	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/source"
)

// sent is what became of a webhook that was sent.
type sent struct {
	URL    string  `json:"url"`
	Status int     `json:"status"`
	MS     float64 `json:"ms"`
	Answer string  `json:"answer"`
}

// Run signs and sends a webhook.
func (s *sendCommand) Run(p *program) error {
	cfg, err := app.Check(p.appOptions())
	if err != nil {
		return p.configFailure(err)
	}
	from, err := p.source(cfg, s.Source)
	if err != nil {
		return err
	}
	if s.Type == "" && s.File == "" {
		return p.samples(from)
	}
	message, err := s.message(p, from)
	if err != nil {
		return err
	}
	target, err := s.target(cfg, from)
	if err != nil {
		return err
	}
	message.URL = target.String()
	if cfg.PublicURL != "" {
		// Where the address is signed, it is the one that the provider knows.
		message.URL = strings.TrimSuffix(cfg.PublicURL, "/") + target.RequestURI()
	}
	message.Query = target.RawQuery
	if err := from.Sign(message); err != nil {
		return err
	}
	if s.URL == "" {
		target = from.Called(&url.URL{Scheme: target.Scheme, Host: target.Host}, message)
	}
	target.RawQuery = message.Query
	out, err := p.post(target.String(), message)
	if err != nil {
		return err
	}
	return p.sent(s, out)
}

func (p *program) source(cfg *config.Config, name string) (*source.Source, error) {
	known := make([]string, len(cfg.Sources))
	for i, s := range cfg.Sources {
		if s.Name == name {
			return source.Compile(s, source.Beside(cfg.File))
		}
		known[i] = s.Name
	}
	hint := p.lang.say("hint_sources", strings.Join(known, ", "))
	if near := core.Nearest(name, known); near != "" {
		hint = p.lang.say("did_you_mean", near)
	}
	return nil, &failure{exitNotFound, p.lang.say("no_source", name, p.flags.Config), hint}
}

func (p *program) samples(from *source.Source) error {
	if len(from.Events()) == 0 {
		p.say("no_samples")
		return nil
	}
	rows := make([][]string, 0, len(from.Events()))
	for _, e := range from.Events() {
		rows = append(rows, []string{e.Type, e.Doc})
	}
	return p.table("head_samples", rows)
}

// message is the sample of the type, or the bytes of the file in the sample's clothes.
func (s *sendCommand) message(p *program, from *source.Source) (*source.Request, error) {
	now := p.now()
	message, err := from.Sample(s.Type, s.ID, strconv.FormatInt(now.UnixNano(), 10), now)
	if s.File == "" {
		if err != nil {
			return nil, &failure{exitFailed, err.Error(), p.lang.say("hint_samples", s.Source)}
		}
	} else {
		body, readErr := s.read(p)
		if readErr != nil {
			return nil, readErr
		}
		if err != nil {
			message = &source.Request{Method: http.MethodPost, Header: http.Header{"Content-Type": {contentType(body)}}, Now: now}
		}
		message.Body = body
		if message.Header.Get("Content-Type") == "" || err == nil {
			message.Header.Set("Content-Type", contentType(body))
		}
	}
	for _, line := range s.Header {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, &failure{code: exitUsage, text: p.lang.say("bad_header", line)}
		}
		message.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return message, nil
}

func (s *sendCommand) read(p *program) ([]byte, error) {
	if s.File == "-" {
		return io.ReadAll(p.stdin)
	}
	return os.ReadFile(s.File)
}

// contentType guesses what a file is by how it begins.
func contentType(body []byte) string {
	body = bytes.TrimLeft(body, " \t\r\n")
	switch {
	case len(body) > 0 && (body[0] == '{' || body[0] == '['):
		return "application/json"
	case bytes.IndexByte(body, '=') > 0 && !bytes.ContainsAny(body, " \r\n<"):
		return "application/x-www-form-urlencoded"
	default:
		return "application/octet-stream"
	}
}

// target is where the webhook goes: the address given, or the server of this configuration.
func (s *sendCommand) target(cfg *config.Config, from *source.Source) (*url.URL, error) {
	if s.URL != "" {
		u, err := url.Parse(s.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, core.Errorf(core.CodeInvalid, "%q is not an address: it begins with http:// or https://", s.URL)
		}
		return u, nil
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return from.Called(&url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}, &source.Request{}), nil
}

const sendTimeout = 30 * time.Second

func (p *program) post(address string, message *source.Request) (*sent, error) {
	req, err := http.NewRequestWithContext(p.ctx, message.Method, address, bytes.NewReader(message.Body))
	if err != nil {
		return nil, err
	}
	req.Header = message.Header
	to := http.Client{Timeout: sendTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	began := time.Now()
	answer, err := to.Do(req)
	if err != nil {
		var cause *url.Error
		if errors.As(err, &cause) {
			err = cause.Err // the address is said, without what a signature put into it
		}
		shown, _, _ := strings.Cut(address, "?")
		return nil, &failure{exitAway, p.lang.say("not_sent", shown, err), p.lang.say("hint_not_sent")}
	}
	took := time.Since(began)
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	shown, _, _ := strings.Cut(address, "?")
	return &sent{URL: shown, Status: answer.StatusCode, MS: float64(took.Microseconds()) / 1000, Answer: string(text)}, nil
}

func (p *program) sent(s *sendCommand, out *sent) error {
	if s.JSON {
		if err := p.printJSON(out); err != nil {
			return err
		}
	} else {
		p.say("sent", out.Status, http.StatusText(out.Status), p.lang.decimal(out.MS), out.URL)
		if text := strings.TrimSpace(out.Answer); text != "" {
			p.printf("%s\n", printableLines(text))
		}
	}
	if out.Status >= 300 {
		return &failure{code: exitFailed, hint: p.lang.say("hint_refused", s.Source)}
	}
	return nil
}
