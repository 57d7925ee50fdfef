package httpreq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"relais/internal/step"
)

// ownHeaders are those that net/http or this step writes: a second one would make two receivers read two
// different requests.
var ownHeaders = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Te", "Upgrade",
	"Idempotency-Key", "Proxy-Authorization", "Keep-Alive"}

func build(ctx context.Context, call *step.Call) (*http.Request, error) {
	method, _ := call.With["method"].(string)
	address, _ := call.With["url"].(string)
	target, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("url: it is not an address")
	}
	if more, ok := call.With["query"].(map[string]any); ok {
		added, err := values("query", more)
		if err != nil {
			return nil, err
		}
		target.RawQuery = strings.Trim(target.RawQuery+"&"+added.Encode(), "&")
	}
	body, contentType, err := payload(call.With)
	if err != nil {
		return nil, err
	}
	if body != nil && (method == http.MethodGet || method == http.MethodHead) {
		return nil, fmt.Errorf("a %s request has no body", method)
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body) // net/http can read it again where it may send again
	}
	req, err := http.NewRequestWithContext(ctx, method, "", reader)
	if err != nil {
		return nil, fmt.Errorf("method: %w", err)
	}
	// The address is parsed already. A port that is written and empty is none, as http.NewRequest has it: a receiver
	// may not know itself by such a Host.
	target.Host = strings.TrimSuffix(target.Host, ":")
	req.URL, req.Host = target, target.Host
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("User-Agent", "relais")
	given, _ := call.With["headers"].(map[string]any)
	if err := setHeaders(req.Header, given); err != nil {
		return nil, err
	}
	req.Header.Set("Idempotency-Key", call.IdempotencyKey)
	return req, nil
}

func setHeaders(header http.Header, given map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if !isToken(name) {
			return fmt.Errorf("headers: %q is not a header's name", name)
		}
		if slices.Contains(ownHeaders, canonical) {
			return fmt.Errorf("headers: %s is written by relais", canonical)
		}
		text, err := step.Text(given[name])
		if err != nil {
			return fmt.Errorf("headers.%s: %w", name, err)
		}
		for i := range len(text) {
			if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
				return fmt.Errorf("headers.%s: a header's value may not hold line breaks or control characters", name)
			}
		}
		if len(text) > 8<<10 {
			return fmt.Errorf("headers.%s: a header's value may not be longer than 8 KiB", name)
		}
		header.Set(name, text)
	}
	return nil
}

// isToken follows RFC 9110, section 5.6.2.
func isToken(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}

func payload(with map[string]any) (body []byte, contentType string, err error) {
	given := 0
	for _, name := range []string{"json", "form", "body"} {
		if _, ok := with[name]; ok {
			given++
		}
	}
	if given > 1 {
		return nil, "", errors.New("only one of json, form and body may be given")
	}
	if value, ok := with["json"]; ok {
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(value); err != nil {
			return nil, "", errors.New("json: the value can't be written as JSON")
		}
		return bytes.TrimSuffix(out.Bytes(), []byte("\n")), "application/json", nil
	}
	if fields, ok := with["form"].(map[string]any); ok {
		encoded, err := values("form", fields)
		if err != nil {
			return nil, "", err
		}
		return []byte(encoded.Encode()), "application/x-www-form-urlencoded", nil
	}
	if text, ok := with["body"].(string); ok {
		return []byte(text), "text/plain; charset=utf-8", nil
	}
	return nil, "", nil
}

func values(param string, fields map[string]any) (url.Values, error) {
	out := url.Values{}
	for name, value := range fields {
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, item := range list {
			text, err := step.Text(item)
			if err != nil {
				return nil, fmt.Errorf("%s.%s: %w", param, name, err)
			}
			out.Add(name, text)
		}
	}
	return out, nil
}
