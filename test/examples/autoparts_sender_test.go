//go:build linux

package examples

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const formType = "application/x-www-form-urlencoded"

// paybox is a notification as Paybox sends it: the text as it is encoded, and its signature as the last parameter.
func paybox(t *testing.T, bank *rsa.PrivateKey, method, query string) request {
	t.Helper()
	sum := sha1.Sum([]byte(query))
	signature, err := rsa.SignPKCS1v15(nil, bank, crypto.SHA1, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return unsigned(method, query+"&K="+url.QueryEscape(base64.StdEncoding.EncodeToString(signature)))
}

// unsigned is a notification with what stands in it, by GET or as a form.
func unsigned(method, query string) request {
	if method == "GET" {
		return request{method: method, path: "/api/paybox/callback?" + query}
	}
	return request{method: method, path: "/api/paybox/callback", kind: formType, body: query}
}

// cyberplus is a notification as Systempay sends it.
func cyberplus(key string, fields map[string]string) request {
	values := make([]string, 0, len(fields)+1)
	form := url.Values{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		values = append(values, fields[name])
		form.Set(name, fields[name])
	}
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = mac.Write([]byte(strings.Join(append(values, key), "+")))
	form.Set("signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return request{method: "POST", path: "/api/payments/callback/cyberplus", kind: formType, body: form.Encode()}
}

func tecdoc(body string) request {
	return request{method: "POST", path: "/api/integrations/tecdoc/webhook", kind: "application/json", body: body, header: []string{"X-TecDoc-Key", tecdocKey}}
}

// parcel is what a carrier tells, with that carrier's key.
func parcel(carrier, body string) request {
	return request{method: "POST", path: "/api/shipping/tracking/webhook", kind: "application/json", body: body, header: []string{"X-API-Key", carrierKeys[carrier]}}
}

func workflow(id, body string) request {
	return request{method: "POST", path: "/api/webhooks/n8n/" + id + "?secret=" + flowsSecret, kind: "application/json", body: body}
}
