package sandbox

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{TokenLifetime: time.Minute})
		id := estimate(t, s, Estimate{})
		ask := func(kind, body string) (int, object) {
			r := httptest.NewRequest("POST", "/oauth2/access-tokens", strings.NewReader(body))
			r.Header.Set("Content-Type", kind)
			status, answer, _ := send(t, s, r)
			return status, answer
		}
		get := func(bearer string) int {
			r := httptest.NewRequest("GET", fmt.Sprintf("/v2/estimates/%d", id), nil)
			if bearer != "" {
				r.Header.Set("Authorization", "Bearer "+bearer)
			}
			status, _, _ := send(t, s, r)
			return status
		}
		form := "grant_type=client_credentials&client_id=sandbox-client&client_secret=sandbox-secret"
		status, answer := ask("application/x-www-form-urlencoded", form)
		if status != 200 || answer["token_type"] != "Bearer" || answer["expires_in"] != int64(60) {
			t.Fatalf("form: %d %v", status, answer)
		}
		issued := answer["access_token"].(string)
		if status, _ := ask("application/json", `{"grant_type":"client_credentials","client_id":"sandbox-client","client_secret":"sandbox-secret"}`); status != 200 {
			t.Errorf("JSON: %d", status)
		}
		if status, _ := ask("application/json", `{"grant_type":"client_credentials","client_id":"sandbox-client","client_secret":"no"}`); status != 401 {
			t.Errorf("a wrong secret: %d", status)
		}
		if status, _ := ask("application/json", `{"grant_type":"password"}`); status != 400 {
			t.Errorf("another grant: %d", status)
		}
		for bearer, want := range map[string]int{"": 401, "no": 401, issued: 200} {
			if got := get(bearer); got != want {
				t.Errorf("token %q: %d, want %d", bearer, got, want)
			}
		}
		time.Sleep(time.Minute) // virtual: the token's life
		if got := get(issued); got != 401 {
			t.Errorf("an expired token: %d", got)
		}
	})
}

func TestQuotasCountRefusedCallsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{PerSecond: 2})
		for i, want := range []int{404, 404, 429} {
			status, _, header := call(t, s, "GET", "/v2/estimates/1", "")
			if status != want {
				t.Errorf("call %d: %d, want %d", i, status, want)
			}
			if want == 429 && (header.Get("X-Quota-Remaining-By-Second") != "0" || header.Get("Retry-After") != "1") {
				t.Errorf("429 says %v", header)
			}
		}
		time.Sleep(time.Second) // virtual: the next window
		if status, _, _ := call(t, s, "GET", "/v2/estimates/1", ""); status != 404 {
			t.Errorf("the next second: %d", status)
		}
	})
}

func TestMisbehaviour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{})
		id := estimate(t, s, Estimate{})
		request := jsonOf(t, invoiceOf(id, SampleRows()))
		post := func(fault string) (int, http.Header) {
			f, err := ParseFault(fault)
			if err != nil {
				t.Fatal(err)
			}
			s.Misbehave(f)
			status, _, header := call(t, s, "POST", "/v2/invoices", request)
			s.Behave()
			return status, header
		}
		search := fmt.Sprintf(`{"filters":{"related_objects":[{"type":"company","id":%d}]}}`, defaultCompany)
		found := func() int64 {
			_, answer, _ := call(t, s, "POST", "/v2/invoices/search", search)
			return answer["pagination"].(object)["total"].(int64)
		}
		if status, _ := post("POST /v2/invoices drop_request"); status != 0 || len(s.InvoicesOf(id)) != 0 {
			t.Errorf("drop_request: %d, %v", status, s.InvoicesOf(id))
		}
		if status, header := post("POST /v2/invoices status=503 retry_after=30s"); status != 503 || header.Get("Retry-After") != "30" || len(s.InvoicesOf(id)) != 0 {
			t.Errorf("503: %d %v", status, header)
		}
		if status, _ := post("POST /v2/invoices drop_answer"); status != 0 || len(s.InvoicesOf(id)) != 1 {
			t.Errorf("drop_answer: %d, %v", status, s.InvoicesOf(id))
		}
		if status, _ := post("* commit_late=3s"); status != 0 || len(s.InvoicesOf(id)) != 1 {
			t.Errorf("commit_late: %d, %v", status, s.InvoicesOf(id))
		}
		time.Sleep(3 * time.Second) // virtual: until the late commit
		synctest.Wait()
		if len(s.InvoicesOf(id)) != 2 || found() != 2 {
			t.Errorf("the late invoice isn't there: %v", s.InvoicesOf(id))
		}
		if status, _ := post("POST /v2/invoices search_lag=10s"); status != 201 || len(s.InvoicesOf(id)) != 3 || found() != 2 {
			t.Errorf("search_lag: %d, %d found", status, found())
		}
		time.Sleep(10 * time.Second) // virtual: the lag
		if found() != 3 {
			t.Errorf("after the lag %d are found", found())
		}
		start := time.Now()
		if status, _ := post("POST /v2/* delay=2s"); status != 201 || time.Since(start) != 2*time.Second {
			t.Errorf("delay: %d after %v", status, time.Since(start))
		}
	})
}

func TestFaultsThatAreNone(t *testing.T) {
	for _, line := range []string{"", "POST", "POST invoices", "* p=x", "* nonsense", "* delay=3"} {
		if _, err := ParseFault(line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

func TestChanceIsTheSameForTheSameSeed(t *testing.T) {
	draw := func(seed uint64) (hits []bool) {
		s := open(t, Options{Seed: seed, Faults: []Fault{{Probability: 0.5, Status: 500}}})
		for range 64 {
			status, _, _ := call(t, s, "GET", "/v2/estimates/1", "")
			hits = append(hits, status == 500)
		}
		return hits
	}
	if !slices.Equal(draw(7), draw(7)) || slices.Equal(draw(7), draw(8)) {
		t.Error("the seed doesn't decide")
	}
}
