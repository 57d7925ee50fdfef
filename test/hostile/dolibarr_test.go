//go:build unix

package hostile

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"

	"relais/internal/config"
)

func dolibarrStep(use, parameter string, with map[string]any) func(t *testing.T) check {
	return func(t *testing.T) check {
		calls := 0
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ }))
		t.Cleanup(server.Close)
		connections := []config.Connection{{Name: "erp", Kind: "dolibarr", Settings: map[string]any{
			"url": server.URL, "api_key": config.NewSecret("t"),
		}}}
		all := map[string]any{parameter: "${{ event.data.v }}"}
		maps.Copy(all, with)
		return func(t *testing.T, _, value string) {
			refused(t, attempt(t, config.Step{Use: use, With: all}, connections, value))
			if calls != 0 {
				t.Errorf("%d calls were made", calls)
			}
		}
	}
}
