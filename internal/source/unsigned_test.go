package source

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
)

// A buyer sees the signed address that his browser is sent to. Sent as a body, beside a query of his own and
// under any Content-Type, it says what it said before and nothing else.
func TestQueryIsNotReadBesideASignedForm(t *testing.T) {
	src := compile(t, config.Source{Preset: "paybox"})
	for _, kind := range []string{"application/x-www-form-urlencoded", "application/json", "text/plain", "application/vnd.x+json", ""} {
		req := payboxVector(t, "as published, as a form")
		req.Header = http.Header{}
		if kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		req.Query = "Mt=999999&Ref=other&Erreur=00000&Auto=1&S=forged"
		if err := src.Verify(req); err != nil {
			continue
		}
		msg, err := src.Read(req)
		if err != nil {
			continue
		}
		event := &core.Event{Source: "paybox", Type: msg.Type, Format: msg.Format, Body: msg.Body, Query: req.Query, ReceivedAt: time.Now()}
		if got := src.Normalized(event); got["reference"] != "CMD1349338388" || got["amount_cents"] != int64(1000) || got["transaction"] != nil {
			t.Errorf("as %q: %s, %v", kind, msg.Type, got)
		}
		if req.Query != "" {
			t.Errorf("as %q: the query %q is left to be read", kind, req.Query)
		}
	}
}

// Where the parameters of the query are what is signed, there is no body.
func TestBodyBesideASignedQueryIsRefused(t *testing.T) {
	verify := map[string]any{"variant": "hmac", "key": "text", "query": "K"}
	src := compile(t, config.Source{Preset: "paybox", Secrets: secrets("s3cret"), Verify: verify})
	req := &Request{Method: "GET", Header: http.Header{}, Query: "Mt=1&Ref=own", Now: time.Now()}
	if err := src.Sign(req); err != nil {
		t.Fatal(err)
	}
	if err := src.Verify(req); err != nil {
		t.Fatal(err)
	}
	req.Body = []byte("Mt=1&Ref=other")
	if err := src.Verify(req); err == nil {
		t.Error("a body that nobody signed is accepted")
	}
}

// X asks for the HMAC of a text of anyone's choice, made with the key that signs its messages. What it
// answers is no signature of a message.
func TestAnswersToAChallengeSignNoMessage(t *testing.T) {
	src := compile(t, config.Source{Preset: "twitter", Secrets: secrets("s3cret-s3cret")})
	for _, body := range []string{"12345", "true", "-1.5e7", "abc"} {
		asked, err := src.Greet(&Request{Method: "GET", Header: http.Header{}, Query: "crc_token=" + body})
		if err != nil || asked.Answer == nil {
			t.Fatalf("%s: the challenge isn't answered: %v", body, err)
		}
		var answer struct {
			Token string `json:"response_token"`
		}
		if err := json.Unmarshal([]byte(asked.Answer.Body), &answer); err != nil {
			t.Fatal(err)
		}
		req := &Request{Method: "POST", Body: []byte(body), Now: time.Now(),
			Header: http.Header{"X-Twitter-Webhooks-Signature": {answer.Token}, "Content-Type": {"application/json"}}}
		if src.Verify(req) == nil {
			t.Errorf("%s: the answer is taken for the signature of a message", body)
		}
	}
}

// A public key is known to all: whoever has it could sign with it.
func TestPublicKeyIsNoSharedSecret(t *testing.T) {
	preset, err := Embedded().Load("paybox")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Compile(config.Source{Name: "x", Preset: "generic-hmac", Secrets: secrets(preset.Verify.PublicKeys[0])}, Embedded())
	if err == nil {
		t.Error("a public key is taken as the key of an HMAC")
	}
}

// Of a parameter that is given twice another reader could take the other one, also where the first is empty.
func TestEmptyAndGivenAgain(t *testing.T) {
	for text, want := range map[string]int{"a=&a=1": 2, "a=1&a=": 2, "a=&b=1": 0, "a&a": 2, "%61=1&a=": 2, "a=1": 1} {
		if _, times := queryValue(text, "a"); times != want {
			t.Errorf("%s: in the query %d times, want %d", text, times, want)
		}
		if _, times := formValue([]byte(text), "a"); times != want {
			t.Errorf("%s: in the form %d times, want %d", text, times, want)
		}
	}
}

// A proxy writes the address that it was called by into a header of its own, the token in it included.
func TestTokenIsInNoStoredHeader(t *testing.T) {
	for preset, in := range map[string]string{"n8n": "secret", "dolibarr": "token"} {
		src := compile(t, config.Source{Preset: preset, Secrets: secrets("tok/en+very-secret")})
		req := &Request{Method: "POST", Query: in + "=tok%2Fen%2Bvery-secret", Body: []byte(`{"a":1}`), Now: time.Now(), Header: http.Header{
			"X-Original-Uri": {"/hook?" + in + "=tok%2Fen%2Bvery-secret"}, "X-Token": {"tok/en+very-secret"}, "X-Other": {"kept"},
		}}
		if err := src.Verify(req); err != nil {
			t.Fatal(err)
		}
		stored := string(src.StoredHeader(req))
		if strings.Contains(stored, "very-secret") || !strings.Contains(stored, "X-Other: kept\r\n") {
			t.Errorf("%s: stored is %q", preset, stored)
		}
	}
}

// One signature can be written in several ways. Written in another one, a notification is the same.
func TestSignatureWrittenAnewIsARepeat(t *testing.T) {
	src := compile(t, config.Source{Preset: "paybox"})
	var first Message
	for i, end := range []string{"%3D", "=", "", "%3D%3D", "%3d", "==="} {
		req := payboxVector(t, "as published, as a form")
		text, ok := strings.CutSuffix(string(req.Body), "%3D")
		if !ok {
			t.Fatal(text)
		}
		req.Body = []byte(text + end)
		if i > 0 {
			req.Body = []byte(strings.ReplaceAll(string(req.Body), "&K=Q", "&%4b=%51"))
		}
		if err := src.Verify(req); err != nil {
			continue
		}
		msg, err := src.Read(req)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = msg
		} else if msg.DedupKey != first.DedupKey {
			t.Errorf("ending in %q it is another message", end)
		}
	}
}

// A list that stands beside another, which may be empty, isn't left behind.
func TestEveryListIsSplit(t *testing.T) {
	src := compile(t, config.Source{Preset: "tecdoc", Secrets: secrets("s3cret-s3cret")})
	for body, want := range map[string]int{
		`{"products": [], "updates": [{"productId":"1"},{"productId":"2"}]}`:                  2,
		`{"products": [{"productId":"1"}], "items": [{"productId":"2"}], "updates": "later"}`: 2,
		`{"products": [], "items": []}`:                                                       0,
	} {
		msg, err := src.Read(&Request{Method: "POST", Header: http.Header{}, Body: []byte(body)})
		if err != nil || len(msg.Parts) != want {
			t.Errorf("%s: %d parts, %v", body, len(msg.Parts), err)
		}
	}
}
