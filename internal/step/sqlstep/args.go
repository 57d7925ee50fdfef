package sqlstep

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// bind makes a list of values what drivers take: nil, string, bool, int64 and float64. Lists and objects
// become JSON text.
func bind(value any) ([]any, error) {
	if value == nil {
		return nil, nil
	}
	list, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("args: %w", errArgs)
	}
	out := make([]any, len(list))
	for i, item := range list {
		bound, err := bindOne(item)
		if err != nil {
			return nil, fmt.Errorf("args[%d]: %w", i, err)
		}
		out[i] = bound
	}
	return out, nil
}

func bindOne(value any) (any, error) {
	switch v := value.(type) {
	case nil, bool, int64:
		return v, nil
	case string:
		return v, nil
	case int:
		return int64(v), nil
	case uint64:
		if v > math.MaxInt64 {
			return fmt.Sprint(v), nil
		}
		return int64(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errors.New("it is not a number")
		}
		return v, nil
	case []any, map[string]any:
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(v); err != nil {
			return nil, errors.New("it can't be written as JSON")
		}
		return strings.TrimSuffix(out.String(), "\n"), nil
	}
	return nil, errors.New("it must be a text, a number, a boolean, null, a list or an object")
}

// plainText refuses what a database's text can't hold, with nul where that may not be.
func plainText(args []any, nul bool, name string) error {
	for i, arg := range args {
		text, ok := arg.(string)
		switch {
		case !ok:
		case !utf8.ValidString(text):
			return fmt.Errorf("args[%d]: it is not text", i)
		case !nul && strings.Contains(text, "\x00"):
			return fmt.Errorf("args[%d]: %s's text can't hold the character NUL", i, name)
		}
	}
	return nil
}
