package source

import (
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
