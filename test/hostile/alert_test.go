//go:build unix

package hostile

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"relais/internal/config"
)

func alertStep(t *testing.T) check {
	var messages []map[string]string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var message map[string]string
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &message); err != nil {
			t.Errorf("%v: %.200q", err, body)
		}
		messages = append(messages, message)
	}))
	t.Cleanup(server.Close)
	connections := []config.Connection{{Name: "team", Kind: "slack", Settings: map[string]any{"webhook_url": config.NewSecret(server.URL + "/services/x")}}}
	return func(t *testing.T, _, value string) {
		messages = nil
		with := map[string]any{"message": "m ${{ event.data.v }}", "title": "t ${{ event.data.v }}", "key": "${{ event.data.v }}"}
		if out := attempt(t, config.Step{Use: "alert", With: with}, connections, value); !succeeded(out) || len(messages) != 1 {
			t.Fatalf("ended with %s %s: %.200s, %d messages", out.Verdict, out.Reason, out.Message, len(messages))
		}
		text := messages[0]["text"]
		if len(messages[0]) != 1 || strings.ContainsAny(text, "<>") {
			t.Errorf("the message became %.200q", text)
		}
		title, message, _ := strings.Cut(strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(text), "\n")
		if strings.ContainsAny(title, "\r\x00") || !strings.HasPrefix(title, "*[ERROR] t ") {
			t.Errorf("the title became %.200q", title)
		}
		if whole, cut := strings.CutSuffix(message, "…"); !strings.HasPrefix("m "+value, whole) || !cut && message != "m "+value {
			t.Errorf("the message became %.200q", message)
		}
	}
}
