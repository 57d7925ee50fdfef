package step

import (
	"errors"
	"net/url"
	"strings"
)

// Address reads where something is called over HTTP; nil where the text doesn't say. It holds no user: a
// password would be shown wherever the address is.
func Address(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil
	}
	return u
}

// CutPassword tells whether an address ends in the middle of its password, at a ? that isn't escaped: what should be a
// parameter's name is the rest of it then, and may stand in no message.
func CutPassword(u *url.URL) bool { return u.User == nil && strings.Contains(u.RawQuery, "@") }

// BaseURL reads the setting url of a system whose calls have paths of their own below it. example is such an
// address, for the message.
func BaseURL(settings map[string]any, example string) (*url.URL, error) {
	text, _ := settings["url"].(string)
	u := Address(text)
	if u == nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("url is not an address such as " + example)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

// Hosts is what ConnectionKind.Hosts says of an address; none where it couldn't be read.
func Hosts(u *url.URL, err error) []string {
	if err != nil || u.Host == "" {
		return nil
	}
	return []string{u.Scheme + "://" + u.Host}
}
