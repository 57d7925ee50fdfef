package step

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"relais/internal/config"
)

// convert makes a value what its parameter must be, or says why it can't be. The value is never shown:
// it may be a customer's data, and the message is kept.
func convert(p *Param, value any) (any, error) {
	switch p.Type {
	case TypeString:
		if secret, ok := value.(config.Secret); ok && p.Secret {
			return secret, nil
		}
		text, err := Text(value)
		if err != nil {
			return nil, err
		}
		if p.Secret {
			return config.NewSecret(text), nil
		}
		if len(p.Enum) > 0 && !slices.Contains(p.Enum, text) {
			return nil, fmt.Errorf("it must be one of %s", strings.Join(p.Enum, ", "))
		}
		return text, nil
	case TypeInt:
		return toInt(value)
	case TypeBool:
		return toBool(value)
	case TypeDuration:
		return toDuration(value)
	case TypeList:
		return toList(value)
	case TypeMap:
		if m, ok := value.(map[string]any); ok {
			return m, nil
		}
		return nil, fmt.Errorf("it must be an object, and is %s", describe(value))
	}
	return value, nil
}

// Text writes a scalar as its text: numbers without an exponent, as people and other systems write them.
func Text(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'f', -1, 64), nil
		}
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", fmt.Errorf("it must be a text, and is %s", describe(value))
}

func toInt(value any) (int64, error) {
	switch v := value.(type) {
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}
	case float64:
		// Beyond 2^53 a double no longer says which integer it was.
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return int64(v), nil
		}
	case string:
		// Forms carry all as text, and so do integers that JSON writes too large for others.
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n, nil
		}
		return 0, fmt.Errorf("it must be a whole number, and is a text that isn't one")
	}
	return 0, fmt.Errorf("it must be a whole number, and is %s", describe(value))
}

func toBool(value any) (bool, error) {
	switch v := value.(type) {
	case bool:
		return v, nil
	case string:
		if v == "true" || v == "false" {
			return v == "true", nil
		}
	}
	return false, fmt.Errorf("it must be true or false, and is %s", describe(value))
}

func toDuration(value any) (time.Duration, error) {
	switch v := value.(type) {
	case time.Duration:
		return v, nil
	case string:
		if d, err := time.ParseDuration(v); err == nil && d >= 0 {
			return d, nil
		}
	}
	return 0, fmt.Errorf("it must be a duration such as 30s or 5m, and is %s", describe(value))
}

func toList(value any) ([]any, error) {
	items, ok := value.([]any)
	if !ok {
		text, err := Text(value)
		if err != nil {
			return nil, fmt.Errorf("it must be a list of texts, and is %s", describe(value))
		}
		return []any{text}, nil
	}
	out := make([]any, len(items))
	for i, item := range items {
		text, err := Text(item)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		out[i] = text
	}
	return out, nil
}

func describe(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case string, config.Secret:
		return "a text"
	case bool:
		return "a boolean"
	case int, int64, uint64:
		return "a whole number"
	case float64:
		return "a decimal number"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "something else"
}
