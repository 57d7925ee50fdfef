//go:build unix

package hostile

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"relais/internal/config"
)

func sellsyInvoice(t *testing.T) check {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ }))
	t.Cleanup(server.Close)
	connections := []config.Connection{{Name: "compta", Kind: "sellsy", Settings: map[string]any{
		"base_url": server.URL, "personal_token": config.NewSecret("t"),
	}}}
	return func(t *testing.T, _, value string) {
		refused(t, attempt(t, config.Step{Use: "sellsy/create-invoice", With: map[string]any{"estimate": "${{ event.data.v }}"}}, connections, value))
		if calls != 0 {
			t.Errorf("%d calls were made", calls)
		}
	}
}
