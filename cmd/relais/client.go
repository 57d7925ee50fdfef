package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"relais/internal/api"
	"relais/internal/app"
	"relais/internal/core"
)

// client speaks to the control API, wherever it is.
type client struct {
	ctx   context.Context
	http  http.Client
	user  string
	lang  language
	close func() error
}

// connect returns a client of the server that runs on the data folder, or of the API on the folder
// itself where none runs. Its close must be called.
func (p *program) connect() (*client, error) {
	c := &client{ctx: p.ctx, user: userName(), lang: p.lang, close: func() error { return nil }}
	transport, err := api.Dial(p.flags.Data)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockPatience); ; {
		c.http.Transport = transport
		err := p.probe(c)
		if err == nil || !isAbsent(err) {
			var refused *problem
			if err == nil || errors.As(err, &refused) {
				c.close = func() error { transport.CloseIdleConnections(); return nil }
				return c, nil
			}
			return nil, &failure{code: exitAway, text: p.lang.say("socket_silent", filepath.Join(p.flags.Data, api.SocketName), err)}
		}
		// The caller closes what was opened.
		stopped, err := app.Open(p.ctx, p.appOptions())
		if err == nil {
			c.http.Transport, c.close = direct{stopped}, stopped.Close
			return c, nil
		}
		// A server that is starting, or stopping, holds the lock for a moment without its socket.
		if core.CodeOf(err) != core.CodeConflict || time.Now().After(deadline) {
			return nil, p.openFailure(err)
		}
		select {
		case <-time.After(lockPatience / 10):
		case <-p.ctx.Done():
			return nil, p.ctx.Err()
		}
	}
}

const (
	lockPatience = time.Second
	// probePatience is how long a server may take to say that it is there.
	probePatience = 3 * time.Second
)

// probe asks whether a server answers. Without the bound, one that hangs would hang whoever asks.
func (p *program) probe(c *client) error {
	ctx, cancel := context.WithTimeout(p.ctx, probePatience)
	defer cancel()
	c.ctx = ctx
	defer func() { c.ctx = p.ctx }()
	return c.get("/ready", nil, nil)
}

func (p *program) openFailure(err error) error {
	switch core.CodeOf(err) {
	case core.CodeConflict:
		return &failure{exitAway, p.lang.answer(err.Error()), p.lang.say("hint_locked", filepath.Join(p.flags.Data, api.SocketName))}
	case core.CodeNotFound:
		return &failure{exitAway, p.lang.say("no_data", p.flags.Data), p.lang.say("hint_no_data")}
	default:
		return &failure{code: exitAway, text: err.Error()}
	}
}

// isAbsent tells that no process listens on the socket.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

func (p *program) appOptions() app.Options {
	return app.Options{Config: p.flags.Config, Data: p.flags.Data, Version: p.version, Env: p.env, Log: p.stderr}
}

// userName is who the audit says asked.
func userName() string {
	if u, err := user.Current(); err == nil {
		// Windows puts the domain before.
		return u.Username[strings.LastIndexByte(u.Username, '\\')+1:]
	}
	return os.Getenv("USER")
}

// problem is a refusal of the API.
type problem struct{ huma.ErrorModel }

// Error says what is wrong, with the fields where they add something.
func (e *problem) Error() string {
	lines := make([]string, 0, 1+len(e.Errors))
	if e.Detail != "validation failed" {
		lines = append(lines, e.Detail)
	}
	for _, d := range e.Errors {
		if d.Message != e.Detail {
			_, field, _ := strings.Cut(d.Location, ".")
			lines = append(lines, strings.TrimPrefix(field+": ", ": ")+d.Message)
		}
	}
	return strings.Join(lines, "\n")
}

func (c *client) get(path string, query url.Values, out any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(http.MethodGet, path, nil, out)
}

func (c *client) post(path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.do(http.MethodPost, path, body, out)
}

func (c *client) do(method, path string, body []byte, out any) error {
	if path[0] == '/' && path != "/ready" {
		path = api.Prefix + path
	}
	req, err := http.NewRequestWithContext(c.ctx, method, "http://relais"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(api.UserHeader, c.user)
	answer, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if answer.StatusCode >= 300 {
		refused := &problem{}
		if err := json.Unmarshal(text, &refused.ErrorModel); err != nil || refused.Detail == "" {
			refused.Detail = strings.TrimSpace(string(text))
		}
		refused.Status = answer.StatusCode
		return refused
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("the server's answer can't be read; is it of another version? %w", err)
	}
	return nil
}

// direct is a transport that calls a handler in this process.
type direct struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	w := &answer{header: http.Header{}, status: http.StatusOK}
	incoming := req.Clone(req.Context())
	incoming.RequestURI = req.URL.RequestURI()
	if incoming.Body == nil {
		incoming.Body = http.NoBody
	}
	d.handler.ServeHTTP(w, incoming)
	return &http.Response{
		StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), Request: req,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(w.body.Len()),
	}, nil
}

// answer keeps a whole answer in memory: lists are pages.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// failureOf chooses the exit code and the hint of an error.
func (p *program) failureOf(err error) *failure {
	if errors.Is(err, context.Canceled) {
		return &failure{code: exitFailed, text: p.lang.say("interrupted")}
	}
	f := &failure{code: exitFailed, text: p.lang.answer(err.Error())}
	var refused *problem
	if errors.As(err, &refused) {
		switch refused.Status {
		case http.StatusNotFound:
			f.code = exitNotFound
		case http.StatusServiceUnavailable:
			f.code, f.hint = exitAway, p.lang.say("hint_again")
		}
		return f
	}
	switch core.CodeOf(err) {
	case core.CodeNotFound:
		f.code = exitNotFound
	case core.CodeUnavailable, core.CodeFull:
		f.code = exitAway
	}
	return f
}
