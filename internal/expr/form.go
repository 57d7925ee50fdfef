package expr

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// MaxFields bounds the fields of a form.
const MaxFields = 10_000

// DecodeForm reads an application/x-www-form-urlencoded text: a field that stands once is a string, one
// that is repeated is a list of strings in their order. A bad escape is an error; ";" is a character as
// any other; and what is not UTF-8 (older payment platforms write ISO 8859-1) reads as U+FFFD, so that
// the fields beside it can be used.
func DecodeForm(data []byte) (map[string]any, error) {
	form := map[string]any{}
	fields := 0
	for pair := range strings.SplitSeq(string(data), "&") {
		if pair == "" {
			continue
		}
		if fields++; fields > MaxFields {
			return nil, fmt.Errorf("the form has more than %d fields", MaxFields)
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
	return validText(name), validText(value), nil
}
