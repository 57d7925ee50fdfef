package sellsy

import (
	"net/http"
	"testing"

	"relais/internal/sandbox"
	"relais/internal/step/once/oncetest"
)

// TestShortPagesAreReadToTheEnd: an account or a proxy may give fewer than what was asked for.
func TestShortPagesAreReadToTheEnd(t *testing.T) {
	inMemory(t, func(t *testing.T, k oncetest.Book) {
		b := newBench(t, k, sandbox.Options{})
		for range 5 {
			other := b.estimate(sandbox.Estimate{})
			b.handMade(other, nil)
		}
		id := b.estimate(sandbox.Estimate{})
		made := b.handMade(id, nil)
		b.account.client.api.HTTP = &http.Client{Transport: shortPages{b.account.client.api.HTTP.Transport}}
		out := b.drive(b.book.Deliver(t), with(id))
		if out.result["status"] != statusExisting || out.result["id"] != made || len(b.invoices(id)) != 1 {
			t.Errorf("ended with %v %v, invoices %v", out.result, out.dead, b.invoices(id))
		}
	})
}

type shortPages struct{ http.RoundTripper }

func (s shortPages) RoundTrip(r *http.Request) (*http.Response, error) {
	if query := r.URL.Query(); query.Has("limit") {
		query.Set("limit", "2")
		r = r.Clone(r.Context())
		r.URL.RawQuery = query.Encode()
	}
	return s.RoundTripper.RoundTrip(r)
}
