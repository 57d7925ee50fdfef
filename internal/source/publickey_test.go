package source

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/http"
	"testing"
	"time"

	"relais/internal/config"
)

// signer makes a private key of the scheme's kind.
func signer(t testing.TB, scheme string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch schemes[scheme].kind {
	case rsaPKCS1:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case ecdsaP256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signWith puts the signature over the body into X-Signature, in hexadecimal.
func signWith(t testing.TB, scheme string, key crypto.Signer, body []byte) *Request {
	t.Helper()
	hash := map[string]crypto.Hash{"rsa-sha1": crypto.SHA1, "rsa-sha256": crypto.SHA256, "ecdsa-p256-sha256": crypto.SHA256}[scheme]
	digest := body
	if hash != 0 {
		state := hash.New()
		state.Write(body)
		digest = state.Sum(nil)
	}
	sig, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		t.Fatal(err)
	}
	return &Request{Method: "POST", Header: http.Header{"X-Signature": {hex.EncodeToString(sig)}}, Body: body, Now: time.Now()}
}

// publicTexts are the ways in which a provider may write a public key.
func publicTexts(t testing.TB, key crypto.Signer) map[string]string {
	t.Helper()
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	info, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"PEM": encode("PUBLIC KEY", info), "base64": base64.StdEncoding.EncodeToString(info),
		"hexadecimal": hex.EncodeToString(info) + "\n", "a certificate": encode("CERTIFICATE", cert),
	}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		texts["PKCS #1"] = encode("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(public))
	case ed25519.PublicKey:
		texts["its bytes in base64"] = base64.StdEncoding.EncodeToString(public)
		texts["its bytes in hexadecimal"] = hex.EncodeToString(public)
	}
	return texts
}

func TestPublicKeysInAllTheirForms(t *testing.T) {
	for _, scheme := range []string{"rsa-sha1", "rsa-sha256", "ecdsa-p256-sha256", "ed25519"} {
		key, other := signer(t, scheme), signer(t, scheme)
		req := signWith(t, scheme, key, []byte("paid"))
		verify := map[string]any{"scheme": scheme}
		for form, text := range publicTexts(t, key) {
			src := compile(t, config.Source{Preset: "generic-hmac", Secrets: secrets(text), Verify: verify})
			if err := src.Verify(req); err != nil {
				t.Errorf("%s, the key as %s: %v", scheme, form, err)
			}
			if err := src.Sign(req); err == nil {
				t.Errorf("%s: signed without the private key", scheme)
			}
			two := compile(t, config.Source{Preset: "generic-hmac", Secrets: secrets(publicTexts(t, other)["base64"], text), Verify: verify})
			if err := two.Verify(req); err != nil {
				t.Errorf("%s, the second of two keys: %v", scheme, err)
			}
		}
		src := compile(t, config.Source{Preset: "generic-hmac", Secrets: secrets(publicTexts(t, other)["PEM"]), Verify: verify})
		if err := src.Verify(req); err == nil {
			t.Errorf("%s: accepted with another key", scheme)
		}
	}
}
