package expr

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep JSON may nest: deeper than any provider goes, far from the stack's end.
const maxDepth = 200

// DecodeJSON reads one JSON text into plain values: nil, bool, int64, float64, string, []any,
// map[string]any. An integer that int64 can't hold becomes its decimal text, never a double, so that no
// identifier loses digits. Of a repeated name the last value wins, as in most readers. Text that is not
// UTF-8, nesting past 200 levels, and anything after the value are errors.
func DecodeJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("the text is not valid UTF-8")
	}
	d := decoder{data: string(data)}
	d.space()
	value, err := d.value(0)
	if err != nil {
		return nil, err
	}
	d.space()
	if d.at < len(d.data) {
		return nil, d.fault("nothing may follow the JSON value")
	}
	return value, nil
}

// decoder reads a string, so that the text of values is a part of it and not a copy.
type decoder struct {
	data string
	at   int
}

func (d *decoder) fault(message string) error {
	return fmt.Errorf("not JSON at byte %d: %s", d.at, message)
}

func (d *decoder) space() {
	for d.at < len(d.data) {
		switch d.data[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

func (d *decoder) peek() byte {
	if d.at < len(d.data) {
		return d.data[d.at]
	}
	return 0
}

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, d.fault("nested deeper than 200 levels")
	}
	switch c := d.peek(); {
	case c == '{':
		return d.object(depth)
	case c == '[':
		return d.array(depth)
	case c == '"':
		return d.text()
	case c == 't':
		return true, d.word("true")
	case c == 'f':
		return false, d.word("false")
	case c == 'n':
		return nil, d.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	case d.at >= len(d.data):
		return nil, d.fault("the text ends too early")
	}
	return nil, d.fault("a value is expected")
}

func (d *decoder) word(word string) error {
	if len(d.data)-d.at < len(word) || d.data[d.at:d.at+len(word)] != word {
		return d.fault("a value is expected")
	}
	d.at += len(word)
	return nil
}

func (d *decoder) object(depth int) (any, error) {
	object := map[string]any{}
	d.at++
	d.space()
	if d.peek() == '}' {
		d.at++
		return object, nil
	}
	for {
		if d.peek() != '"' {
			return nil, d.fault("a name in double quotes is expected")
		}
		name, err := d.text()
		if err != nil {
			return nil, err
		}
		d.space()
		if d.peek() != ':' {
			return nil, d.fault(`":" is expected`)
		}
		d.at++
		d.space()
		if object[name], err = d.value(depth + 1); err != nil {
			return nil, err
		}
		if more, err := d.next('}'); !more {
			return object, err
		}
	}
}

func (d *decoder) array(depth int) (any, error) {
	list := []any{}
	d.at++
	d.space()
	if d.peek() == ']' {
		d.at++
		return list, nil
	}
	for {
		item, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
		if more, err := d.next(']'); !more {
			return list, err
		}
	}
}

// next steps over a comma, or over the end of what is being read.
func (d *decoder) next(end byte) (more bool, err error) {
	d.space()
	switch d.peek() {
	case ',':
		d.at++
		d.space()
		return true, nil
	case end:
		d.at++
		return false, nil
	}
	return false, d.fault(`"," or "` + string(end) + `" is expected`)
}

func (d *decoder) number() (any, error) {
	start := d.at
	if d.peek() == '-' {
		d.at++
	}
	first := d.at
	if d.digits() == 0 {
		return nil, d.fault("a digit is expected")
	}
	if d.data[first] == '0' && d.at > first+1 {
		d.at = first + 1
		return nil, d.fault("a number can't begin with 0")
	}
	integer := true
	if d.peek() == '.' {
		integer = false
		d.at++
		if d.digits() == 0 {
			return nil, d.fault("a digit is expected")
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		integer = false
		d.at++
		if c := d.peek(); c == '+' || c == '-' {
			d.at++
		}
		if d.digits() == 0 {
			return nil, d.fault("a digit is expected")
		}
	}
	text := d.data[start:d.at]
	if integer {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		return text, nil
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return f, nil
	}
	return text, nil // 1e999: a double can't hold it either
}

func (d *decoder) digits() int {
	start := d.at
	for d.at < len(d.data) && d.data[d.at] >= '0' && d.data[d.at] <= '9' {
		d.at++
	}
	return d.at - start
}

func (d *decoder) text() (string, error) {
	d.at++
	start := d.at
	for d.at < len(d.data) {
		switch c := d.data[d.at]; {
		case c == '"':
			d.at++
			return d.data[start : d.at-1], nil
		case c == '\\':
			return d.escapedText(start)
		case c < ' ':
			return "", d.fault("a control character inside a string")
		}
		d.at++
	}
	return "", d.fault("a string has no end")
}

// escapedText reads on from the first backslash of a string that began at start.
func (d *decoder) escapedText(start int) (string, error) {
	out := append(make([]byte, 0, d.at-start+32), d.data[start:d.at]...)
	for d.at < len(d.data) {
		switch c := d.data[d.at]; {
		case c == '"':
			d.at++
			return string(out), nil
		case c < ' ':
			return "", d.fault("a control character inside a string")
		case c == '\\':
			var err error
			if out, err = d.escape(out); err != nil {
				return "", err
			}
		default:
			out = append(out, c)
			d.at++
		}
	}
	return "", d.fault("a string has no end")
}

func (d *decoder) escape(out []byte) ([]byte, error) {
	d.at++
	c := d.peek()
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return d.unicode(out)
	default:
		return nil, d.fault("an unknown escape inside a string")
	}
	d.at++
	return append(out, c), nil
}

// unicode reads uXXXX, and a second one where the first is half of a pair. A half alone becomes U+FFFD.
func (d *decoder) unicode(out []byte) ([]byte, error) {
	r, err := d.hex()
	if err != nil {
		return nil, err
	}
	if utf16.IsSurrogate(r) {
		first, after := r, d.at
		r = utf8.RuneError
		if d.at+1 < len(d.data) && d.data[d.at] == '\\' && d.data[d.at+1] == 'u' {
			d.at++
			second, err := d.hex()
			if err != nil {
				return nil, err
			}
			if r = utf16.DecodeRune(first, second); r == utf8.RuneError {
				d.at = after
			}
		}
	}
	return utf8.AppendRune(out, r), nil
}

func (d *decoder) hex() (rune, error) {
	if d.at+5 > len(d.data) {
		return 0, d.fault("four hexadecimal digits are expected")
	}
	n, err := strconv.ParseUint(d.data[d.at+1:d.at+5], 16, 16)
	if err != nil {
		return 0, d.fault("four hexadecimal digits are expected")
	}
	d.at += 5
	return rune(n), nil
}
