package source

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
)

// WooCommerce's id of a delivery is a digest of the webhook and the second, so that a busy shop's orders share it.
func TestOrdersOfOneSecondAreNoRepeats(t *testing.T) {
	src := compile(t, config.Source{Preset: "woocommerce", Secrets: secrets("k3y")})
	keyOf := func(order string) [16]byte {
		t.Helper()
		req, err := src.Sample("order.created", order, "one-second", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := src.Sign(req); err != nil {
			t.Fatal(err)
		}
		msg, err := verifyAndRead(src, req, false)
		if err != nil {
			t.Fatal(err)
		}
		return msg.DedupKey
	}
	if keyOf("1") == keyOf("2") {
		t.Error("two orders of one second have one key")
	}
	if first, again := keyOf("1"), keyOf("1"); first != again {
		t.Error("an order that is sent again has another key")
	}
}

// Adyen signs no word of live: who saw a payment's notification can send it first as a test's, and the payment must
// be told all the same.
func TestTestsSuppressNoRealMessage(t *testing.T) {
	const live = `{"live":"true","notificationItems":[{"NotificationRequestItem":{"additionalData":{"hmacSignature":"UuR+52a6kTrD4vpTDQPC1jEoGupBqiRwKu5wkZO1Sdo="},"amount":{"value":7790,"currency":"EUR"},` +
		`"pspReference":"P1","eventCode":"AUTHORISATION","merchantAccountCode":"M","merchantReference":"CMD1","success":"true"}}]}`
	src := compile(t, config.Source{Preset: "adyen", Secrets: secrets("44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056")})
	read := func(body string) Message {
		t.Helper()
		msg, err := verifyAndRead(src, &Request{Method: "POST", Body: []byte(body), Now: time.Now(), Header: http.Header{"Content-Type": {contentJSON}}}, false)
		if err != nil {
			t.Fatal(err)
		}
		return msg.Each()[0]
	}
	trial, payment := read(strings.Replace(live, `"true"`, `"false"`, 1)), read(live)
	if !trial.Test || payment.Test || trial.DedupKey == payment.DedupKey {
		t.Errorf("test %v with the key %x, and %v with %x", trial.Test, trial.DedupKey, payment.Test, payment.DedupKey)
	}
	if again := read(live); again.DedupKey != payment.DedupKey {
		t.Error("a payment that is told again has another key")
	}
}
