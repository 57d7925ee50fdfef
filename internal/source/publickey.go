package source

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // providers sign with it; relais doesn't choose it
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
)

// Bounds of public keys: a larger one makes a request expensive to refuse, a smaller one worth nothing.
const (
	maxPublicKeys = 16
	minRSABits    = 1024
	maxRSABits    = 8192
)

// verify checks a signature over the digest, or over the whole message for ed25519.
func (s scheme) verify(public any, digest, sig []byte) bool {
	switch s.kind {
	case rsaPKCS1:
		hash := crypto.SHA256
		if len(digest) == sha1.Size {
			hash = crypto.SHA1
		}
		return rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), hash, digest, sig) == nil
	case ecdsaP256:
		return ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest, sig)
	case edwards25519:
		return ed25519.Verify(public.(ed25519.PublicKey), digest, sig)
	default:
		return false
	}
}

// digestHeld is the end of what an RSA signature opens to, where its digest is; nil for what is none of the key's.
func digestHeld(public any, sig []byte, size int) []byte {
	k, ok := public.(*rsa.PublicKey)
	if !ok || len(sig) != k.Size() {
		return nil
	}
	opened := new(big.Int).SetBytes(sig)
	if opened.Cmp(k.N) >= 0 {
		return nil
	}
	opened.Exp(opened, big.NewInt(int64(k.E)), k.N)
	return opened.FillBytes(make([]byte, k.Size()))[k.Size()-size:]
}

// publicKeys reads PEM (public keys, and certificates for the keys in them), or one key's bytes in
// hexadecimal or base64: an Ed25519 key as it is, others in a SubjectPublicKeyInfo.
func (s scheme) publicKeys(name, text string) ([]key, error) {
	var found []any
	if rest := []byte(text); strings.Contains(text, "-----BEGIN") {
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			public, err := parseBlock(block)
			if err != nil {
				return nil, invalid("secret", "its block %q holds no public key that can be read", block.Type)
			}
			found = append(found, public)
		}
	} else if public := parseBare(strings.TrimSpace(text)); public != nil {
		found = append(found, public)
	}
	if len(found) == 0 {
		return nil, invalid("secret", "the secret is no public key: it is PEM, or the key's bytes in hexadecimal or base64")
	}
	keys := make([]key, len(found))
	for i, public := range found {
		if err := s.suits(public); err != nil {
			return nil, err
		}
		keys[i] = key{name: name, public: public}
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return x509.ParsePKIXPublicKey(block.Bytes)
	}
}

func parseBare(text string) any {
	if raw, err := hex.DecodeString(text); err == nil {
		return parseBytes(raw)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return parseBytes(raw)
}

func parseBytes(raw []byte) any {
	if len(raw) == ed25519.PublicKeySize {
		return ed25519.PublicKey(raw)
	}
	public, err := x509.ParsePKIXPublicKey(raw)
	if err != nil {
		return nil
	}
	return public
}

// suits tells whether the key can be the scheme's.
func (s scheme) suits(public any) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); s.kind == rsaPKCS1 && (bits < minRSABits || bits > maxRSABits) {
			return invalid("secret", "an RSA key of %d bits: allowed are %d to %d", bits, minRSABits, maxRSABits)
		}
		if s.kind == rsaPKCS1 {
			return nil
		}
	case *ecdsa.PublicKey:
		if s.kind == ecdsaP256 && k.Curve == elliptic.P256() {
			return nil
		}
	case ed25519.PublicKey:
		if s.kind == edwards25519 {
			return nil
		}
	}
	return invalid("secret", "the public key is of another kind than the scheme's: fill in the provider's own")
}

// gather keeps what is written: Ed25519 hashes a message twice and so needs all of it.
type gather []byte

func (g *gather) Write(p []byte) (int, error) { *g = append(*g, p...); return len(p), nil }
func (g *gather) Sum(b []byte) []byte         { return append(b, *g...) }
func (g *gather) Reset()                      { *g = (*g)[:0] }
func (g *gather) Size() int                   { return len(*g) }
func (g *gather) BlockSize() int              { return 1 }
