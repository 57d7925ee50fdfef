package expr

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

var (
	errTooLarge = fmt.Errorf("the result is larger than 1 MiB")
	errTooDeep  = fmt.Errorf("the result is nested too deeply")
)

// toPlain copies a result into plain values. It is a copy so that a step may change what it was given.
func toPlain(v ref.Val) (any, error) {
	c := converter{left: MaxResult}
	return c.plain(v, 0)
}

type converter struct{ left int }

func (c *converter) spend(n int) error {
	c.left -= n
	if c.left < 0 {
		return errTooLarge
	}
	return nil
}

func (c *converter) plain(v ref.Val, depth int) (any, error) {
	if depth > 2*maxDepth {
		return nil, errTooDeep
	}
	switch v := v.(type) {
	case types.Bool:
		return bool(v), c.spend(5)
	case types.Int:
		return int64(v), c.spend(1)
	case types.Double:
		return float64(v), c.spend(1)
	case types.String:
		return string(v), c.spend(len(v))
	case types.Null:
		return nil, c.spend(4)
	case types.Uint:
		if v > math.MaxInt64 {
			return strconv.FormatUint(uint64(v), 10), c.spend(20)
		}
		return int64(v), c.spend(1)
	case types.Bytes:
		if !utf8.Valid(v) {
			return nil, fmt.Errorf("the result is bytes that are not text: write base64.encode(…)")
		}
		return string(v), c.spend(len(v))
	case types.Timestamp:
		return v.Time.UTC().Format(time.RFC3339Nano), c.spend(30)
	case types.Duration:
		return strconv.FormatFloat(v.Seconds(), 'f', -1, 64) + "s", c.spend(20)
	case *types.Optional:
		if !v.HasValue() {
			return nil, c.spend(4)
		}
		return c.plain(v.GetValue(), depth+1)
	case traits.Mapper:
		return c.object(v, depth)
	case traits.Lister:
		return c.list(v, depth)
	case *types.Err:
		return nil, v
	}
	return nil, fmt.Errorf("the result is %s, which can't be used as a value", describe(v))
}

func (c *converter) list(list traits.Lister, depth int) (any, error) {
	out := []any{}
	for it := list.Iterator(); it.HasNext() == types.True; {
		if err := c.spend(1); err != nil {
			return nil, err
		}
		item, err := c.plain(it.Next(), depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, item)
	}
	return out, nil
}

func (c *converter) object(m traits.Mapper, depth int) (any, error) {
	out := map[string]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, err := c.plain(key, depth+1)
		if err != nil {
			return nil, err
		}
		text, err := plainText(name)
		if err != nil {
			return nil, fmt.Errorf("a map's key %w", err)
		}
		if err := c.spend(2); err != nil {
			return nil, err
		}
		if out[text], err = c.plain(m.Get(key), depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// plainText writes a value inside a longer string: integers and doubles in plain decimal.
func plainText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "", fmt.Errorf("is not a finite number")
		}
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case nil:
		return "", fmt.Errorf("is null: say what to write instead, e.g. ${{ x == null ? \"\" : x }}")
	case []any:
		return "", fmt.Errorf("is a list, which can't stand inside a longer text")
	}
	return "", fmt.Errorf("is a map, which can't stand inside a longer text")
}

func describe(v ref.Val) string { return article(v.Type().TypeName()) }

func article(name string) string {
	switch name {
	case "null_type":
		return "null"
	case "int", "optional_type":
		return "an " + name
	}
	return "a " + name
}

func quoted(s string) string { return strconv.Quote(s) }

// shorten keeps a message on one line of a bearable length.
func shorten(src string) string {
	src = strings.Join(strings.Fields(src), " ")
	if utf8.RuneCountInString(src) <= 80 {
		return src
	}
	return string([]rune(src)[:79]) + "…"
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func plainUint(n uint64) any {
	if n > math.MaxInt64 {
		return strconv.FormatUint(n, 10)
	}
	return int64(n)
}
