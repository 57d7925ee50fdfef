package source

import (
	"encoding/base64"
	"encoding/hex"
)

type encoding uint8

const (
	encodingHex encoding = iota
	encodingBase64
	encodingBase64URL
)

var encodings = map[string]encoding{"hex": encodingHex, "base64": encodingBase64, "base64url": encodingBase64URL}

var (
	strictBase64    = base64.RawStdEncoding.Strict()
	strictBase64URL = base64.RawURLEncoding.Strict()
)

// decode writes the signature's bytes to out and returns how many; 0 for what isn't one, or is longer
// than out. Padding may be there or not.
func (e encoding) decode(out, in []byte) int {
	if e == encodingHex {
		if hex.DecodedLen(len(in)) > len(out) {
			return 0
		}
		n, err := hex.Decode(out, in)
		if err != nil {
			return 0
		}
		return n
	}
	for len(in) > 0 && in[len(in)-1] == '=' {
		in = in[:len(in)-1]
	}
	coder := strictBase64
	if e == encodingBase64URL {
		coder = strictBase64URL
	}
	if coder.DecodedLen(len(in)) > len(out) {
		return 0
	}
	// A decoder passes over line breaks: two texts would be one signature.
	for _, c := range in {
		if c == '\r' || c == '\n' {
			return 0
		}
	}
	n, err := coder.Decode(out, in)
	if err != nil {
		return 0
	}
	return n
}

func (e encoding) encode(sum []byte) string {
	switch e {
	case encodingBase64:
		return base64.StdEncoding.EncodeToString(sum)
	case encodingBase64URL:
		return base64.RawURLEncoding.EncodeToString(sum)
	default:
		return hex.EncodeToString(sum)
	}
}
