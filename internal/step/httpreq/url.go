package httpreq

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"relais/internal/expr"
)

const maxURL = 8 << 10

// checkURL refuses what the file alone shows to be wrong.
func checkURL(value any) error {
	text, ok := value.(string)
	if !ok {
		return errors.New("it must be a text")
	}
	_, err := literalOrigin(text)
	return err
}

// literalOrigin returns scheme://host:port of an address whose host stands literally in the file.
func literalOrigin(text string) (string, error) {
	prefix := expr.LiteralPrefix(text)
	scheme, rest, ok := strings.Cut(prefix, "://")
	if !ok || scheme != "http" && scheme != "https" {
		return "", errors.New("it must begin with http:// or https:// and the host, written in the file: no ${{ }} before the path")
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#\\"); end >= 0 {
		authority = rest[:end]
	} else if expr.HasExpressions(text) {
		return "", errors.New("no ${{ }} may stand in scheme, host or port: write a / before it")
	}
	if strings.Contains(authority, "@") {
		return "", errors.New("credentials don't belong in an address: send them in headers")
	}
	u, err := url.Parse(scheme + "://" + authority)
	if err != nil || u.Hostname() == "" {
		return "", fmt.Errorf("%q is not a host", authority)
	}
	if strings.Contains(text, "#") && !strings.Contains(text, "${{") {
		return "", errors.New("a fragment (#) is never sent: leave it out")
	}
	return scheme + "://" + authority, nil
}

func hosts(with map[string]any) []string {
	text, _ := with["url"].(string)
	origin, err := literalOrigin(text)
	if err != nil {
		return nil
	}
	return []string{origin}
}

// encodeURL writes an address. An inserted value stays inside the one path segment or query value where
// it stands: whatever could end it is percent-encoded, and what a server might still read as a way to
// another path is refused.
func encodeURL(pieces []expr.Piece) (string, error) {
	var out strings.Builder
	for _, piece := range pieces {
		text := piece.Text
		if piece.Inserted {
			so := out.String()
			switch {
			case strings.Contains(so, "#"):
				return "", errors.New("no value may be inserted in a fragment")
			case strings.Contains(so, "?"):
				text = url.QueryEscape(text)
			default:
				if !inPath(so) {
					return "", errors.New("no value may be inserted in scheme, host or port")
				}
				if err := pathValue(text); err != nil {
					return "", err
				}
				text = url.PathEscape(text)
			}
		}
		if out.Len()+len(text) > maxURL {
			return "", errors.New("the address is longer than 8 KiB")
		}
		out.WriteString(text)
	}
	u, err := url.Parse(out.String())
	if err != nil || u.Host == "" {
		return "", errors.New("it is not an address")
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		// A literal dot next to an inserted one would make the segment that neither is alone.
		if segment == "." || segment == ".." {
			return "", errors.New("a path may not hold . or .. as a part")
		}
	}
	return out.String(), nil
}

func inPath(so string) bool {
	_, rest, ok := strings.Cut(so, "://")
	return ok && strings.Contains(rest, "/")
}

func pathValue(text string) error {
	switch {
	case text == "":
		return errors.New("an empty value in a path would name another resource")
	case strings.ContainsAny(text, `/\`), strings.Contains(text, ".."):
		return errors.New(`a value in a path may not hold a slash, a backslash or two dots`)
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return errors.New("a value in a path may not hold control characters")
		}
	}
	return nil
}
