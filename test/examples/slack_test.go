//go:build linux

package examples

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// slack is an incoming webhook that answers as Slack does, and refuses what Slack refuses.
type slack struct {
	*httptest.Server
	mu    sync.Mutex
	texts []string
}

const slackPath = "/services/T000/B000/secret"

func startSlack(t *testing.T) *slack {
	t.Helper()
	s := &slack{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var message struct {
		Text string `json:"text"`
	}
	body, err := io.ReadAll(r.Body)
	switch {
	case r.URL.Path != slackPath:
		http.Error(w, "no_service", http.StatusNotFound)
	case r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || err != nil || json.Unmarshal(body, &message) != nil:
		http.Error(w, "invalid_payload", http.StatusBadRequest)
	case message.Text == "":
		http.Error(w, "no_text", http.StatusBadRequest)
	default:
		s.mu.Lock()
		s.texts = append(s.texts, message.Text)
		s.mu.Unlock()
		_, _ = io.WriteString(w, "ok")
	}
}

// said lists the messages so far.
func (s *slack) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.texts...)
}
