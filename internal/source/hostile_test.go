package source

import (
	"net/url"
	"strings"
	"testing"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
)

// Content-Type isn't signed: whoever replays a signed JSON body, of which he wrote a text, must not get
// that text read as the message by calling the body a form.
func TestSignedJSONIsNeverReadAsAForm(t *testing.T) {
	inner := url.QueryEscape(`{"event":"step","relatedtype":"estimate","relatedid":"666","relatedobject":{"status":"accepted"}}`)
	for _, tc := range []struct{ preset, field string }{{"sellsy", "notif"}, {"github", "payload"}, {"generic-hmac", "type"}} {
		src := compile(t, config.Source{Preset: tc.preset, Secrets: secrets(signKey)})
		for _, space := range []string{"", " \r\n\t"} {
			body := []byte(space + `{"event":"created","relatedtype":"client","note":"&` + tc.field + "=" + inner + `&"}`)
			want, err := verifyAndRead(src, signedRequest(t, src, contentJSON, body), false)
			if err != nil {
				t.Fatal(err)
			}
			got, err := verifyAndRead(src, signedRequest(t, src, contentForm, body), false)
			if err == nil && (got.Type != want.Type || got.Format != want.Format) {
				t.Errorf("%s: as JSON it is %s (%s), and as a form %s (%s)", tc.preset, want.Type, want.Format, got.Type, got.Format)
			}
		}
	}
}

func TestFormsThatAreAcceptedCanBeRead(t *testing.T) {
	src := compile(t, config.Source{Preset: "generic-hmac", Secrets: secrets(signKey)})
	for body, want := range map[string]core.RejectReason{
		"type=a&b=x;y":                             "",
		"type=a&b=%E9t%E9":                         "", // ISO 8859-1
		"type=a&b=%00":                             core.RejectMalformed,
		"type=a&%00=b":                             core.RejectMalformed,
		"type=a&b=%":                               core.RejectMalformed,
		"type=a" + strings.Repeat("&b=c", 9_999):   "",
		"type=a" + strings.Repeat("&b=c", 10_000):  core.RejectMalformed,
		"type=a" + strings.Repeat("&&&&", 100_000): "",
	} {
		req := signedRequest(t, src, contentForm, []byte(body))
		msg, err := verifyAndRead(src, req, false)
		if reasonOf(err) != want {
			t.Errorf("%.30s: %v, want %q", body, err, want)
		}
		if err != nil {
			continue
		}
		checkRead(t, req, msg)
		data, err := expr.EventData(&core.Event{Format: msg.Format, Body: req.Body})
		if fields, _ := data.(map[string]any); err != nil || fields["type"] != msg.Type {
			t.Errorf("%.30s: its type is %s, and is decoded as %v, %v", body, msg.Type, fields["type"], err)
		}
	}
}

// What isn't read can't be redacted: a sender must not have it stored by leaving the Content-Type out.
func TestBodiesThatCannotBeRedactedAreRefused(t *testing.T) {
	src := compile(t, config.Source{Preset: "generic", Secrets: secrets("x"), Redact: []string{"card"}})
	req := jsonRequest(`{"type":"paid","card":"4970100000000003"}`)
	req.Header.Set("X-Api-Key", "x")
	if msg, err := verifyAndRead(src, req, false); err != nil || msg.Type != "paid" {
		t.Fatalf("as JSON: %v, %v", msg, err)
	}
	req.Header.Set("Content-Type", "text/plain")
	if msg, err := verifyAndRead(src, req, false); reasonOf(err) != core.RejectMalformed {
		t.Errorf("as text: %v, %v", msg, err)
	}
}

// Where anyone may send, anyone may guess the next key: a message is a repeat only when it says the same.
func TestUnverifiedKeysSuppressNoOtherMessage(t *testing.T) {
	key := func(in config.Source, body string) [16]byte {
		req := jsonRequest(body)
		req.Header.Set("Idempotency-Key", "order-42")
		msg, err := compile(t, in).Read(req)
		if err != nil {
			t.Fatal(err)
		}
		return msg.DedupKey
	}
	open := config.Source{Auth: "none"}
	if key(open, `{"type":"paid"}`) == key(open, `{}`) {
		t.Error("a made-up message takes the place of the real one")
	}
	if first, again := key(open, `{"type":"paid"}`), key(open, `{"type":"paid"}`); first != again {
		t.Error("the same message has two keys")
	}
	verified := config.Source{Preset: "generic", Secrets: secrets("x")}
	if key(verified, `{"type":"paid"}`) != key(verified, `{"type":"paid","try":2}`) {
		t.Error("a verified sender's key is not taken at its word")
	}
}
