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

	"golang.org/x/text/unicode/norm"

	"relais/internal/core"
)

type schemeKind uint8

const (
	plainHash schemeKind = iota // with the key in what is hashed
	keyedHash                   // an HMAC
	rsaPKCS1
	ecdsaP256
	edwards25519
)

// scheme is how a signature is made.
type scheme struct {
	kind schemeKind
	new  func() hash.Hash
}

var schemes = map[string]scheme{
	"hmac-sha1":         {keyedHash, sha1.New},
	"hmac-sha256":       {keyedHash, sha256.New},
	"hmac-sha512":       {keyedHash, sha512.New},
	"hash-sha1":         {plainHash, sha1.New},
	"hash-sha256":       {plainHash, sha256.New},
	"hash-sha512":       {plainHash, sha512.New},
	"rsa-sha1":          {rsaPKCS1, sha1.New},
	"rsa-sha256":        {rsaPKCS1, sha256.New},
	"ecdsa-p256-sha256": {ecdsaP256, sha256.New},
	"ed25519":           {edwards25519, func() hash.Hash { return new(gather) }},
}

// public tells whether signatures are checked with a public key.
func (s scheme) public() bool { return s.kind >= rsaPKCS1 }

// longest is the length of the longest signature that is looked at.
func (s scheme) longest() int {
	if s.public() {
		return maxRSABits / 8
	}
	return sha512.Size
}

// state returns a new digest for one key. An HMAC's state is reset to right after its key, so that a
// verification hashes no key.
func (s scheme) state(secret []byte) hash.Hash {
	if s.kind == keyedHash {
		return hmac.New(s.new, secret)
	}
	return s.new()
}

// key is what one signature is checked with.
type key struct {
	name   string // "" for any
	secret []byte
	public any
}

var keyWords = []string{"", "text", "hex", "base64", "nfkd"}

// decodeKeys makes the keys of a secret's text: one, or several public ones in one PEM text.
func (s scheme) decodeKeys(secret namedSecret, v *Verify) ([]key, error) {
	text := strings.TrimPrefix(secret.text, v.KeyPrefix)
	if s.public() {
		return s.publicKeys(secret.name, text)
	}
	if strings.Contains(text, "PUBLIC KEY-----") || strings.Contains(text, "BEGIN CERTIFICATE-----") {
		return nil, invalid("secret", "the secret is a public key, and %s is made with a shared one: anyone could sign with it", v.Scheme)
	}
	var decoded []byte
	var err error
	switch v.Key {
	case "", "text":
		decoded = []byte(text)
	case "nfkd":
		decoded = norm.NFKD.Bytes([]byte(text))
	case "hex":
		decoded, err = hex.DecodeString(text)
	case "base64":
		decoded, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil {
		return nil, invalid("secret", "the secret is not %s, which this preset's secrets are", v.Key)
	}
	if len(decoded) == 0 {
		return nil, invalid("secret", "the secret is empty: anyone could sign with it")
	}
	return []key{{name: secret.name, secret: decoded}}, nil
}

func invalid(field, format string, args ...any) error {
	err := core.Errorf(core.CodeInvalid, format, args...)
	err.Field = field
	return err
}
