package source

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
)

// extension signs a longer message than the one of size bytes that the SHA-1 digest is of, without the
// key: padding is what must stand between that message and more.
func extension(t *testing.T, digest string, size int, more string) (padding, signature string) {
	t.Helper()
	pad := append([]byte{0x80}, make([]byte, (119-size%64)%64)...)
	pad = binary.BigEndian.AppendUint64(pad, uint64(size)*8)
	sum, err := hex.DecodeString(digest)
	if err != nil {
		t.Fatal(err)
	}
	state := append(append([]byte("sha\x01"), sum...), make([]byte, 64)...)
	hash := sha1.New()
	if err := hash.(interface{ UnmarshalBinary([]byte) error }).
		UnmarshalBinary(binary.BigEndian.AppendUint64(state, uint64(size+len(pad)))); err != nil {
		t.Fatal(err)
	}
	hash.Write([]byte(more))
	return string(pad), hex.EncodeToString(hash.Sum(nil))
}

// Whoever saw one request signed with a plain hash must not get a longer one accepted, wherever the body
// stands among what is signed: not with the padding in the body, nor in what the query gives.
func TestPlainHashesCannotBeExtended(t *testing.T) {
	seen, later := time.Unix(1_700_000_000, 0), time.Unix(1_700_086_400, 0)
	for _, signed := range []string{"{key}{body}", "{key}/{body}/", "{key}{body}{timestamp}", "{key}{body}{timestamp}.", "{key}{body}.{id}"} {
		verify := map[string]any{"scheme": "hash-sha1", "signed": signed}
		if strings.Contains(signed, "{timestamp}") {
			verify["timestamp"], verify["tolerance"] = map[string]any{"header": "X-Time"}, "300s"
		}
		byID := strings.Contains(signed, "{id}")
		if byID {
			verify["id"] = map[string]any{"query": "id"}
		}
		src := compile(t, config.Source{Preset: "generic-hmac", Secrets: secrets(signKey), Verify: verify})
		req := &Request{Method: "POST", Query: "id=1", Header: http.Header{}, Body: []byte("pay 10"), Now: seen}
		if err := src.Sign(req); err != nil {
			t.Fatal(err)
		}
		if err := src.Verify(req); err != nil {
			t.Fatalf("%s: the request itself: %v", signed, err)
		}
		head, tail, _ := strings.Cut(signed, "{body}")
		head = strings.ReplaceAll(head, "{key}", signKey)
		seenTail := strings.NewReplacer("{timestamp}", "1700000000", "{id}", "1").Replace(tail)
		newTail := strings.NewReplacer("{timestamp}", "1700086400", "{id}", "2").Replace(tail)
		padding, signature := extension(t, req.Header.Get("X-Signature"), len(head+"pay 10"+seenTail), " and 1000"+newTail)
		forged := &Request{Method: "POST", Query: "id=2", Now: later, Body: []byte("pay 10" + seenTail + padding + " and 1000"),
			Header: http.Header{"X-Signature": {signature}, "X-Time": {"1700086400"}}}
		if src.Verify(forged) == nil {
			t.Errorf("%s: the body %q was accepted", signed, forged.Body)
		}
		if forged.Body, forged.Query = req.Body, "id="+url.QueryEscape("1"+padding+" and 1000"+newTail); byID && src.Verify(forged) == nil {
			t.Errorf("%s: %s was accepted", signed, forged.Query)
		}
	}
}
