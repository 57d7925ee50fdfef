//go:build unix

package hostile

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"relais/internal/config"
)

func n8nTrigger(t *testing.T) check {
	var paths, bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		paths, bodies = append(paths, r.URL.EscapedPath()+"?"+r.URL.RawQuery), append(bodies, string(body))
	}))
	t.Cleanup(server.Close)
	connections := []config.Connection{{Name: "flows", Kind: "n8n", Settings: map[string]any{"url": server.URL}}}
	return func(t *testing.T, _, value string) {
		paths, bodies = nil, nil
		out := attempt(t, config.Step{Use: "n8n/trigger", With: map[string]any{"path": "a/${{ event.data.v }}", "json": "x"}}, connections, value)
		if succeeded(out) {
			part, _ := strings.CutPrefix(strings.TrimSuffix(paths[0], "?"), "/webhook/a/")
			inner, err := url.PathUnescape(part)
			if err != nil || inner != value || strings.ContainsAny(part, "/?") {
				t.Errorf("the path became %.200s", paths[0])
			}
		} else if refused(t, out); len(paths) != 0 {
			t.Error("a call was made")
		}
		paths, bodies = nil, nil
		if out := attempt(t, config.Step{Use: "n8n/trigger", With: map[string]any{"path": "a", "json": map[string]any{"v": "${{ event.data.v }}"}}}, connections, value); !succeeded(out) {
			t.Fatalf("ended with %s %s: %.200s", out.Verdict, out.Reason, out.Message)
		}
		var decoded map[string]string
		if err := json.Unmarshal([]byte(bodies[0]), &decoded); err != nil || len(decoded) != 1 || decoded["v"] != value {
			t.Errorf("the JSON became %.200q: %v", bodies[0], err)
		}
	}
}
