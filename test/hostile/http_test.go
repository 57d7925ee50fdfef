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
	"relais/internal/core"
)

func httpRequest(t *testing.T) check {
	var got []*http.Request
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, bodies = append(got, r), append(bodies, string(body))
	}))
	t.Cleanup(server.Close)
	return func(t *testing.T, name, value string) {
		// call makes one call, and gives it, or nil where the step refused to.
		call := func(with map[string]any) (*http.Request, string) {
			got, bodies = nil, nil
			out := attempt(t, config.Step{Use: "http/request", With: with}, nil, value)
			if succeeded(out) && len(got) == 1 {
				return got[0], bodies[0]
			}
			if len(got) != 0 || out.Reason != core.ReasonExpression {
				refused(t, out)
			}
			if len(got) != 0 {
				t.Errorf("%d calls were made", len(got))
			}
			return nil, ""
		}
		if r, _ := call(map[string]any{"url": server.URL + "/a/${{ event.data.v }}/z"}); r != nil {
			segments := strings.Split(r.URL.EscapedPath(), "/")
			inner, err := url.PathUnescape(segments[2])
			if len(segments) != 4 || err != nil || inner != value || r.URL.RawQuery != "" {
				t.Errorf("the path became %.200s", r.URL)
			}
		}
		if r, _ := call(map[string]any{"url": server.URL + "/q?a=${{ event.data.v }}&z=1"}); r != nil {
			if q := r.URL.Query(); len(q) != 2 || q.Get("a") != value || q.Get("z") != "1" {
				t.Errorf("the query became %.200s", r.URL.RawQuery)
			}
		} else if name != "long" && name != "ampersands" {
			t.Error("it can't stand in a query")
		}
		if r, _ := call(map[string]any{"url": server.URL, "headers": map[string]any{"X-Value": "v ${{ event.data.v }}"}}); r != nil {
			if h := r.Header.Get("X-Value"); h != strings.TrimSpace("v "+value) || r.Header.Get("X-Evil") != "" {
				t.Errorf("the header became %.200q", h)
			}
		}
		_, body := call(map[string]any{"url": server.URL, "json": map[string]any{"v": "${{ event.data.v }}"}})
		var decoded map[string]string
		if err := json.Unmarshal([]byte(body), &decoded); err != nil || len(decoded) != 1 || decoded["v"] != value {
			t.Errorf("the JSON became %.200q: %v", body, err)
		}
		_, body = call(map[string]any{"url": server.URL, "form": map[string]any{"v": "${{ event.data.v }}"}})
		if form, err := url.ParseQuery(body); err != nil || len(form) != 1 || form.Get("v") != value {
			t.Errorf("the form became %.200q: %v", body, err)
		}
	}
}
