//go:build unix

package hostile

import (
	"regexp"
	"testing"

	"relais/internal/config"
	"relais/internal/step/meilisearch/meilitest"
)

var isID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,511}$`)

func meilisearchIndex(t *testing.T) check {
	server := meilitest.Start(t, "key")
	connections := []config.Connection{{Name: "search", Kind: "meilisearch", Settings: map[string]any{"url": server.URL, "api_key": config.NewSecret("key")}}}
	return func(t *testing.T, _, value string) {
		document := map[string]any{"id": int64(1), "v": "${{ event.data.v }}"}
		out := attempt(t, config.Step{Use: "meilisearch/index", With: map[string]any{"index": "p", "documents": document, "wait": true}}, connections, value)
		if got := server.Document("p", "1"); !succeeded(out) || len(got) != 2 || got["v"] != value {
			t.Errorf("the document became %.200v: %s %.200s", got, out.Reason, out.Message)
		}
		before := server.Tasks()
		for _, with := range []map[string]any{
			{"index": "p", "documents": map[string]any{"id": "${{ event.data.v }}"}, "primary_key": "id"},
			{"index": "p", "delete": []any{"${{ event.data.v }}"}},
		} {
			if out := attempt(t, config.Step{Use: "meilisearch/index", With: with}, connections, value); !succeeded(out) {
				refused(t, out)
			} else if !isID.MatchString(value) {
				t.Errorf("%.200q was taken as an id", value)
			}
		}
		if !isID.MatchString(value) && server.Tasks() != before {
			t.Error("a task was made")
		}
	}
}
