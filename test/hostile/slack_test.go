//go:build unix

package hostile

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"relais/internal/config"
)

// slackCuts is where Slack cuts a message, in characters.
const slackCuts = 40_000

func slackPost(t *testing.T) check {
	var messages []map[string]string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var message map[string]string
		if json.NewDecoder(r.Body).Decode(&message) != nil {
			http.Error(w, "invalid_payload", http.StatusBadRequest)
			return
		}
		messages = append(messages, message)
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(server.Close)
	connections := []config.Connection{{Name: "equipe", Kind: "slack", Settings: map[string]any{"webhook_url": config.NewSecret(server.URL + "/services/T/B/x")}}}
	return func(t *testing.T, _, value string) {
		messages = nil
		out := attempt(t, config.Step{Use: "slack/post", With: map[string]any{"text": "v: ${{ event.data.v }}"}}, connections, value)
		if !succeeded(out) || len(messages) != 1 || len(messages[0]) != 1 {
			t.Fatalf("%.300s, and the messages are %.300v", out.Message, messages)
		}
		text := messages[0]["text"]
		if strings.ContainsAny(text, "<>") || utf8.RuneCountInString(text) > slackCuts {
			t.Errorf("it became %.200q", text)
		}
		shown := strings.TrimPrefix(text, "v: ")
		whole := len(shown) < slackCuts/2
		if !whole {
			shown = strings.TrimSuffix(shown, "…")
		}
		plain := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(shown)
		if !strings.HasPrefix(value, plain) || whole && plain != value {
			t.Errorf("it became %.200q", text)
		}
	}
}
