package source

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // providers sign with it; relais doesn't choose it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strings"

	"relais/internal/core"
)

// scheme is how a digest is made.
type scheme struct {
	new   func() hash.Hash
	keyed bool // an HMAC; else a plain digest with the key in what is hashed
}

var schemes = map[string]scheme{
	"hmac-sha1":   {sha1.New, true},
	"hmac-sha256": {sha256.New, true},
	"hmac-sha512": {sha512.New, true},
	"hash-sha1":   {sha1.New, false},
	"hash-sha256": {sha256.New, false},
	"hash-sha512": {sha512.New, false},
}

// state returns a new digest for one key. An HMAC's state is reset to right after its key, so that a
// verification hashes no key.
func (s scheme) state(key []byte) hash.Hash {
	if s.keyed {
		return hmac.New(s.new, key)
	}
	return s.new()
}

// decodeKey makes the key of a secret's text.
func decodeKey(secret string, v *Verify) ([]byte, error) {
	text := strings.TrimPrefix(secret, v.KeyPrefix)
	var key []byte
	var err error
	switch v.Key {
	case "", "text":
		key = []byte(text)
	case "hex":
		key, err = hex.DecodeString(text)
	case "base64":
		key, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil {
		return nil, invalid("secret", "the secret is not %s, which this preset's secrets are", v.Key)
	}
	if len(key) == 0 {
		return nil, invalid("secret", "the secret is empty: anyone could sign with it")
	}
	return key, nil
}

func invalid(field, format string, args ...any) error {
	err := core.Errorf(core.CodeInvalid, format, args...)
	err.Field = field
	return err
}

type encoding uint8

const (
	encodingHex encoding = iota
	encodingBase64
	encodingBase64URL
)

var encodings = map[string]encoding{"": encodingHex, "hex": encodingHex, "base64": encodingBase64, "base64url": encodingBase64URL}

var (
	strictBase64    = base64.RawStdEncoding.Strict()
	strictBase64URL = base64.RawURLEncoding.Strict()
)

// decode writes the signature's bytes to out and returns how many; 0 for what isn't one. Padding may be
// there or not.
func (e encoding) decode(out *[sha512.Size]byte, text string) int {
	// Longer than the longest digest in the longest encoding.
	if len(text) > 2*sha512.Size {
		return 0
	}
	var in [2 * sha512.Size]byte
	n := copy(in[:], text)
	if e == encodingHex {
		return decodeHex(out, in[:n])
	}
	for n > 0 && in[n-1] == '=' {
		n--
	}
	coder := strictBase64
	if e == encodingBase64URL {
		coder = strictBase64URL
	}
	if coder.DecodedLen(n) > len(out) {
		return 0
	}
	n, err := coder.Decode(out[:], in[:n])
	if err != nil {
		return 0
	}
	return n
}

func decodeHex(out *[sha512.Size]byte, in []byte) int {
	n, err := hex.Decode(out[:], in)
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
