package source

import (
	"bytes"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxCandidates bounds the signatures that one request may give (a rotation gives two), and
// maxSignatureText the text that holds them.
const (
	maxCandidates    = 16
	maxSignatureText = 4 << 10
)

type format uint8

const (
	formatPlain format = iota
	formatPairs
	formatList
)

var formats = map[string]format{"": formatPlain, "plain": formatPlain, "pairs": formatPairs, "list": formatList}

// signature verifies digests made with a shared secret.
type signature struct {
	scheme    scheme
	place     place
	prefix    string
	format    format
	separator string
	item      string
	encoding  encoding
	parts     []signedPart

	timestamp       place
	timestampFormat string
	id              place
	tolerance       time.Duration

	keys       [][]byte
	extendable bool
	work       sync.Pool // *work
}

// work is what one verification needs and the next one can use again.
type work struct {
	states []hash.Hash // one for each key
	sum    [sha512.Size]byte
	given  [maxCandidates][sha512.Size]byte
	length [maxCandidates]int
	n      int
	text   []byte
}

func (v *signature) init() {
	v.extendable = extendable(v.scheme, v.parts)
	v.work.New = func() any {
		w := &work{states: make([]hash.Hash, len(v.keys))}
		for i, key := range v.keys {
			w.states[i] = v.scheme.state(key)
		}
		return w
	}
}

func (v *signature) verify(req *Request) *Rejected {
	text, times := v.place.read(req)
	switch {
	case times == 0:
		return errNoSignature
	case times > 1:
		return errTwoSignatures
	case len(text) > maxSignatureText:
		return errSignatureForm
	}
	w := v.work.Get().(*work)
	defer v.work.Put(w)
	timestamp, err := v.candidates(w, text)
	if err != nil {
		return err
	}
	if v.timestamp.kind != placeNone && v.timestamp.kind != placeItem {
		if timestamp, times = v.timestamp.read(req); times != 1 {
			return errNoTimestamp
		}
	}
	id := ""
	if v.id.kind != placeNone {
		if id, times = v.id.read(req); times != 1 {
			return errNoID
		}
	}
	if !v.matches(w, req, timestamp, id) {
		return errBadSignature
	}
	// The age is looked at only now: whoever can't sign is told nothing about clocks.
	if v.tolerance > 0 {
		at, ok := parseTimestamp(v.timestampFormat, timestamp)
		if !ok {
			return errTimestampForm
		}
		if age := req.Now.Sub(at); age > v.tolerance || age < -v.tolerance {
			return errExpired
		}
	}
	// The padding of a length extension always holds NUL bytes, as no provider's text does.
	if v.extendable && (bytes.IndexByte(req.Body, 0) >= 0 || strings.IndexByte(timestamp, 0) >= 0 || strings.IndexByte(id, 0) >= 0) {
		return errNUL
	}
	return nil
}

// candidates decodes the signatures in the text, and returns the timestamp that stands beside them.
func (v *signature) candidates(w *work, text string) (timestamp string, err *Rejected) {
	w.n = 0
	text, ok := strings.CutPrefix(text, v.prefix)
	if !ok {
		return "", errSignatureForm
	}
	switch v.format {
	case formatPlain:
		v.candidate(w, text)
	case formatList:
		for text != "" {
			var one string
			one, text, _ = strings.Cut(text, " ")
			if name, value, ok := strings.Cut(one, ","); ok && name == v.item {
				v.candidate(w, value)
			}
		}
	case formatPairs:
		for text != "" {
			var one string
			one, text, _ = strings.Cut(text, v.separator)
			name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
			switch {
			case name == v.item:
				v.candidate(w, value)
			case v.timestamp.kind == placeItem && name == v.timestamp.name:
				if timestamp != "" {
					return "", errTimestampForm
				}
				timestamp = value
			}
		}
		if v.timestamp.kind == placeItem && timestamp == "" {
			return "", errNoTimestamp
		}
	}
	if w.n == 0 {
		return "", errSignatureForm
	}
	return timestamp, nil
}

func (v *signature) candidate(w *work, text string) {
	if w.n == maxCandidates {
		return
	}
	if n := v.encoding.decode(&w.given[w.n], text); n > 0 {
		w.length[w.n] = n
		w.n++
	}
}

// matches computes one digest for each key and compares all candidates with it. It doesn't stop at the
// first match: which key signed is nobody's business.
func (v *signature) matches(w *work, req *Request, timestamp, id string) bool {
	match := 0
	for i, key := range v.keys {
		sum := v.sum(w, w.states[i], key, req, timestamp, id)
		for c := range w.n {
			match |= subtle.ConstantTimeCompare(sum, w.given[c][:w.length[c]])
		}
	}
	return match == 1
}

func (v *signature) sum(w *work, state hash.Hash, key []byte, req *Request, timestamp, id string) []byte {
	state.Reset()
	for i := range v.parts {
		switch part := &v.parts[i]; part.kind {
		case signedLiteral:
			state.Write(part.literal)
		case signedKey:
			state.Write(key)
		case signedTimestamp:
			w.write(state, timestamp)
		case signedID:
			w.write(state, id)
		case signedMethod:
			w.write(state, req.Method)
		case signedURL:
			w.write(state, req.URL)
		case signedBody:
			state.Write(req.Body)
		}
	}
	return state.Sum(w.sum[:0])
}

func (w *work) write(state hash.Hash, text string) {
	w.text = append(w.text[:0], text...)
	state.Write(w.text)
}

var timestampFormats = map[string]bool{"": true, "unix": true, "unix-ms": true, "rfc3339": true}

func parseTimestamp(format, text string) (time.Time, bool) {
	if format == "rfc3339" {
		at, err := time.Parse(time.RFC3339, text)
		return at, err == nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	// Year 9999 in milliseconds: a larger number would wrap around and come out near now.
	if err != nil || n < 0 || n > 253402300799999 {
		return time.Time{}, false
	}
	if format == "unix-ms" {
		return time.UnixMilli(n), true
	}
	return time.Unix(n, 0), true
}

func formatTimestamp(format string, at time.Time) string {
	switch format {
	case "rfc3339":
		return at.UTC().Format(time.RFC3339)
	case "unix-ms":
		return strconv.FormatInt(at.UnixMilli(), 10)
	default:
		return strconv.FormatInt(at.Unix(), 10)
	}
}
