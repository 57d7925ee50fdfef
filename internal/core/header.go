package core

import (
	"iter"
	"net/http"
	"slices"
	"strings"
)

// EncodeHeader writes a header as lines "Name: value\r\n", sorted by name, after keep chose which names
// stay. Bytes are kept as they came: net/http lets no CR or LF into a value.
func EncodeHeader(h http.Header, keep func(name string) bool) []byte {
	names := make([]string, 0, len(h))
	size := 0
	for name, values := range h {
		if !keep(name) {
			continue
		}
		names = append(names, name)
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	slices.Sort(names)
	out := make([]byte, 0, size)
	for _, name := range names {
		for _, v := range h[name] {
			out = append(out, name...)
			out = append(out, ": "...)
			out = append(out, v...)
			out = append(out, "\r\n"...)
		}
	}
	return out
}

// HeaderFields are the names and values of what EncodeHeader wrote, one after the other.
func HeaderFields(encoded []byte) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for line := range strings.SplitSeq(string(encoded), "\r\n") {
			if name, value, ok := strings.Cut(line, ": "); ok && !yield(name, value) {
				return
			}
		}
	}
}

// DecodeHeader reads what EncodeHeader wrote.
func DecodeHeader(encoded []byte) http.Header {
	h := http.Header{}
	for name, value := range HeaderFields(encoded) {
		h[name] = append(h[name], value)
	}
	return h
}
