package expr

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxFields bounds the fields of a form.
const maxFields = 10_000

// DecodeForm reads an application/x-www-form-urlencoded text: a field that stands once is a string, one
// that is repeated is a list of strings in their order. A bad escape, a ";" between fields, and text
// that is not UTF-8 are errors.
func DecodeForm(data []byte) (map[string]any, error) {
	form := map[string]any{}
	fields := 0
	for pair := range strings.SplitSeq(string(data), "&") {
		if pair == "" {
			continue
		}
		if fields++; fields > maxFields {
			return nil, fmt.Errorf("the form has more than %d fields", maxFields)
		}
		if strings.Contains(pair, ";") {
			return nil, errors.New(`the form separates fields with ";"`)
		}
		name, value, err := decodePair(pair)
		if err != nil {
			return nil, err
		}
		switch before := form[name].(type) {
		case nil:
			form[name] = value
		case string:
			form[name] = []any{before, value}
		case []any:
			form[name] = append(before, value)
		}
	}
	return form, nil
}

func decodePair(pair string) (name, value string, err error) {
	name, value, _ = strings.Cut(pair, "=")
	if name, err = url.QueryUnescape(name); err == nil {
		value, err = url.QueryUnescape(value)
	}
	if err != nil {
		return "", "", errors.New("the form has a bad % escape")
	}
	if !utf8.ValidString(name) || !utf8.ValidString(value) {
		return "", "", errors.New("the form is not valid UTF-8")
	}
	return name, value, nil
}
