package httpreq

import (
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"relais/internal/expr"
	"relais/internal/step"
)

// What of an answer is kept for later steps: the whole result has 64 KiB.
const (
	maxBody    = 32 << 10
	maxHeaders = 8 << 10
)

func result(resp *http.Response, body []byte) step.Result {
	out := step.Result{"status": int64(resp.StatusCode), "headers": keptHeaders(resp.Header)}
	if len(body) > maxBody {
		out["truncated"] = true
		return out
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // "" is not JSON
	if kind == "application/json" || strings.HasSuffix(kind, "+json") {
		if value, err := expr.DecodeJSON(body); err == nil {
			out["json"] = value
			return out
		}
	}
	if utf8.Valid(body) {
		out["body"] = string(body)
	}
	return out
}

// keptHeaders leaves out cookies: they are credentials, and nobody needs them in an expression.
func keptHeaders(header http.Header) map[string]any {
	out := map[string]any{}
	left := maxHeaders
	for name, list := range header {
		text := strings.ToValidUTF8(strings.Join(list, ", "), "\uFFFD")
		if name == "Set-Cookie" || len(name)+len(text) > left {
			continue
		}
		left -= len(name) + len(text)
		out[strings.ToLower(name)] = text
	}
	return out
}

func checkStatuses(value any) error {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, item := range list {
		text, err := step.Text(item)
		if err != nil {
			if n, isInt := item.(int); isInt {
				text, err = strconv.Itoa(n), nil
			} else if n, isUint := item.(uint64); isUint {
				text, err = strconv.FormatUint(n, 10), nil
			}
		}
		if err != nil || len(text) != 3 || !isStatus(text) {
			return errors.New("a status is written as 200, or as 2xx for all of them")
		}
	}
	return nil
}

func isStatus(text string) bool {
	if text[0] < '2' || text[0] > '5' || text[0] == '3' {
		return false // redirects are never a success here
	}
	_, err := strconv.ParseUint(text[1:], 10, 8)
	return text[1:] == "xx" || err == nil
}

func expects(list []any, status int) bool {
	text := strconv.Itoa(status)
	for _, item := range list {
		if want, _ := item.(string); want == text || want == text[:1]+"xx" {
			return true
		}
	}
	return false
}
