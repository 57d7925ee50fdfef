package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestNotificationsAreSignedAsSellsySignsThem(t *testing.T) {
	type received struct {
		header http.Header
		body   []byte
	}
	got := make(chan received, 8)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- received{r.Header, body}
	}))
	defer receiver.Close()
	s := open(t, Options{})
	id := estimate(t, s, Estimate{})
	for _, n := range []Notification{{}, {WithObject: true}, {JSON: true}, {JSON: true, WithObject: true}} {
		n.URL, n.Key, n.Estimate = receiver.URL, "1eba7b47", id
		if answer, err := s.Notify(t.Context(), n); err != nil || answer.Status != 200 {
			t.Fatal(answer, err)
		}
		r := <-got
		if r.header.Get("X-Webhook-Signature") != Sign("1eba7b47", r.body) || !strings.HasPrefix(r.header.Get("User-Agent"), "Sellsy") {
			t.Errorf("header %v", r.header)
		}
		if n.JSON == bytes.HasPrefix(r.body, []byte("notif=")) {
			t.Errorf("JSON %v sent %s", n.JSON, r.body)
		}
		if n.WithObject != strings.Contains(string(r.body), "relatedobject") {
			t.Errorf("WithObject %v sent %s", n.WithObject, r.body)
		}
	}
	// A subscribed webhook hears of a change of status.
	hook := fmt.Sprintf(`{"type":"http","endpoint":%q,"sign_key":"k","configuration":[{"id":"estimate.step","is_enabled":true}]}`, receiver.URL)
	if status, answer, _ := call(t, s, "POST", "/v2/webhooks", hook); status != 201 {
		t.Fatal(status, answer)
	}
	if status, answer, _ := call(t, s, "PUT", fmt.Sprintf("/v2/estimates/%d/status", id), `{"status":"refused"}`); status != 200 || answer["status"] != "refused" {
		t.Fatal(status, answer)
	}
	if r := <-got; r.header.Get("X-Webhook-Signature") != Sign("k", r.body) {
		t.Errorf("header %v", r.header)
	}
}

func TestSignatureIsTheOneOfSellsysReceivers(t *testing.T) {
	// sha1sum of the key and the body written one behind the other.
	if got := Sign("key", []byte("body")); got != "d64f8b8f26630145e27ad7b693ca5aa54247fe98" {
		t.Error(got)
	}
}

func TestControls(t *testing.T) {
	server, err := Serve("", Options{PersonalToken: token})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	do := func(method, path, body string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		data, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(data)
	}
	if status, body := do("POST", "/sandbox/estimates", `{"count":3}`); status != 201 || strings.Count(body, ",") != 2 {
		t.Errorf("estimates: %d %s", status, body)
	}
	if status, body := do("POST", "/sandbox/estimates", `{"estimate":{"id":52437688}}`); status != 201 {
		t.Errorf("estimate: %d %s", status, body)
	}
	if status, body := do("POST", "/sandbox/estimates", `{"estimate":{"id":52437688}}`); status != 400 {
		t.Errorf("the same estimate: %d %s", status, body)
	}
	if status, body := do("POST", "/sandbox/invoices", `{"estimate":52437688,"more":{"is_deposit":true}}`); status != 201 {
		t.Errorf("invoice: %d %s", status, body)
	}
	var seen Inspection
	if _, body := do("GET", "/sandbox/invoices", ""); json.Unmarshal([]byte(body), &seen) != nil || len(seen.Estimates) != 4 || len(seen.Estimates[52437688]) != 1 {
		t.Errorf("inspection: %s", body)
	}
	if status, body := do("GET", "/sandbox/invoices?estimate=52437688", ""); status != 200 || !strings.Contains(body, `"is_deposit":true`) {
		t.Errorf("invoices of one: %d %s", status, body)
	}
	if status, body := do("POST", "/sandbox/faults", "* status=503\n"); status != 204 {
		t.Errorf("faults: %d %s", status, body)
	}
	if status, _ := do("GET", "/v2/quotas", ""); status != 503 {
		t.Errorf("with the fault: %d", status)
	}
	if status, _ := do("DELETE", "/sandbox/faults", ""); status != 204 {
		t.Errorf("end of faults: %d", status)
	}
	if status, _ := do("GET", "/v2/quotas", ""); status != 200 {
		t.Errorf("without the fault: %d", status)
	}
	if status, body := do("GET", "/v2/nothing", ""); status != 404 || !strings.Contains(body, `"code":404`) {
		t.Errorf("an unknown route: %d %s", status, body)
	}
}
