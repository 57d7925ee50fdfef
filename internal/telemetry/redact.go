package telemetry

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

const secretText = "[secret]"

// redactor drops what has no place in a log before it reaches the handler that writes. It is a net under
// code that must not log such things in the first place.
type redactor struct{ slog.Handler }

func (r redactor) Handle(ctx context.Context, record slog.Record) error {
	private := false
	record.Attrs(func(a slog.Attr) bool {
		private = !isPlain(a)
		return !private
	})
	if !private {
		return r.Handler.Handle(ctx, record)
	}
	clean := slog.NewRecord(record.Time, record.Level, record.Message, record.PC)
	record.Attrs(func(a slog.Attr) bool {
		if a, ok := redact(a); ok {
			clean.AddAttrs(a)
		}
		return true
	})
	return r.Handler.Handle(ctx, clean)
}

func (r redactor) WithAttrs(attrs []slog.Attr) slog.Handler {
	return redactor{r.Handler.WithAttrs(redactAll(attrs))}
}

func (r redactor) WithGroup(name string) slog.Handler { return redactor{r.Handler.WithGroup(name)} }

func redactAll(attrs []slog.Attr) []slog.Attr {
	kept := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		if a, ok := redact(a); ok {
			kept = append(kept, a)
		}
	}
	return kept
}

// isPlain tells whether redact would leave the attribute as it is, at a glance: nearly all are.
func isPlain(a slog.Attr) bool {
	switch a.Value.Kind() {
	case slog.KindAny, slog.KindGroup, slog.KindLogValuer:
		return false
	}
	return !isPrivate(a.Key)
}

// redact returns the attribute as it may be written, or false when it is dropped.
func redact(a slog.Attr) (slog.Attr, bool) {
	if isPrivate(a.Key) {
		return a, false
	}
	a.Value = a.Value.Resolve()
	if a.Value.Kind() == slog.KindGroup {
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(redactAll(a.Value.Group())...)}, true
	}
	switch v := a.Value.Any().(type) {
	case []byte, json.RawMessage, http.Header, url.Values, *http.Request, *http.Response:
		return a, false // a body, a header, or what holds them
	case *url.URL:
		// The user part and the query are where URLs carry credentials.
		shown := url.URL{Scheme: v.Scheme, Host: v.Host, Path: v.Path}
		a.Value = slog.StringValue(shown.String())
	}
	return a, true
}

// privateWords mark an attribute's name as one that holds a secret or a body, wherever they stand in it.
var privateWords = []string{"secret", "password", "passwd", "passphrase", "token", "authorization", "cookie", "credential", "private", "body", "payload"}

// privateNames do so as the whole name, or as its last word: "key" alone is also an effect's key.
var privateNames = []string{"apikey", "masterkey", "signingkey", "accesskey", "signature", "headers", "header"}

// withoutMarks makes api_key and Api-Key one word.
var withoutMarks = strings.NewReplacer("_", "", "-", "", ".", "")

// judged keeps isPrivate's answers. Attributes' names stand in the program: there are few.
var judged sync.Map

func isPrivate(name string) bool {
	if known, ok := judged.Load(name); ok {
		return known.(bool)
	}
	private := soundsPrivate(name)
	judged.Store(strings.Clone(name), private)
	return private
}

func soundsPrivate(name string) bool {
	plain := withoutMarks.Replace(strings.ToLower(name))
	// A size says nothing of what is inside.
	if strings.HasSuffix(plain, "bytes") || strings.HasSuffix(plain, "size") {
		return false
	}
	for _, word := range privateWords {
		if strings.Contains(plain, word) {
			return true
		}
	}
	for _, word := range privateNames {
		if strings.HasSuffix(plain, word) {
			return true
		}
	}
	return false
}
