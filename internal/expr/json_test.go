package expr_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relais/internal/expr"
)

func TestDecodeJSONKeepsEveryDigit(t *testing.T) {
	for in, want := range map[string]any{
		`52437688`:                       int64(52437688),
		`9223372036854775807`:            int64(9223372036854775807),
		`-9223372036854775808`:           int64(-9223372036854775808),
		`9223372036854775808`:            "9223372036854775808",
		`-9223372036854775809`:           "-9223372036854775809",
		`123456789012345678901234567890`: "123456789012345678901234567890",
		`-0`:                             int64(0),
		`1.10`:                           1.1,
		`1e2`:                            100.0,
		`1e999`:                          "1e999",
		` "a\u00e9\ud83d\ude00\/\n" `:    "aé😀/\n",
		`"\ud800x"`:                      "\uFFFDx",
		`"\ud800\u0041"`:                 "\uFFFDA",
		`{"a":1,"a":2}`:                  map[string]any{"a": int64(2)},
		`[]`:                             []any{},
		`{}`:                             map[string]any{},
		`[null,true,false,{"b":[""]}]`:   []any{nil, true, false, map[string]any{"b": []any{""}}},
		strings.Repeat("[", 200) + strings.Repeat("]", 200): nested(200),
	} {
		got, err := expr.DecodeJSON([]byte(in))
		if err != nil {
			t.Errorf("%.40s: %v", in, err)
		} else if !reflect.DeepEqual(want, got) {
			t.Errorf("%.40s: got %#v, want %#v", in, got, want)
		}
	}
}

func nested(depth int) any {
	list := []any{}
	for range depth - 1 {
		list = []any{list}
	}
	return list
}

func TestDecodeJSONRefusesWhatIsNot(t *testing.T) {
	for in, want := range map[string]string{
		"":               "ends too early",
		"{":              "a name in double quotes is expected",
		`{"a"}`:          `":" is expected`,
		`{"a":1,}`:       "a name in double quotes",
		`[1,]`:           "a value is expected",
		`[1 2]`:          `"," or "]" is expected`,
		`1 2`:            "nothing may follow",
		`{} x`:           "nothing may follow",
		`01`:             "can't begin with 0",
		`-`:              "a digit is expected",
		`1.`:             "a digit is expected",
		`1e`:             "a digit is expected",
		`+1`:             "a value is expected",
		`NaN`:            "a value is expected",
		`tru`:            "a value is expected",
		`"a`:             "a string has no end",
		"\"a\nb\"":       "a control character",
		`"\x"`:           "an unknown escape",
		`"\u12"`:         "four hexadecimal digits",
		`"\ud800\u1"`:    "four hexadecimal digits",
		`"\u+123"`:       "four hexadecimal digits",
		"\"\xff\"":       "not valid UTF-8",
		"\xef\xbb\xbf{}": "a value is expected",
		strings.Repeat("[", 202) + strings.Repeat("]", 202): "deeper than 200",
		strings.Repeat("[", 1_000_000):                      "deeper than 200",
	} {
		got, err := expr.DecodeJSON([]byte(in))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, %v; want %q", in, got, err, want)
		}
	}
}

func TestDecodeForm(t *testing.T) {
	got, err := expr.DecodeForm([]byte("a=1&b=x+y%26z&c&a=2&a=3&&d=%C3%A9&e=1;f=2&g=%E9t%E9"))
	want := map[string]any{"a": []any{"1", "2", "3"}, "b": "x y&z", "c": "", "d": "é", "e": "1;f=2", "g": "\uFFFDt\uFFFD"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for in, want := range map[string]string{
		"a=%zz":                        "bad % escape",
		strings.Repeat("a=1&", 10_001): "more than 10000 fields",
	} {
		if _, err := expr.DecodeForm([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: got %v", in, err)
		}
	}
}

// FuzzDecodeJSON holds the decoder against the standard library's: what one reads, the other does, with
// the same values; but nothing deeper than 200 levels, and nothing that is not UTF-8.
func FuzzDecodeJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-2.5e3,"x\u00e9\ud83d\ude00",null,true]}`, `"\ud800"`, `[[[[]]]]`, `1e400`, ` 12 `, "\"\xff\"", `{"a":1,"a":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := expr.DecodeJSON([]byte(text))
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		var want any
		wantErr := decoder.Decode(&want)
		if wantErr == nil && decoder.More() {
			return // text after the value: the library's reader doesn't look at it here
		}
		if err != nil {
			excused := strings.Contains(err.Error(), "UTF-8") || strings.Contains(err.Error(), "deeper") || strings.Contains(err.Error(), "follow")
			if wantErr == nil && !excused {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if wantErr != nil {
			t.Fatalf("%q: read as %v, and the library says %v", text, got, wantErr)
		}
		if !same(got, want) {
			t.Fatalf("%q: got %#v, the library has %#v", text, got, want)
		}
	})
}

func same(got, want any) bool {
	switch w := want.(type) {
	case json.Number:
		switch g := got.(type) {
		case int64:
			n, err := w.Int64()
			return err == nil && n == g
		case float64:
			n, err := w.Float64()
			return err == nil && n == g
		case string:
			return g == w.String()
		}
		return false
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range w {
			if !same(g[i], w[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for key := range w {
			if !same(g[key], w[key]) {
				return false
			}
		}
		return true
	}
	return got == want
}
