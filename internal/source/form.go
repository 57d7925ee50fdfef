package source

import (
	"bytes"

	"relais/internal/expr"
)

// nextPair cuts the first name=value off a form's text, still percent-encoded. Empty pairs ("a=1&&b=2")
// are passed over, as browsers and PHP do.
func nextPair(in []byte) (name, value, rest []byte, ok bool) {
	for len(in) > 0 {
		pair := in
		if i := bytes.IndexByte(in, '&'); i >= 0 {
			pair, in = in[:i], in[i+1:]
		} else {
			in = nil
		}
		if len(pair) > 0 {
			name, value, _ = bytes.Cut(pair, []byte{'='})
			return name, value, in, true
		}
	}
	return nil, nil, nil, false
}

// appendUnescaped decodes a form's text. A percent sign without two hexadecimal digits is refused: a
// lenient reader and a strict one would see different messages under the same signature.
func appendUnescaped(dst, in []byte) ([]byte, bool) {
	for i := 0; i < len(in); i++ {
		switch c := in[i]; c {
		case '+':
			dst = append(dst, ' ')
		case '%':
			if i+2 >= len(in) {
				return dst, false
			}
			high, low := hexDigits[in[i+1]], hexDigits[in[i+2]]
			if high == noDigit || low == noDigit {
				return dst, false
			}
			dst = append(dst, high<<4|low)
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst, true
}

const noDigit = 0xff

// hexDigits is each byte's value as a hexadecimal digit.
var hexDigits = func() (table [256]byte) {
	for i := range table {
		table[i] = noDigit
	}
	for value, digits := range []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "aA", "bB", "cC", "dD", "eE", "fF"} {
		for _, digit := range []byte(digits) {
			table[digit] = byte(value)
		}
	}
	return table
}()

// formField decodes the one field of that name into dst. It must be given exactly once: of two, another
// reader could take the other one. Other fields are not looked into.
func formField(dst, form []byte, field string) ([]byte, *Rejected) {
	given := false
	var scratch [64]byte
	for {
		name, value, rest, ok := nextPair(form)
		if !ok {
			break
		}
		form = rest
		// A name longer than three times the field's can't be the field's, however it is encoded.
		if len(name) < len(field) || len(name) > 3*len(field) {
			continue
		}
		decoded, ok := appendUnescaped(scratch[:0], name)
		if !ok || string(decoded) != field {
			continue
		}
		if given {
			return dst, errFieldTwice
		}
		given = true
		if dst, ok = appendUnescaped(dst[:0], value); !ok {
			return dst, errForm
		}
	}
	if !given {
		return dst, errFieldMissing
	}
	return dst, nil
}

// scanForm checks a whole form and notes the wanted fields, decoded into buf; it returns buf. Of a field
// that is given twice the first counts. What it accepts expr.DecodeForm can decode.
func scanForm(buf, form []byte, want *paths, slots []found) ([]byte, *Rejected) {
	clear(slots)
	buf = buf[:0]
	for fields := 0; ; fields++ {
		name, value, rest, ok := nextPair(form)
		if !ok {
			return buf, nil
		}
		if fields == expr.MaxFields {
			return buf, errFields
		}
		form = rest
		start := len(buf)
		if buf, ok = appendUnescaped(buf, name); !ok {
			return buf, errForm
		}
		if bytes.IndexByte(buf[start:], 0) >= 0 {
			return buf, errNUL
		}
		field := want.child(buf[start:])
		buf = buf[:start]
		if buf, ok = appendUnescaped(buf, value); !ok {
			return buf, errForm
		}
		if bytes.IndexByte(buf[start:], 0) >= 0 {
			return buf, errNUL
		}
		if field == nil || field.slot < 0 || slots[field.slot].ok {
			buf = buf[:start]
			continue
		}
		slots[field.slot] = found{start: start, end: len(buf), ok: true}
	}
}
