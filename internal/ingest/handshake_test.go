package ingest

import (
	"net/http"
	"testing"

	"relais/internal/config"
)

func secretsOf(text string) []config.Secret { return []config.Secret{config.NewSecret(text)} }

// TestHandshakesAreAnsweredAndNotStored: what is sent back is no page, and nothing is stored of it.
func TestHandshakesAreAnsweredAndNotStored(t *testing.T) {
	meta := config.Source{Name: "meta", Preset: "meta", Secrets: secretsOf("app-secret"),
		NamedSecrets: map[string][]config.Secret{"verify": secretsOf("the-token")}}
	h := open(t, nil, meta,
		config.Source{Name: "woo", Preset: "woocommerce", Secrets: secretsOf("s3cret-s3cret")},
		config.Source{Name: "notion", Preset: "notion", Secrets: secretsOf("s3cret-s3cret")},
		config.Source{Name: "go", Preset: "gocardless", Secrets: secretsOf("s3cret-s3cret")})

	got := h.send("GET", "/in/meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=the-token", nil, nil)
	if got.status != 200 || got.body != "1158201444" || got.header.Get("X-Content-Type-Options") != "nosniff" ||
		got.header.Get("Content-Security-Policy") != "sandbox" || got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("Meta's challenge: answered %d %q %v", got.status, got.body, got.header)
	}
	for query, want := range map[string]int{
		"hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=app-secret":           401,
		"hub.mode=subscribe&hub.challenge=1158201444":                                       401,
		"hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token=the-token":          400,
		"hub.mode=subscribe&hub.challenge=1&hub.challenge=2&hub.verify_token=the-token":     400,
		"hub.mode=unsubscribe&hub.challenge=1158201444&hub.verify_token=the-token":          405,
		"hub.mode=subscribe&hub.verify_token=the-token&hub.challenge=" + string(tooLong[:]): 400,
	} {
		if got := h.send("GET", "/in/meta?"+query, nil, nil); got.status != want {
			t.Errorf("%.80s: answered %d, want %d", query, got.status, want)
		}
	}
	formHeader := http.Header{"Content-Type": {form}}
	if got := h.send("POST", "/in/woo", formHeader, []byte("webhook_id=7")); got.status != 200 {
		t.Errorf("WooCommerce's ping: answered %d", got.status)
	}
	if got := h.send("POST", "/in/woo", formHeader, []byte("order=7")); got.status != 401 {
		t.Errorf("an unsigned message: answered %d", got.status)
	}
	// The token that Notion sends once is for a person: it is kept among the refused requests.
	before := len(h.waitKept(1))
	token := []byte(`{"verification_token":"secret_tMrlL1qK5vuQ"}`)
	if got := h.send("POST", "/in/notion", http.Header{"Content-Type": {jsonType}}, token); got.status != 200 {
		t.Errorf("Notion's token: answered %d", got.status)
	}
	kept := h.waitKept(8)
	if last := kept[len(kept)-1]; last.Status != 200 || string(last.Body) != string(token) {
		t.Errorf("of %d kept requests the last is %+v", before, last)
	}
	// A provider's own statuses.
	if got := h.send("POST", "/in/go", http.Header{"Webhook-Signature": {"00"}}, []byte(`{"events":[]}`)); got.status != 498 {
		t.Errorf("GoCardless with a wrong signature: answered %d", got.status)
	}
	if stored := h.store.stored(); len(stored) != 0 {
		t.Errorf("stored: %+v", stored)
	}
}

var tooLong = func() (text [257]byte) {
	for i := range text {
		text[i] = 'a'
	}
	return text
}()
